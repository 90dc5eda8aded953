"""Finds the etcd server on this machine, or unpacks Debian's package of it into a cache folder; installs no service.

`python -m tests.services.install` prints the folder that has it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "etcd-server"


class Unavailable(Exception):  # noqa: N818 - it says what is the matter with a service
    """A service cannot be had on this machine; the message says why."""


def etcd_program() -> Path:
    """The path of the etcd server: the one on PATH, else Debian's, downloaded once.

    Raises:
        Unavailable: there is none, and it cannot be downloaded.
    """
    if found := shutil.which("etcd"):
        return Path(found)
    program = _cache() / PACKAGE / "usr/bin/etcd"
    if not program.exists():
        _unpack(program.parents[2])
    return program


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streame"


def _unpack(folder: Path) -> None:
    """Download and unpack the package into `folder`, which appears when it is whole."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(
                f"the command `etcd` is not on PATH, and {PACKAGE} cannot be downloaded without {tool}"
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        if not _downloaded(Path(scratch)):
            _run("apt-get", "update", "-qq", folder=Path(scratch))
            _run("apt-get", "download", "-qq", PACKAGE, folder=Path(scratch))
        (package,) = Path(scratch).glob("*.deb")
        whole = Path(scratch) / "whole"
        _run("dpkg-deb", "-x", str(package), str(whole), folder=Path(scratch))
        try:
            whole.rename(folder)
        except OSError:
            if not folder.exists():  # otherwise another process was faster
                raise


def _downloaded(folder: Path) -> bool:
    """Whether apt knew the package without an update of its lists."""
    command = ["apt-get", "download", "-qq", PACKAGE]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 0


def _run(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(
            f"the command `etcd` is not on PATH, and `{' '.join(command)}` failed: {done.stderr.strip()[-500:]}"
        )


if __name__ == "__main__":
    try:
        print(etcd_program().parent)
    except Unavailable as reason:
        sys.exit(str(reason))
