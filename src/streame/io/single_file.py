"""A sink that writes one file of lines, which grows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import polars as pl
from xxhash import xxh3_128

from streame.core.staging import Decided, Json, Outbox, OutboxFile, Staged
from streame.errors import ConnectorError, PlanError, SinkRegressed
from streame.io.formats.encoders import LineEncoder
from streame.io.output_file import ENCODE_ROWS, LineFile, Lines, naming, synced
from streame.io.sink import TransactionalSink
from streame.storage.disk import Disk, LocalDisk

_READ_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of the file that are staged.

    Args:
        begin: where in the file they begin.
        end: where they end.
        digest: xxh3_128 of them.
        outbox: where they are until then.
    """

    begin: int
    end: int
    digest: str
    outbox: Json


class SingleFile(TransactionalSink):
    """Writes one file of lines, NDJSON or CSV; a job that begins anew replaces an existing one.

    Without checkpoints rows can be read after every `flush`, and if the job fails, what came so far is left as
    `<name>.partial`. With them the file grows at each checkpoint by the bytes that were staged for it; its length
    says what it holds, and what is behind that, as after a crash, is cut off. Compressed lines are a gzip
    member or zstd frame of their own each time, which any program reads as one text.

    Args:
        path: the file. Missing folders above it are made.
        encoder: the format.
        disk: the folder of the file, for what decides about its content.
    """

    def __init__(self, path: Path, encoder: LineEncoder, disk: Disk | None = None) -> None:
        self._path = path
        self._encoder = encoder
        self._disk = disk or LocalDisk(path.parent)
        self._made = False
        self._file: LineFile | None = None
        self._outbox: Outbox | None = None
        self._staging: OutboxFile | None = None
        self._unlock: Callable[[], None] = _nothing

    def check_checkpoints(self) -> None:
        """Refuse them where the output cannot be cut off.

        Raises:
            PlanError: when the path is a pipe or a device.
        """
        if self._path.exists() and not self._path.is_file() and not self._path.is_dir():
            raise PlanError(
                f"{self._path}: is no regular file, and what went to a pipe or a device cannot be taken back, so a "
                "job with checkpoints cannot write it; give a file, or run without checkpoints"
            )

    def check_cluster(self) -> None:
        """Refuse it.

        Raises:
            PlanError: always.
        """
        raise PlanError(
            f"{self._path}: one file is appended to, and a leader that was paused would append to it after the next one "
            "has, so a job in a cluster cannot write it; end the path with '/' for a directory of parts "
            f"({self._path.with_suffix('')}/)"
        )

    def open(self, schema: pl.Schema) -> None:
        """Find out at once whether the file can be written; what it holds stays until the first row."""
        self._schema = schema
        self._file = self._outbox = self._staging = None
        with naming(self._path):
            self._disk.make_directory("")
            refuse_directory(self._path)
            self._made = not self._path.exists()
            if self._made or self._path.is_file():
                self._disk.append(self._path.name, b"")

    def write(self, frame: pl.DataFrame) -> None:
        """Take some rows.

        With checkpoints the rows of the call before are worked on first: if that fails, these are not taken yet.
        """
        with naming(self._path):
            if self._outbox is None:
                self._open_file.append(frame)
                self._open_file.spill()
                return
            if self._lines.rows >= ENCODE_ROWS:
                self._encode()
            self._lines.append(frame)

    def flush(self) -> None:
        """Bring the rows into the file; with checkpoints nothing appears before `publish`."""
        if self._outbox is None:
            with naming(self._path):
                self._open_file.flush()

    def close(self) -> None:
        """Write the last rows; with checkpoints what was not staged is given up."""
        if self._outbox is not None:
            self.abort()
            return
        try:
            with naming(self._path):
                self._open_file.finish()
        except ConnectorError:
            self.abort()
            raise

    def abort(self) -> None:
        """Leave nothing that looks finished; with checkpoints what was published stays."""
        with naming(self._path):
            if self._staging is not None:
                self._staging.discard()
                self._staging = None
            self._unlock()
            self._unlock = _nothing
            if self._file is not None:
                self._file.discard()
                if self._path.is_file():  # not a pipe or a device
                    self._path.replace(self._path.with_name(self._path.name + ".partial"))
            elif self._made and self._outbox is None:
                self._path.unlink(missing_ok=True)

    def join_checkpoints(self, decided: Sequence[Decided], outbox: Outbox) -> None:
        """Begin an empty file, or bring it to the length that the last checkpoint says.

        Raises:
            SinkRegressed: when it is shorter than everything that is still staged could make up for.
            ConnectorError: when it holds what this job has not written.
        """
        self.check_checkpoints()
        self._take()
        self._outbox = outbox
        self._lines = Lines(self._encoder, self._schema)
        known = [one for one in decided if one.staged.note is not None]
        with naming(self._path):
            self._disk.append(self._path.name, b"")
            if known:
                self._bring_up_to_date(known)
            else:
                self._disk.truncate(self._path.name, 0)
            synced(self._disk, self._path.name)
            synced(self._disk, "", directory=True)
        self._end: int = known[-1].staged.note["end"] if known else 0
        self._stretch_begin = self._end
        self._digest = xxh3_128()

    def _take(self) -> None:
        """Let no other job append to the file: its length says what has been published."""
        with naming(self._path):
            try:
                self._unlock = self._disk.lock(f".{self._path.name}.lock", b"")
            except BlockingIOError as error:
                raise ConnectorError(
                    f"cannot write {self._path}: another job with checkpoints writes to it; give each its own"
                ) from error

    def stage(self) -> Staged:
        """Make the bytes of the rows durable in the outbox."""
        with naming(self._path):
            self._encode()
            pieces = [] if self._staging is None else [self._finished(self._staging)]
        return Staged(pieces, {"end": self._end})

    def publish(self, decided: Decided) -> None:
        """Append the bytes of a checkpoint, and make them last."""
        if stretches := _stretches(decided):
            with naming(self._path):
                if (self._disk.size(self._path.name) or 0) < stretches[0].begin:
                    raise SinkRegressed(
                        f"{self._path}: was removed or cut off while a job writes to it; {stretches[0].begin:,} bytes "
                        "were committed. Start the job again: it writes them anew as far as it keeps them"
                    )
                self._write(stretches)
                synced(self._disk, self._path.name)

    def _encode(self) -> None:
        """Bring the rows that wait into the outbox, behind a header if they are the first."""
        header = self._lines.header() if self._end == 0 else b""
        data = b"".join([header, self._lines.encoded()])
        if not data:
            return
        assert self._outbox is not None
        if self._staging is None:
            self._staging = self._outbox.begin()
        self._staging.append(data)
        self._digest.update(data)
        self._end += len(data)
        self._lines.clear()

    def _finished(self, staging: OutboxFile) -> Json:
        stretch = Stretch(self._stretch_begin, self._end, self._digest.hexdigest(), staging.finish())
        self._staging = None
        self._stretch_begin = self._end
        self._digest = xxh3_128()
        return asdict(stretch)

    def _bring_up_to_date(self, known: Sequence[Decided]) -> None:
        """Publish what the file does not hold, from the oldest checkpoint on whose beginning it has."""
        length = self._disk.size(self._path.name) or 0
        late = [one for one in known if length < _begin(one)]
        if len(late) == len(known):
            raise SinkRegressed(
                f"{self._path}: has {length:,} bytes, but {_begin(known[0]):,} were committed before checkpoint "
                f"{known[0].checkpoint}, the oldest whose output is kept; bring back what was there, or begin anew with new checkpoints, which "
                "replaces the file"
            )
        self._require_ours(known, length)
        first = max(index for index, one in enumerate(known) if _begin(one) <= length)
        self._write(list(chain.from_iterable(_stretches(one) for one in known[first:])))

    def _require_ours(self, known: Sequence[Decided], length: int) -> None:
        """Refuse what a job has added that began from a savepoint of this one, or from newer checkpoints.

        A crash leaves nothing behind what is decided, and nothing wrong before the last checkpoint: that was made to
        last before the next one was decided.
        """
        end: int = known[-1].staged.note["end"]
        if length > end:
            raise ConnectorError(
                f"{self._path}: has {length:,} bytes, but the output of checkpoint {known[-1].checkpoint}, the newest, ends "
                f"at {end:,}: what follows is of newer checkpoints, or of another job that went on from a checkpoint of this one. "
                f"Bring those checkpoints back, write to another file with new checkpoints, or cut it off: truncate -s {end} {self._path}"
            )
        settled = [
            (one.checkpoint, stretch)
            for one in known[:-1]
            for stretch in _stretches(one)
            if stretch.end <= min(length, _begin(known[-1]))
        ]
        if settled and self._digest_of(settled[-1][1]) != settled[-1][1].digest:
            number, stretch = settled[-1]
            raise ConnectorError(
                f"{self._path}: bytes {stretch.begin:,} to {stretch.end:,} are not what was written for checkpoint {number}: "
                "something else has changed the file, or another job that went on from a checkpoint of this one. Bring "
                "back what was there, or write to another file with new checkpoints"
            )

    def _digest_of(self, stretch: Stretch) -> str:
        digest = xxh3_128()
        for begin in range(stretch.begin, stretch.end, _READ_BYTES):
            digest.update(self._disk.read(self._path.name, begin, min(_READ_BYTES, stretch.end - begin)))
        return digest.hexdigest()

    def _write(self, stretches: Sequence[Stretch]) -> None:
        """Make the file end with these bytes: what it holds of them already, as after a crash, stays.

        A reader that follows the file may have seen them. If the disk is full, the file is cut off where it ended.
        """
        name, position = self._path.name, stretches[0].begin if stretches else 0
        appended_at: int | None = None
        try:
            for data in chain.from_iterable(self._bytes(stretch) for stretch in stretches):
                rest = data
                if appended_at is None:
                    count = self._same(position, data)
                    rest = data[count:]
                    if rest:
                        appended_at = position + count
                if rest:
                    self._disk.append(name, rest)
                position += len(data)
        except OSError:
            if appended_at is not None:
                self._disk.truncate(name, appended_at)
            raise

    def _same(self, position: int, data: bytes) -> int:
        """How many of the bytes stand in the file already; what stands there instead of the others is cut off."""
        name = self._path.name
        held = self._disk.read(name, position, len(data))
        differing = (
            place for place, (one, other) in enumerate(zip(held, data, strict=False)) if one != other
        )
        count = len(held) if data.startswith(held) else next(differing)
        if count < len(data) and len(held) > count:
            self._disk.truncate(name, position + count)
        return count

    def _bytes(self, stretch: Stretch) -> Iterator[bytes]:
        assert self._outbox is not None, "join_checkpoints comes first"
        return self._outbox.read(stretch.outbox)

    @property
    def _open_file(self) -> LineFile:
        """The file where nothing is staged: it is begun with the first row, or at the end."""
        if self._file is None:
            self._file = LineFile(self._path, self._encoder, self._schema)
        return self._file


def _nothing() -> None:
    """Stands for a lock that is not held."""


def _stretches(decided: Decided) -> list[Stretch]:
    return [Stretch(**piece) for piece in decided.staged.pieces]


def _begin(decided: Decided) -> int:
    """Where in the file the output of a checkpoint begins."""
    stretches = _stretches(decided)
    end: int = decided.staged.note["end"]
    return stretches[0].begin if stretches else end


def refuse_directory(path: Path) -> None:
    """Say what to do where a directory has the name of the file."""
    if path.is_dir():
        raise IsADirectoryError("it is a directory; end the path with '/' to write part files into it")
