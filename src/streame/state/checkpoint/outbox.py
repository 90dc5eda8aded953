"""An outbox: staged output of sinks as files beside the state, hidden until a checkpoint counts them in."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from xxhash import xxh3_128, xxh3_128_hexdigest

from streame.core.staging import Json, Outbox, OutboxFile
from streame.errors import CheckpointDamaged, CheckpointError
from streame.state.checkpoint.lasting import must_last
from streame.state.checkpoint.manifest import StoredFile
from streame.storage.disk import Disk, Files, RootGone

READ_BYTES = 4 * 1024 * 1024

_PATH = re.compile(r"out/\d+/[^/]+\.out")
_NAME_BYTES_MAX = 150


class LocalOutbox(Outbox):
    """Files under `out/`, in a folder for the checkpoint that comes next when they are begun.

    A file is written under a name that ends in `.tmp`, and is renamed when a checkpoint counts it in.

    Args:
        disk: where.
        sink: the name of the sink.
        last: tells the number of the last checkpoint.
        unclaimed: the paths of files that no checkpoint refers to yet; they must not be deleted.
    """

    def __init__(self, disk: Disk, sink: str, last: Callable[[], int], unclaimed: set[str]) -> None:
        self._disk, self._last, self._unclaimed = disk, last, unclaimed
        self._name = file_name(sink)
        self._begun = 0
        self._lock = threading.Lock()

    def begin(self) -> OutboxFile:
        """See `Outbox`."""
        with self._lock:
            folder = f"out/{self._last() + 1}"
            path = f"{folder}/{self._name}.{self._begun}.out"
            while self._disk.size(path) is not None or self._disk.size(f"{path}.tmp") is not None:
                self._begun += 1
                path = f"{folder}/{self._name}.{self._begun}.out"
            self._begun += 1
            self._unclaimed.add(path)
            with _told():
                self._disk.make_directory(folder)
        return _LocalFile(self._disk, path, self._unclaimed)

    def read(self, piece: Json) -> Iterator[bytes]:
        """See `Outbox`."""
        file = stored_file(piece)
        if (why := damage(self._disk, file)) is not None:
            raise CheckpointDamaged(f"staged output {file.path}: {why}; restore the file")
        for offset in range(0, file.length, READ_BYTES):
            yield self._disk.read(file.path, offset, min(READ_BYTES, file.length - offset))


class _LocalFile(OutboxFile):
    """A file of an outbox that is being written."""

    def __init__(self, disk: Disk, path: str, unclaimed: set[str]) -> None:
        self._disk, self._path, self._unclaimed = disk, path, unclaimed
        self._digest = xxh3_128()
        self._length = 0
        with _told():
            disk.write(f"{path}.tmp", ())

    def append(self, data: bytes) -> None:
        """See `OutboxFile`."""
        with _told():
            self._length = self._disk.append(f"{self._path}.tmp", data)
        self._digest.update(data)

    def finish(self) -> Json:
        """See `OutboxFile`."""
        must_last(self._disk.sync, f"{self._path}.tmp")
        return {"$file": self._path, "length": self._length, "xxh3_128": self._digest.hexdigest()}

    def discard(self) -> None:
        """See `OutboxFile`."""
        self._disk.remove(f"{self._path}.tmp")
        self._unclaimed.discard(self._path)


@contextmanager
def _told() -> Iterator[None]:
    """It is the folder of the checkpoints that is gone: a sink would say that it is its own."""
    try:
        yield
    except RootGone as error:
        raise CheckpointError(
            f"{error.filename}: {error.strerror}; then start the job again: it goes on from the last checkpoint"
        ) from error


def stored_file(piece: Json) -> StoredFile:
    """The file that a piece stands for."""
    path = piece["$file"]
    assert _PATH.fullmatch(path), path
    return StoredFile(path, piece["length"], piece["xxh3_128"])


def file_name(name: str) -> str:
    """A name of the user as a part of the name of a file: no slash in it, and not too long."""
    quoted = quote(name, safe=" ,=+@")
    if len(quoted) <= _NAME_BYTES_MAX:
        return quoted
    return f"{quoted[:_NAME_BYTES_MAX]}~{xxh3_128_hexdigest(name.encode())[:16]}"


def damage(disk: Files, file: StoredFile) -> str | None:
    """What is wrong with a file; `None` if every byte is as it was written."""
    digest = xxh3_128()
    try:
        size = disk.size(file.path)
        if size is None:
            return "it is not there"
        if size != file.length:
            return f"it has {size} bytes instead of {file.length}"
        memory = memoryview(bytearray(min(size, READ_BYTES)))
        for offset in range(0, size, READ_BYTES):
            digest.update(memory[: disk.read_into(file.path, offset, memory)])
    except OSError as error:
        return f"it cannot be read ({error})"
    return None if digest.hexdigest() == file.digest else "its bytes are not the ones that were written"
