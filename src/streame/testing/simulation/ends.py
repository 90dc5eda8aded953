"""The source and the sink of a simulated job."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from streame.core.staging import Decided, Outbox, Staged
from streame.errors import SourceDataLost
from streame.io.sink import TransactionalSink
from streame.io.source import Chunk, Offset
from streame.testing.simulation.scheduler import scheduler
from streame.testing.simulation.services import Service

SINK_TIMEOUT_S = 2.0
POLL_S = 0.1
RETRY_S = 0.2

Row = tuple[Any, ...]


@dataclass
class Split:
    """The rows of one split, and when each comes.

    Args:
        rows: all of them.
        chunks: where each chunk ends, and when it comes.
        kept_from: what is before was acknowledged, and is not there any more.
    """

    rows: list[Row]
    chunks: list[tuple[int, float]]
    kept_from: int = 0


class Said(Protocol):
    """Who is told what ends do."""

    def acknowledged(self, source: str, split: str, offset: int) -> None:
        """A source may forget what comes before an offset."""

    def published(self, sink: str, checkpoint: int, rows: Sequence[Row], *, by: str) -> None:
        """Rows have become visible."""

    def count(self, what: str) -> None:
        """Something rare has happened."""


@dataclass
class Feed:
    """What a source gives.

    Args:
        name: of the source.
        schema: of its rows.
        splits: their rows.
    """

    name: str
    schema: pl.Schema
    splits: dict[str, Split]


class SimSource:
    """A source that can be read again from any offset, by all nodes, each its own splits.

    Args:
        feed: gives what there is to read.
        said: who is told.
        bounded: whether it is a table that is read whole.
    """

    splits_apart = True

    def __init__(self, feed: Feed, said: Said, *, bounded: bool) -> None:
        self._feed, self._said, self.bounded = feed, said, bounded

    def schema(self) -> pl.Schema:
        """See `Source`."""
        return self._feed.schema

    def splits(self) -> Sequence[str]:
        """See `Source`."""
        return list(self._feed.splits)

    def read(self, split: str, offset: Offset) -> Iterator[Chunk | None]:
        """See `Source`."""
        sim, found, at = scheduler(), self._feed.splits[split], offset or 0
        for end, when in found.chunks:
            while at < end:
                if at < found.kept_from:
                    raise SourceDataLost(f"{split}: {at} was acknowledged and is gone")
                if sim.now < when:
                    sim.sleep(min(POLL_S, when - sim.now))
                    yield None
                    continue
                frame = pl.DataFrame(found.rows[at:end], self._feed.schema, orient="row")
                at = end
                yield Chunk(frame, at)


class ForgettingSource(SimSource):
    """A source that the leader reads, and that can be read again from any offset that was not acknowledged."""

    def decided(self, split: str, offset: Offset) -> None:
        """See `AcknowledgedSource`."""
        self._said.acknowledged(self._feed.name, split, offset)

    def ended(self, split: str) -> None:
        """See `AcknowledgedSource`."""
        self._said.acknowledged(self._feed.name, split, len(self._feed.splits[split].rows))

    def close(self) -> None:
        """See `AcknowledgedSource`."""


@dataclass
class Table:
    """Where the rows of a sink end up: a table with a row that says which checkpoint was the last.

    Args:
        name: of the sink.
        said: who is told.
    """

    name: str
    said: Said
    marker: int = 0
    token: int = 0
    rows: list[Row] = field(default_factory=list)

    def put(self, checkpoint: int, rows: Sequence[Row], *, by: str, checks_marker: bool = True) -> None:
        """Add rows together with the marker, if they were not added before."""
        if checks_marker and checkpoint <= self.marker:
            self.said.count("published before")
            return
        self.marker = checkpoint
        self.rows += rows
        self.said.published(self.name, checkpoint, rows, by=by)

    def fence(self) -> int:
        """Shut out whoever has an older token."""
        self.token += 1
        return self.token

    def marker_for(self, token: int) -> int:
        """The marker."""
        self._check(token)
        return self.marker

    def put_fenced(self, token: int, checkpoint: int, rows: Sequence[Row], *, by: str) -> None:
        """Add rows, for the one who has the newest token."""
        self._check(token)
        self.put(checkpoint, rows, by=by, checks_marker=False)

    def _check(self, token: int) -> None:
        if token != self.token:
            self.said.count("fenced")
            raise Fenced


class Fenced(Exception):  # noqa: N818
    """Somebody has taken a newer token."""


class NoWord(Exception):  # noqa: N818
    """The table has not answered."""


class SimSink(TransactionalSink):
    """A sink that stages rows in the outbox and publishes them to a table.

    Args:
        table: the table.
        service: how that is reached.
        is_fenced: whether the table knows only tokens, and the marker is read here.
    """

    def __init__(self, table: Table, service: Service, *, is_fenced: bool) -> None:
        self._table, self._service, self._is_fenced = table, service, is_fenced
        self._written: list[Row] = []
        self._token = 0
        self._is_over = False

    def write(self, frame: pl.DataFrame) -> None:
        """See `Sink`."""
        self._written += frame.rows()

    def stage(self) -> Staged:
        """See `TransactionalSink`."""
        if not self._written:
            return Staged()
        file = self._outbox.begin()
        file.append(json.dumps(self._written, default=str).encode())
        self._written = []
        return Staged((file.finish(),))

    def join_checkpoints(self, decided: Sequence[Decided], outbox: Outbox) -> None:
        """See `TransactionalSink`."""
        self._outbox = outbox
        if self._is_fenced:
            self._token = self._insist("fence", self._table.fence)
        for each in decided:
            self.publish(each)

    def publish(self, decided: Decided) -> None:
        """See `TransactionalSink`."""
        for piece in decided.staged.pieces:
            rows = [tuple(row) for row in json.loads(b"".join(self._outbox.read(piece)))]
            if self._is_fenced:
                self._put_fenced(decided.checkpoint, rows)
            else:
                by = str(self._service.asked)
                self._insist("put", lambda rows=rows, by=by: self._table.put(decided.checkpoint, rows, by=by))

    def interrupt(self) -> None:
        """See `Sink`."""
        self._is_over = True

    def _put_fenced(self, checkpoint: int, rows: list[Row]) -> None:
        """The fence, then the marker, then the rows; from the beginning if nobody knows what has happened."""
        while True:
            token = self._token
            try:
                if self._ask("marker", lambda token=token: self._table.marker_for(token)) < checkpoint:
                    self._ask(
                        "put",
                        lambda token=token: self._table.put_fenced(
                            token, checkpoint, rows, by=f"token {token}"
                        ),
                    )
            except (Fenced, NoWord):
                self._rest()
                self._token = self._insist("fence", self._table.fence)
            else:
                return

    def _insist(self, what: str, act: Any) -> Any:
        while True:
            try:
                return self._ask(what, act)
            except NoWord:
                self._rest()

    def _ask(self, what: str, act: Any) -> Any:
        return self._service.ask(what, act, NoWord, SINK_TIMEOUT_S, writes=True)

    def _rest(self) -> None:
        if self._is_over:
            raise ConnectionError("the job has ended meanwhile")
        scheduler().sleep(RETRY_S)
