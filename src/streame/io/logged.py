"""A source that cannot be read again, behind a log: what it gives lasts before anyone sees it, and is read from there."""

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Protocol, runtime_checkable

import polars as pl

from streame.core.failpoints import failpoint
from streame.errors import NotAccepted, StreameError
from streame.io.logged_chunks import decoded, encoded, encoded_end
from streame.io.source import Chunk, Offset, Source
from streame.storage.room import RoomWait

_WHAT = "rows of a source that cannot be read again"


@runtime_checkable
class AnsweringSource(Protocol):
    """A source whose rows are given by somebody who waits until they last."""

    def start_answering(self) -> None:
        """From now on what is read is answered.

        Raises:
            PlanError: when it cannot be passed on.
        """

    def answer(self, split: str, error: StreameError | None) -> None:
        """What was read of a split so far lasts, or the last chunk is not accepted and goes nowhere."""

    def stop_answering(self, why: str) -> None:
        """Nothing more is read, so that nobody need wait."""


@runtime_checkable
class StandbySource(Protocol):
    """A source whose rows are given by somebody who can be sent elsewhere. Both calls may come from any thread, and again."""

    def stand_by(self, leader: str | None) -> None:
        """From now on rows are not taken here but at the address of the leader, `None` while there is none.

        It lasts until `start_answering` or `stop_standing_by`.
        """

    def stop_standing_by(self, why: str = "") -> None:
        """Rows are taken here again, or refused for a reason until another job reads them."""


class RowLog(Protocol):
    """What a `LoggedSource` needs of a log: records with the positions 0, 1, 2 and so on. Any thread may call anything."""

    @property
    def first(self) -> int:
        """The position of the oldest record that is kept, or will be."""

    @property
    def next(self) -> int:
        """No record will get a position before this one any more."""

    @property
    def length(self) -> int:
        """How many bytes it has."""

    def append(self, payload: bytes) -> int:
        """Add a record, which lasts when this returns; gives its position.

        Raises:
            NotAccepted: when nothing was added, and it can be tried again.
            CheckpointError: when nothing can be added any more.
        """

    def find_room(self, length: int) -> None:
        """Find out whether a record of so many bytes would be accepted now.

        Raises:
            NotAccepted: when it would not.
        """

    def read(self, position: int) -> Iterator[tuple[int, bytes]]:
        """The records from a position on, each with its own, up to the last one there is now.

        Raises:
            CheckpointDamaged: when records are missing or are not what was written.
        """

    def truncate_before(self, position: int) -> None:
        """What stands before a position is not needed any more."""

    def close(self) -> None:
        """Nothing more is added."""


@runtime_checkable
class HoldingSource(Protocol):
    """A source that takes rows from outside before it hands them over."""

    def left_over(self, split: str) -> Sequence[Chunk]:
        """What was taken and not handed over when the iterator of `read` was closed."""


class LoggedSource(Source):
    """The chunks of a source, each of which is in the log before it is handed over.

    An offset is the position behind a chunk in the log, the offset that the source gave with it, and whether the
    split has ended. Reading from an offset gives the chunks in the log that follow, then those that the source gives.

    When the disk is full, rows that somebody waits for are not accepted; others wait until there is room.

    Args:
        source: one that is not `replayable`.
        log: an open log of its own, which is closed with this.

    Raises:
        PlanError: when the source would lose rows all the same.
    """

    replayable = True

    def __init__(self, source: Source, log: RowLog) -> None:
        self.bounded = source.bounded
        self.grows = getattr(source, "grows", False)
        self.one_split = getattr(source, "one_split", False)
        self.together = getattr(source, "together", False)
        self.python_rows = getattr(source, "python_rows", False)
        self._room = RoomWait()
        self._refused_bytes = 0
        self._source = source
        self._log = log
        self._lock = threading.Lock()
        self._schema = pl.Schema(source.schema())
        self._first: dict[str, int] = {}
        self._end: dict[str, int] = {}
        self._decided: dict[str, int] = {}
        self._arriving: list[int] = []
        for position, payload in log.read(log.first):
            self._is_logged(decoded(payload).split, position)
        self._closed = False
        self._answering = source if isinstance(source, AnsweringSource) else None
        if self._answering is not None:
            self._answering.start_answering()

    @property
    def waits_for(self) -> str | None:
        """Why rows are not taken at the moment; `None` while they are. May be asked from any thread."""
        return self._room.waits_for

    @property
    def log_bytes(self) -> int:
        """The size of the log. May be asked from any thread."""
        return self._log.length

    def schema(self) -> pl.Schema:
        """Columns and dtypes of every frame."""
        return self._schema

    def splits(self) -> Sequence[str]:
        """Those of the source, and those that have rows in the log."""
        return list(dict.fromkeys([*self._source.splits(), *self._end]))

    def read(self, split: str, offset: Offset) -> Iterator[Chunk | None]:
        """The chunks from an offset on.

        Raises:
            CheckpointDamaged: when the log does not have what follows the offset, or is damaged.
            PlanChanged: when the rows in the log have other columns than the source has now.
        """
        position, ahead, ended = (self._log.first, None, False) if offset is None else offset
        for behind, payload in self._log.read(position):
            if not ended and (record := decoded(payload)).split == split:
                ahead, ended = record.next_offset, record.frame is None
                yield record.chunk(self._schema, [behind + 1, ahead, ended])
        if ended:
            if self._answering is not None:
                self._answering.stop_answering(
                    "the rows of this job have ended; a new job needs a folder of its own"
                )
        elif split in self._source.splits():
            yield from self._read_on(split, ahead)

    def decided(self, split: str, offset: Offset) -> None:
        """A split will be read from nowhere before `offset`; what nobody needs is removed from the log."""
        with self._lock:
            self._decided[split] = offset[0]
        self._forget()

    def ended(self, split: str) -> None:
        """A split will not be read again."""
        with self._lock:
            self._decided[split] = self._end.get(split, 0)
        self._forget()

    def close(self) -> None:
        """Nothing more is read: whoever waits is told so, and the log is closed. A second time nothing happens.

        Another job may read the source since, while a thread of this one is stuck and closes it late.
        """
        with self._lock:
            if not self._closed and self._answering is not None:
                self._answering.stop_answering("the job that reads it has ended")
            self._closed = True
        self._log.close()

    def _read_on(self, split: str, ahead: Offset) -> Iterator[Chunk | None]:
        """The chunks that come from the source; once more from where it was if its end was not accepted."""
        while True:
            with closing(self._given(split, ahead)) as given:
                for chunk in given:
                    if chunk is None:
                        self._look_for_room()
                        yield None
                        continue
                    ahead = chunk.next_offset
                    position = yield from self._logged(split, encoded(split, chunk))
                    if position is None:
                        yield None
                        continue
                    yield replace(chunk, next_offset=[position + 1, ahead, False])
                    failpoint("W4.after")
            position = yield from self._logged(split, encoded_end(split, ahead))
            if position is not None:
                yield Chunk(self._schema.to_frame(), [position + 1, ahead, True])
                return
            yield None

    def _given(self, split: str, ahead: Offset) -> Generator[Chunk | None, None, None]:
        """What the source gives; when it is left before its end, what it holds goes into the log."""
        chunks = iter(self._source.read(split, ahead))
        try:
            yield from chunks
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
            if isinstance(self._source, HoldingSource):
                for left in self._source.left_over(split):
                    self._append(split, encoded(split, left))

    def _logged(self, split: str, record: bytes) -> Generator[None, None, int | None]:
        """Append a record, when there is room for it; returns its position, or `None` if it was refused."""
        while True:
            try:
                position = self._append(split, record)
            except NotAccepted as error:
                self._refused_bytes = len(record)
                self._room.failed(_WHAT, error)
                if self._answering is not None:
                    self._answer(split, error)
                    return None
            except StreameError as error:
                self._answer(split, error)
                raise
            else:
                self._room.passed()
                self._answer(split, None)
                failpoint("W3.after")
                return position
            try:
                yield None
            except GeneratorExit:
                self._append(split, record)  # or say that these rows are lost
                raise

    def _answer(self, split: str, error: StreameError | None) -> None:
        """Tell whoever waits for what was read, unless that is for another job to do by now."""
        with self._lock:
            if not self._closed and self._answering is not None:
                self._answering.answer(split, error)

    def _look_for_room(self) -> None:
        """Rows were refused and nobody has given any since: see whether they would be taken now."""
        if self.waits_for is not None:
            try:
                self._log.find_room(self._refused_bytes)
            except NotAccepted:
                return
            self._room.passed()

    def _append(self, split: str, record: bytes) -> int:
        """Append a record. Appending may take long, and others are not held up meanwhile."""
        with self._lock:
            least = self._log.next
            self._arriving.append(least)
        try:
            position = self._log.append(record)
            with self._lock:
                self._is_logged(split, position)
        finally:
            with self._lock:
                self._arriving.remove(least)
        return position

    def _is_logged(self, split: str, position: int) -> None:
        self._first.setdefault(split, position)
        self._end[split] = position + 1

    def _forget(self) -> None:
        """Remove what stands before everything that some split may be asked for again."""
        with self._lock:
            needed = [
                self._decided.get(split, self._first[split])
                for split, end in self._end.items()
                if self._decided.get(split, -1) < end
            ]
            position = min([*needed, *self._arriving], default=self._log.next)
        self._log.truncate_before(position)
