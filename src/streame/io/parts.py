"""A sink that writes a directory of part files, each of which appears when it is whole."""

import fcntl
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from streame.core.clock import Clock, SystemClock
from streame.core.durations import duration_us
from streame.errors import ConnectorError, PlanError
from streame.io.formats.encoders import Encoder
from streame.io.output_file import OutputFile, naming, open_file, sync
from streame.io.sink import Sink

_PART = re.compile(r"part-(\d+)\.")


@dataclass(frozen=True, slots=True)
class PartLimits:
    """When a part is finished: by whichever limit comes first.

    Args:
        rows: rows in a part, exactly.
        size: bytes, about: of the file for NDJSON and CSV, of the rows in memory for Parquet and IPC.
        interval: how long a part may wait for more rows after its first ones.
    """

    rows: int = 1_000_000
    size: int = 128 * 2**20
    interval: str | timedelta = "1m"

    def __post_init__(self) -> None:
        for name, value in (("part_rows", self.rows), ("part_bytes", self.size)):
            if value < 1:
                raise PlanError(f"{name}={value}: give one or more")
        duration_us(self.interval, where="part_interval")


class PartFiles(Sink):
    """Writes `part-00000.parquet`, `part-00001.parquet` and so on into a directory.

    Numbers go on after the highest part that is there, so a second run appends. A part is written in
    `_streame/tmp` and renamed when it is whole and on the disk: whoever reads `part-*` never sees half a file.
    Polars reads a directory with all folders in it, so a text lies there too while the sink runs: it makes Polars
    refuse the directory as a whole, and is gone at the end. If the job fails, the finished parts stay. One sink
    at a time may write to a directory.

    Args:
        directory: made if it does not exist.
        encoder: the format.
        limits: when a part is finished.
        clock: for `limits.interval`.
    """

    def __init__(
        self,
        directory: Path,
        encoder: Encoder,
        limits: PartLimits = PartLimits(),
        clock: Clock | None = None,
    ) -> None:
        self._directory = directory
        self._encoder = encoder
        self._limits = limits
        self._interval_us = duration_us(limits.interval, where="part_interval")
        self._clock = clock or SystemClock()
        self._private = directory / "_streame"
        self._temporary = self._private / "tmp"
        self._notice = self._private / "running"
        self._lock: int | None = None
        self._part: OutputFile | None = None
        self._part_path = directory
        self._due_us = 0

    def open(self, schema: pl.Schema) -> None:
        """Make the directory, take it for this sink, and find the next number."""
        self._schema = schema
        with naming(self._directory):
            if self._directory.is_file():
                raise NotADirectoryError(
                    "it is a file; one file is written to a path with a suffix, like out.csv"
                )
            self._directory.mkdir(parents=True, exist_ok=True)
            self._take()
            shutil.rmtree(self._temporary, ignore_errors=True)  # what a crash has left
            self._temporary.mkdir(parents=True)
            self._notice.write_text(f"A job is writing here. Read part-*{self._encoder.suffix}\n")
            found = [_PART.match(path.name) for path in self._directory.iterdir()]
        self._next = max((int(part[1]) for part in found if part), default=-1) + 1

    def write(self, frame: pl.DataFrame) -> None:
        """Take some rows, and finish as many parts as they fill."""
        with naming(self._directory):
            while frame.height:
                part = self._part or self._begin()
                room = self._limits.rows - part.rows
                part.append(frame.head(room))
                frame = frame.slice(room)
                if part.rows >= self._limits.rows or part.size >= self._limits.size:
                    self._publish(part)
            self._publish_if_due()

    def flush(self) -> None:
        """Finish the part if it has waited long enough."""
        with naming(self._directory):
            self._publish_if_due()

    def close(self) -> None:
        """Finish the last part."""
        try:
            with naming(self._directory):
                if self._part is not None:
                    self._publish(self._part)
        finally:
            self.abort()  # of nothing, unless the last part could not be written

    def abort(self) -> None:
        """Drop the part that is not whole; those that are stay."""
        if self._part is not None:
            self._part.discard()
            self._part = None
        self._leave()

    def _begin(self) -> OutputFile:
        self._part_path = self._temporary / f"part-{self._next:05}{self._encoder.suffix}.tmp"
        self._part = open_file(self._part_path, self._encoder, self._schema)
        self._due_us = self._clock.now_us() + self._interval_us
        return self._part

    def _publish_if_due(self) -> None:
        if self._part is not None and self._clock.now_us() >= self._due_us:
            self._publish(self._part)

    def _publish(self, part: OutputFile) -> None:
        part.finish()
        sync(self._part_path)
        self._part_path.rename(self._directory / self._part_path.stem)
        sync(self._directory)
        self._part = None
        self._next += 1

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

    def _leave(self) -> None:
        if self._lock is None:
            return
        shutil.rmtree(self._temporary, ignore_errors=True)
        with suppress(OSError):  # something else is kept there
            self._notice.unlink(missing_ok=True)
            self._private.rmdir()
        os.close(self._lock)
        self._lock = None
