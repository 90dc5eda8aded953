"""An outbox in an object store: staged output is collected on this machine, and put into the store when it is finished."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from xxhash import xxh3_128_hexdigest

from streame.core.full_disk import is_full_disk
from streame.core.staging import Json, Outbox, OutboxFile
from streame.errors import CheckpointDamaged, Superseded
from streame.state.checkpoint.manifest import StoredFile
from streame.state.checkpoint.object_packs import OBJECT_BYTES_MAX
from streame.state.checkpoint.outbox import file_name, stored_file
from streame.state.checkpoint.store import stored_pieces
from streame.storage.objects import ObjectStore, Taken


class ObjectOutbox(Outbox):
    """Objects under `out/`, named for the checkpoint that comes next when they are begun.

    Args:
        store: where.
        sink: the name of the sink.
        epoch: that of the owner.
        last: tells the number of the last checkpoint.
        unclaimed: the names of objects that no checkpoint refers to yet; they must not be deleted.
        scratch: a folder for what is not finished; `None` for that of the system.
        begun: numbers of which none is given twice.
        shared: whether an old owner may write where the sink does, so that it has to know the epoch.
    """

    def __init__(
        self,
        store: ObjectStore,
        sink: str,
        epoch: int,
        last: Callable[[], int],
        unclaimed: set[str],
        scratch: Path | None,
        begun: Iterator[int],
        *,
        shared: bool = False,
    ) -> None:
        self._store, self._last, self._unclaimed, self._scratch = store, last, unclaimed, scratch
        self._name = f"{epoch}.{file_name(sink)}"
        self._begun = begun
        self._epoch = epoch if shared else None

    @property
    def epoch(self) -> int | None:
        """See `Outbox`."""
        return self._epoch

    def begin(self) -> OutboxFile:
        """See `Outbox`."""
        stem = f"out/{self._last() + 1}/{self._name}.{next(self._begun)}"
        return _ObjectFile(self._store, stem, self._unclaimed, self._scratch)

    def read(self, piece: Json) -> Iterator[bytes]:
        """See `Outbox`."""
        for part in stored_pieces(piece):
            file = stored_file(part)
            try:
                content = self._store.get(file.path)
            except FileNotFoundError:
                raise CheckpointDamaged(
                    f"{self._store.where}: staged output {file.path} is not there"
                ) from None
            if len(content) != file.length or xxh3_128_hexdigest(content) != file.digest:
                raise CheckpointDamaged(
                    f"{self._store.where}: staged output {file.path} is not what was written; restore the object"
                )
            yield content


class _ObjectFile(OutboxFile):
    """A file of an outbox that is being written."""

    def __init__(self, store: ObjectStore, stem: str, unclaimed: set[str], scratch: Path | None) -> None:
        self._store, self._stem, self._unclaimed = store, stem, unclaimed
        self._file = tempfile.TemporaryFile(prefix="streame-", dir=scratch, buffering=0)  # noqa: SIM115 - see discard
        self._length = 0
        self._parts: list[StoredFile] = []

    def append(self, data: bytes) -> None:
        """See `OutboxFile`."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(self._length)
            self._file.seek(self._length)
            raise
        self._length += len(data)

    def finish(self) -> Json:
        """See `OutboxFile`."""
        try:
            self._send()
        except BaseException as error:
            if not is_full_disk(error):  # else it is called again
                self._file.close()
            raise
        self._file.close()
        pieces = [
            {"$file": part.path, "length": part.length, "xxh3_128": part.digest} for part in self._parts
        ]
        return pieces[0] if len(pieces) == 1 else pieces

    def discard(self) -> None:
        """See `OutboxFile`."""
        self._file.close()
        self._unclaimed.difference_update(part.path for part in self._parts)

    def _send(self) -> None:
        """Put into the store what is not there yet."""
        while not self._parts or self._sent() < self._length:
            self._file.seek(self._sent())
            content = self._read(OBJECT_BYTES_MAX)
            path = f"{self._stem}.{len(self._parts)}.out"
            self._unclaimed.add(path)
            self._put(path, content)
            self._parts.append(StoredFile(path, len(content), xxh3_128_hexdigest(content)))

    def _sent(self) -> int:
        return sum(part.length for part in self._parts)

    def _put(self, path: str, content: bytes) -> None:
        try:
            self._store.put_new(path, content)
        except Taken:
            raise Superseded(
                f"{self._store.where}: {path} is there already, so another process works under this one's name; "
                "this job stops. Stop all but one, and start it again"
            ) from None

    def _read(self, length: int) -> bytes:
        parts = []
        while length and (part := self._file.read(length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)
