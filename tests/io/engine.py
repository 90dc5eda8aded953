"""The part of an engine that a sink sees, step by step."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from streame.core.staging import Decided, Staged
from streame.errors import StreameError
from streame.io.sink import Sink, TransactionalSink
from streame.testing.contracts import MemoryOutbox

SCHEMA = pl.Schema({"n": pl.Int64})


@dataclass
class Job:
    """A job with one sink, and what it keeps when its process ends."""

    make: Callable[[], Sink]
    decided: list[Decided] = field(default_factory=list)
    box: MemoryOutbox = field(default_factory=MemoryOutbox)
    checkpoint: int = 0

    def start(self) -> "Job":
        sink = self.make()
        assert isinstance(sink, TransactionalSink)
        self.sink = sink
        self.sink.open(SCHEMA)
        try:
            self.sink.join_checkpoints(self.decided, self.box)
        except StreameError:
            self.sink.abort()
            raise
        return self

    def branch(self) -> "Job":
        """Another job that begins from a savepoint of this one, taken now."""
        return Job(self.make, list(self.decided), self.box, self.checkpoint)

    def write(self, *numbers: int) -> "Job":
        self.sink.write(pl.DataFrame({"n": numbers}, SCHEMA))
        return self

    def decide(self, *carried: Staged) -> Decided:
        staged = self.sink.stage()
        pieces = [*(piece for one in carried for piece in one.pieces), *staged.pieces]
        self.checkpoint += 1
        one = Decided(
            self.checkpoint, Staged(json.loads(json.dumps(pieces)), json.loads(json.dumps(staged.note)))
        )
        self.decided.append(one)
        return one

    def commit(self) -> "Job":
        self.sink.publish(self.decide())
        return self

    def crash(self) -> "Job":
        self.sink.abort()
        return self

    def end(self) -> None:
        self.commit()
        self.sink.close()
