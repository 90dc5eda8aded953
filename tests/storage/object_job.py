"""A job of the tests on an object store: it copies numbers, and the world around it sees whether it does so exactly once."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from streame.core.staging import Decided, Outbox, Staged
from streame.errors import Superseded
from streame.state.checkpoint.objects import ObjectCheckpoints
from streame.state.checkpoint.store import Draft
from streame.state.snapshot import Savable, Shadow, take_snapshot
from streame.storage.bucket import Bucket
from streame.storage.objects import ObjectStore, Patience

JOB, OPERATOR, SINK = "copying", "copy", "out/numbers"
QUICK = Patience(seconds=30, pause=0.0005, pause_max=0.002)


class Copied(Savable):
    """State with a part that changes and one that does not."""

    SAVED = ("last", "changing", "still", "frame")

    def __init__(self, last: int) -> None:
        self.last = last
        self.changing = np.full(3, last)
        self.still = np.arange(4, dtype=np.int16)
        self.frame = pl.DataFrame({"last": [f"number {last}"]})

    def check(self) -> None:
        """Nothing of it is of another moment."""
        expected = Copied(self.last)
        np.testing.assert_array_equal(self.changing, expected.changing)
        np.testing.assert_array_equal(self.still, expected.still)
        assert self.frame.equals(expected.frame)


@dataclass
class World:
    """A source with numbers from 1 on, and a sink that takes each checkpoint once, together with its marker.

    Args:
        bucket: where checkpoints are.
        records: the last number.
        scratch: a folder for files on their way.
    """

    bucket: Bucket
    records: int
    scratch: Path | None = None
    sink: list[int] = field(default_factory=list)
    marker: int = 0
    acknowledged: int = 0
    published: dict[int, list[int]] = field(default_factory=dict)

    def publish(self, checkpoint: int, numbers: list[int]) -> None:
        """Take the output of a checkpoint, if it is the next one; it must be the same whoever publishes it."""
        assert self.published.setdefault(checkpoint, numbers) == numbers, (checkpoint, numbers)
        if checkpoint == self.marker + 1:
            self.sink += numbers
            self.marker = checkpoint
            assert self.sink == list(range(1, len(self.sink) + 1)), self.sink
        assert self.marker >= checkpoint, f"{checkpoint} comes after {self.marker}"

    def assert_complete(self) -> None:
        """Everything came out, once."""
        assert self.sink == list(range(1, self.records + 1))
        assert self.acknowledged <= self.records


@dataclass
class Process:
    """A run of the job.

    Args:
        world: around it.
        owner: its name.
        step: how many numbers it takes at a time.
        patience: with the store.
        acknowledges: whether its source forgets what a checkpoint has.
        with_output: whether its sink has something to publish.
        savepoint: what it begins from.
    """

    world: World
    owner: str
    step: int = 1
    patience: Patience = QUICK
    acknowledges: bool = True
    with_output: bool = True
    savepoint: Path | None = None
    state: Copied = field(default_factory=lambda: Copied(0))

    def __post_init__(self) -> None:
        store = ObjectStore(self.world.bucket, self.patience)
        self.checkpoints = ObjectCheckpoints(
            store, JOB, self.owner, self.world.scratch, savepoint=self.savepoint
        )

    @property
    def outbox(self) -> Outbox:
        """Of its sink."""
        return self.checkpoints.outbox(SINK)

    def begin(self) -> None:
        """Take over, and publish what is decided."""
        self.checkpoints.claim()
        recovered = self.checkpoints.recover()
        if recovered is None:
            return
        assert recovered.sources == {"next": recovered.settings["last"] + 1}
        self.state.restore(recovered.instances(OPERATOR)[0].values())
        self.state.check()
        assert recovered.settings["last"] == self.state.last >= self.world.acknowledged, (
            "a source has forgotten too much"
        )
        for decided in recovered.decided.get(SINK, ()):
            if self.with_output and decided.checkpoint > self.world.marker:
                self._publish(decided)
        if self.acknowledges:
            self.world.acknowledged = max(self.world.acknowledged, self.state.last)

    def checkpoint(self) -> None:
        """Take some numbers, and make a checkpoint."""
        last = min(self.state.last + self.step, self.world.records)
        numbers = range(self.state.last + 1, last + 1)
        staged = Staged([], last)
        if self.with_output:
            file = self.outbox.begin()
            for number in numbers:
                file.append(b"%d\n" % number)
            staged = Staged([{"rows": len(numbers), "where": file.finish()}], last)
        self.state = Copied(last)
        written = self.checkpoints.write(
            Draft(
                {"job": JOB},
                {OPERATOR: [take_snapshot(self.state, Shadow())]},
                {"next": last + 1},
                {SINK: staged},
                acknowledges=self.acknowledges,
                settings={"last": last},
            )
        )
        if self.with_output:
            self._publish(Decided(written.number, staged))
        if self.acknowledges:
            self.world.acknowledged = max(self.world.acknowledged, last)
        self.checkpoints.published(written.number)
        self.checkpoints.collect_garbage()

    def run(self) -> None:
        """From the beginning to the end."""
        try:
            self.begin()
            self._go_on()
        finally:
            self.checkpoints.release()

    def goes_on(self) -> bool:
        """Run, or stop because somebody newer owns the place; returns whether it came to the end."""
        with suppress(Superseded):
            self.run()
            return True
        return False

    def goes_on_from_here(self) -> bool:
        """The same, but it has begun."""
        with suppress(Superseded):
            self._go_on()
            return True
        return False

    def _go_on(self) -> None:
        try:
            while self.state.last < self.world.records:
                self.checkpoint()
        finally:
            self.checkpoints.release()

    def _publish(self, decided: Decided) -> None:
        # Checkpoints that only close a number for older owners have no output, but the sink counts them.
        content = b"".join(b"".join(self.outbox.read(piece["where"])) for piece in decided.staged.pieces)
        numbers = [int(line) for line in content.splitlines()]
        for gap in range(self.world.marker + 1, decided.checkpoint):
            assert gap not in self.world.published
            self.world.publish(gap, [])
        self.world.publish(decided.checkpoint, numbers)


def run_a_job(bucket: Bucket, records: int, *, output: bool = True) -> None:
    """Leave the checkpoints of a job in a bucket; without output nobody has seen anything of it."""
    Process(World(bucket, records), "first", acknowledges=output, with_output=output).run()
