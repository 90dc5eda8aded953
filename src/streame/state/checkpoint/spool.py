"""Files of checkpoints that lie in an object store: checked once as a whole, then read from a copy on this machine."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from xxhash import xxh3_128

from streame.state.checkpoint.manifest import StoredFile
from streame.storage.disk import Files
from streame.storage.objects import ObjectStore

READ_BYTES = 8 * 1024 * 1024
"""So many bytes are asked for at once."""

_READERS = 4


class Spool(Files):
    """The files of a store; what was fetched is read from here.

    Args:
        store: where they are.
        scratch: a folder for the copies; `None` for that of the system.
    """

    def __init__(self, store: ObjectStore, scratch: Path | None = None) -> None:
        self._store = store
        self._scratch = scratch
        self._folder: Path | None = None
        self._remove: Callable[[], object] = _nothing
        self._copies: dict[str, Path] = {}

    def names(self, path: str) -> list[str]:
        """See `Files`."""
        return [name.removeprefix(f"{path}/") for name in self._store.names(path)]

    def size(self, path: str) -> int | None:
        """See `Files`."""
        return self._store.size(path)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Files`."""
        copy = self._copies.get(path)
        if copy is None:
            return self._store.get(path, offset, length)
        with copy.open("rb") as file:
            file.seek(offset)
            return file.read() if length is None else file.read(length)

    def read_into(self, path: str, offset: int, target: memoryview) -> int:
        """See `Files`."""
        copy = self._copies.get(path)
        if copy is None:
            return super().read_into(path, offset, target)
        filled = 0
        with copy.open("rb", buffering=0) as file:
            file.seek(offset)
            while filled < len(target) and (count := file.readinto(target[filled:])):
                filled += count
        return filled

    def fetch(self, files: Iterable[StoredFile]) -> dict[str, str]:
        """Copy files, several at a time; returns what is wrong with those that are not what was written, by their path."""
        known = list(files)
        if known and self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="streame-", dir=self._scratch))
            self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        with ThreadPoolExecutor(_READERS, thread_name_prefix="streame-fetch") as readers:
            found = readers.map(self._fetch, known, range(len(self._copies), len(self._copies) + len(known)))
            return {file.path: why for file, why in zip(known, found, strict=True) if why is not None}

    def clear(self) -> None:
        """Remove the copies; what is read from now on comes from the store."""
        self._remove()
        self._copies, self._folder = {}, None

    def _fetch(self, file: StoredFile, number: int) -> str | None:
        assert self._folder is not None
        copy, digest, length = self._folder / str(number), xxh3_128(), 0
        whole = True
        with copy.open("wb") as target:
            while length < file.length:
                try:
                    part = self._store.get(file.path, length, min(READ_BYTES, file.length - length))
                except FileNotFoundError:
                    return "it is not there"
                if not part:
                    break
                digest.update(part)
                length += len(part)
                if whole:
                    try:
                        target.write(part)
                    except OSError:  # no room here: it is read from the store when it is needed
                        whole = False
        found = self._store.size(file.path)
        if found != file.length:
            return "it is not there" if found is None else f"it has {found} bytes instead of {file.length}"
        if digest.hexdigest() != file.digest:
            return "its bytes are not the ones that were written"
        if whole:
            self._copies[file.path] = copy
        else:
            with suppress(OSError):
                copy.unlink()
        return None


def _nothing() -> None:
    """There is no folder to remove."""
