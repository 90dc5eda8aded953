"""What the kernel was asked to do with the files of a folder, by strace; and the same in the words of the disk."""

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from tests.storage.memory_disk import Op

Event: TypeAlias = tuple[str, ...]

_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_HANDLE = re.compile(r"^\d+<([^>]*)>")
CALLS = (
    "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,fsync,fdatasync,syncfs,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,ftruncate,truncate,fallocate,flock"
)


def why_not() -> str | None:
    """Why strace cannot be used here; `None` if it can."""
    try:
        tried = subprocess.run(["strace", "-f", "true"], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return "strace is not installed"
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[-200:]}"


def trace(command: Sequence[str], root: Path, logs: Path, environment: dict[str, str]) -> list[Event]:
    """Run a command, and tell what it did to the files below a folder, in order.

    Args:
        command: what to run.
        root: the folder.
        logs: a folder for the logs of strace.
        environment: for the command.
    """
    tracer = ["strace", "-ff", "-y", "-s", "0", "-e", f"trace={CALLS}", "-o", str(logs / "log")]
    subprocess.run([*tracer, *command], check=True, env=environment, capture_output=True)
    by_thread = [
        list(_events(file.read_text(encoding="utf-8", errors="replace").splitlines(), str(root)))
        for file in sorted(logs.iterdir())
    ]
    busy = [events for events in by_thread if events]
    assert len(busy) == 1, "more than one thread wrote files"
    return merged(busy[0])


def _events(lines: Iterable[str], root: str) -> Iterator[Event]:
    for line in lines:
        match = _CALL.search(line)
        if match is None or root not in line or int(match[3]) < 0:
            continue
        call, arguments, result = match.groups()
        handle = _HANDLE.match(arguments)
        places = (
            [handle[1]] if handle else [text for text in _TEXT.findall(arguments) if text.startswith("/")]
        )
        paths = [place.removeprefix(root).lstrip("/") for place in places]
        match call:
            case "openat" | "open" | "creat":
                if "O_CREAT" in arguments or "O_TRUNC" in arguments or call == "creat":
                    yield "open", paths[0]
            case "write" | "pwrite64":
                yield "write", paths[0], result
            case "fsync":
                yield "sync", paths[0]
            case "ftruncate":
                yield "truncate", paths[0]
            case "fallocate":
                yield "reserve", paths[0]
            case "flock":
                yield "lock", paths[0]
            case "rename" | "link" | "mkdir" | "rmdir" | "unlink":
                yield call, *paths
            case "renameat" | "renameat2" | "linkat" | "unlinkat" | "mkdirat":
                yield call.removesuffix("2").removesuffix("at"), *paths
            case _:
                yield call, *paths


def expected(log: Sequence[Op]) -> list[Event]:
    """What a local disk asks of the kernel for the entries of a log."""
    return merged(list(_expected(log)))


def _expected(log: Sequence[Op]) -> Iterator[Event]:
    folders: set[str] = set()
    for op in log:
        match op:
            case ("write" | "append", path, bytes(content)):
                yield "open", path
                yield "write", path, str(len(content))
            case ("sync" | "sync_directory", path, _):
                yield "sync", path
            case ("reserve", path, _):
                yield from (("open", path), ("reserve", path))
            case ("rename" | "link" as name, source, str(target)):
                yield name, source, target
            case ("remove", path, _):
                yield "unlink", path
            case ("remove_empty_directory", path, _):
                folders.discard(path)
                yield "rmdir", path
            case ("lock", path, bytes(note)):
                yield from (
                    ("open", path),
                    ("lock", path),
                    ("truncate", path),
                    ("write", path, str(len(note))),
                )
            case ("make_directory", path, _):
                parts = path.split("/") if path else []
                for folder in ("/".join(parts[:count]) for count in range(1, len(parts) + 1)):
                    if folder not in folders:
                        folders.add(folder)
                        yield "mkdir", folder
                        yield "sync", folder.rpartition("/")[0]
            case _:
                raise AssertionError(op)


def merged(events: Iterable[Event]) -> list[Event]:
    """Events in which writes that follow each other in one file are one, and writes of nothing are none."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else ("",)
        if event[0] == last[0] == "write" and event[1] == last[1]:
            found[-1] = ("write", event[1], str(int(event[2]) + int(last[2])))
        elif event[0] != "write" or event[2] != "0":
            found.append(event)
    return found
