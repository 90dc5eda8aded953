"""A sink that writes a directory of part files, each of which appears when it is whole."""

import fcntl
import os
import re
import shutil
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from secrets import token_hex

import polars as pl

from streame.core.clock import Clock, SystemClock
from streame.core.durations import duration_us
from streame.core.staging import Decided, Outbox, Staged
from streame.errors import ConnectorError, PlanError
from streame.io.commit_log import COMMITS, PRIVATE, README, STAGED, CommitLog, digest_of, own_names
from streame.io.commits import Part
from streame.io.formats.encoders import Encoder
from streame.io.output_file import OutputFile, naming, open_file, synced
from streame.io.sink import TransactionalSink
from streame.storage.disk import Disk, LocalDisk

_PART = re.compile(r"part-(\d+)\.")


@dataclass(frozen=True, slots=True)
class PartLimits:
    """When a part is finished: by whichever limit comes first.

    Args:
        rows: rows in a part, exactly.
        size: bytes, about: of the file for NDJSON and CSV, of the rows in memory for Parquet and IPC.
        interval: how long a part may wait for more rows after its first ones; with checkpoints no part waits longer
            than for the next one.
    """

    rows: int = 1_000_000
    size: int = 128 * 2**20
    interval: str | timedelta = "1m"

    def __post_init__(self) -> None:
        for name, value in (("part_rows", self.rows), ("part_bytes", self.size)):
            if value < 1:
                raise PlanError(f"{name}={value}: give one or more")
        duration_us(self.interval, where="part_interval")


class PartFiles(TransactionalSink):
    """Writes rows into a directory as parts, each of which is whole when it gets its name.

    Without checkpoints they are `part-00000.parquet`, `part-00001.parquet` and so on. Numbers go on after the highest
    part that is there, so a second run appends. A part is written in `_streame/tmp` and renamed when it is on the
    disk: whoever reads `part-*` never sees half a file. Polars reads a directory with all folders in it, so a text
    lies there too while rows are written: it makes Polars refuse the directory as a whole, and is gone at the end. If
    the job fails, the finished parts stay.

    With checkpoints parts are finished by their rows and bytes and at each checkpoint, and wait in `_streame/tmp`
    until it is decided. Then they get names in the order of their rows, and the commit log (`io/commit_log.py`) says
    that they count. A directory is one or the other: it is refused if it was begun in the other way, or by another job.

    One sink at a time may write to a directory, and holds a lock of it. In a cluster none is held, as its leaders may be
    on different machines: each has an epoch, which the names of what it has staged begin with.

    Args:
        directory: made if it does not exist.
        encoder: the format.
        limits: when a part is finished.
        clock: for `limits.interval`.
        disk: the directory, for what decides about its content.
    """

    def __init__(
        self,
        directory: Path,
        encoder: Encoder,
        limits: PartLimits = PartLimits(),
        clock: Clock | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._directory = directory
        self._encoder = encoder
        self._limits = limits
        self._interval_us = duration_us(limits.interval, where="part_interval")
        self._clock = clock or SystemClock()
        self._disk = disk or LocalDisk(directory)
        self._notice = directory / PRIVATE / "running"
        self._alone = True
        self._lock: int | None = None
        self._part: OutputFile | None = None
        self._part_name = ""
        self._due_us = 0
        self._next: int | None = None
        self._log: CommitLog | None = None

    def check_cluster(self) -> None:
        """Accept it: an old leader may be at work in the directory, so `open` must not insist on being alone."""
        self._alone = False

    def open(self, schema: pl.Schema) -> None:
        """Make the directory and take it for this sink."""
        self._schema = schema
        self._accepted: deque[pl.DataFrame] = deque()
        self._sealed: list[Part] = []
        self._own = token_hex(8)
        self._begun = 0
        self._next = self._log = None
        with naming(self._directory):
            if self._directory.is_file():
                raise NotADirectoryError(
                    "it is a file; one file is written to a path with a suffix, like out.csv"
                )
            self._disk.make_directory("")
            if self._alone:
                self._take()

    def write(self, frame: pl.DataFrame) -> None:
        """Take some rows, and finish as many parts as they fill.

        With checkpoints the rows of the call before are worked on first: if that fails, these are not taken yet.
        """
        with naming(self._directory):
            self._settle()
            self._accepted.append(frame)
            if self._log is None:
                self._settle()
                self._seal_if_due()

    def flush(self) -> None:
        """Finish the part if it has waited long enough; with checkpoints nothing appears before `publish`."""
        if self._log is None:
            with naming(self._directory):
                self._settle()
                self._seal_if_due()

    def close(self) -> None:
        """Finish the last part; with checkpoints what was not staged is given up."""
        try:
            if self._log is None:
                with naming(self._directory):
                    self._settle()
                    self._seal()
        finally:
            self.abort()  # of nothing, unless the last part could not be written

    def abort(self) -> None:
        """Drop the part that is not whole; those that are stay."""
        try:
            if self._part is not None:
                self._part.discard()
                self._part = None
                with suppress(OSError):  # the next run removes it
                    self._disk.remove(self._part_name)
            if self._lock is not None and self._log is None and self._next is not None:
                self._tidy_up()
        finally:
            self._give_up_lock()

    def join_checkpoints(self, decided: Sequence[Decided], outbox: Outbox) -> None:
        """Publish what is decided, and remove what is not.

        Raises:
            ConnectorError: when the directory belongs to another job, or was written without checkpoints.
            SinkRegressed: when commits are missing that are not among `decided`.
        """
        with naming(self._directory):
            if outbox.epoch is not None:
                self._give_up_lock()
            elif self._lock is None:
                self._take()
            self._own = own_names(self._own, outbox.epoch)
            self._log = CommitLog(self._directory, self._disk, self._own, outbox.epoch)
            self._written = self._log.join(decided, token_hex(16))

    def stage(self) -> Staged:
        """Finish the part, and say which parts have become whole."""
        with naming(self._directory):
            self._settle()
            self._seal()
            if self._sealed:
                synced(self._disk, STAGED, directory=True)
        pieces, self._sealed = self._sealed, []
        return Staged([part.as_json() for part in pieces], self._written.as_json())

    def publish(self, decided: Decided) -> None:
        """Give the parts of a checkpoint their names, and commit them."""
        assert self._log is not None, "join_checkpoints comes first"
        with naming(self._directory):
            self._log.publish(decided)

    def _settle(self) -> None:
        """Work on the rows that were taken. If it fails, it goes on where it was when it is called again."""
        self._spill()
        while self._accepted:
            frame = self._accepted[0]
            if not frame.height:
                self._accepted.popleft()
                continue
            part = self._part or self._begin()
            room = self._limits.rows - part.rows
            part.append(frame.head(room))
            if frame.height > room:
                self._accepted[0] = frame.slice(room)
            else:
                self._accepted.popleft()
            self._spill()

    def _spill(self) -> None:
        """Write what is too much for memory, and finish a part that is full."""
        part = self._part
        if part is not None:
            part.spill()
            if part.rows >= self._limits.rows or part.size >= self._limits.size:
                self._seal()

    def _begin(self) -> OutputFile:
        if self._log is None and self._next is None:
            self._next = self._begin_plain()
        self._part_name = f"{STAGED}/{self._own}-{self._begun:08}{self._encoder.suffix}.tmp"
        self._begun += 1
        path = self._directory / self._part_name
        try:
            self._part = open_file(path, self._encoder, self._schema)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._due_us = self._clock.now_us() + self._interval_us
        return self._part

    def _begin_plain(self) -> int:
        """Get ready to write without checkpoints, and find the next number."""
        if self._disk.names(COMMITS):
            raise ConnectorError(
                f"{self._directory}: belongs to a job with checkpoints: its commit log says which parts count, and "
                "what is written without checkpoints would not; run that job with its checkpoints, or write to "
                "another directory"
            )
        for left in (STAGED, COMMITS):  # by a crash
            self._disk.remove_directory(left)
        self._disk.remove(README)
        self._disk.make_directory(STAGED)
        self._notice.write_text(f"A job is writing here. Read part-*{self._encoder.suffix}\n")
        found = [_PART.match(name) for name in self._disk.names("")]
        return max((int(part[1]) for part in found if part), default=-1) + 1

    def _seal_if_due(self) -> None:
        if self._part is not None and self._clock.now_us() >= self._due_us:
            self._seal()

    def _seal(self) -> None:
        """Finish the part: it appears, or with checkpoints waits to be staged."""
        part = self._part
        if part is None:
            return
        part.finish()
        synced(self._disk, self._part_name)
        if self._log is None:
            assert self._next is not None
            self._disk.rename(self._part_name, f"part-{self._next:05}{self._encoder.suffix}")
            synced(self._disk, "", directory=True)
            self._next += 1
        else:
            size = self._disk.size(self._part_name)
            if size is None:
                raise ConnectorError(
                    f"{self._directory / self._part_name}: was removed while it was written, by hand or by a newer leader; "
                    "start the job again: it goes on from the last checkpoint"
                )
            name = self._part_name.removeprefix(f"{STAGED}/")
            self._sealed.append(Part(name, part.rows, size, digest_of(self._disk, self._part_name)))
            self._written = self._written.and_part(self._sealed[-1])
        self._part = None

    def _take(self) -> None:
        self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            self._lock = None
            raise ConnectorError(
                f"cannot write {self._directory}: another sink is writing to this directory; give each its own"
            ) from error

    def _give_up_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _tidy_up(self) -> None:
        shutil.rmtree(self._directory / STAGED, ignore_errors=True)
        with suppress(OSError):  # something else is kept there
            self._notice.unlink(missing_ok=True)
            (self._directory / PRIVATE).rmdir()
