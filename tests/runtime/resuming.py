"""Operators that are stopped and go on: from a snapshot in a new object, or shared out anew among instances.

What an operator says after that is compared with what it says when nothing disturbs it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.clock import ManualClock
from streame.core.hashing import KEY_GROUPS, key_group, stable_hash
from streame.core.hidden import WEIGHT
from streame.core.messages import SplitStatus
from streame.core.time import WATERMARK_MIN
from streame.runtime.operator import Operator
from streame.runtime.operators.paged import Memory, PagedOperator
from streame.runtime.paging import MemoryBudget
from streame.runtime.partition import Partitioner
from streame.state.snapshot import Leaf, Savable, Shadow, Snapshot, loaded, restore_snapshot, take_snapshot
from streame.storage.scratch import Scratch
from tests.runtime.recorder import OperatorBench, Recorder
from tests.runtime.steps import End, Mark, Pass, Push, Step, Tell
from tests.state.copies import through_bytes

Make = Callable[[], Operator]

PAGED = 0.1
"""How often the state is put on pages as well, where each is an operator of its own, which takes long to make."""

LONG = 10
"""Seconds after which nothing waits for a timer any more that an operator under test had set."""


@dataclass(frozen=True)
class Said:
    """All that an operator lets the outside know in one step; rows with their weights."""

    rows: list[tuple[str, int]]
    late: list[tuple[str, int]]
    letters: list[tuple[str, int]]
    gaps: int
    rejected: int
    watermarks: list[int | None]
    statuses: list[SplitStatus]
    held: list[int]
    timer_us: int | None
    finished: bool

    @property
    def anything(self) -> bool:
        """Whether any row was said or counted."""
        return bool(self.rows or self.late or self.letters or self.gaps or self.rejected)


class Instance:
    """One instance of an operator, and what it must be told again when it goes on elsewhere.

    Args:
        make: makes the operator.
        clock: the wall clock.
    """

    def __init__(self, make: Make, clock: ManualClock) -> None:
        self.bench = OperatorBench(make(), clock)
        self.shadow = Shadow()
        self.watermark: int | None = WATERMARK_MIN
        self.reached = WATERMARK_MIN
        self.heard: int | None = None
        self.ended: list[int] = []
        self.splits: dict[tuple[str, str], SplitStatus] = {}

    @property
    def operator(self) -> Operator:
        """What is stepped."""
        return self.bench.operator

    def do(self, step: Step) -> None:
        """What happens to it."""
        bench = self.bench
        if bench.operator.finished:
            return
        match step:
            case Push():
                assert step.port not in bench.held
                bench.operator.on_batch(step.port, step.batch, bench.out)
            case Mark(time):
                self.heard = time
                bench.watermark(time)
            case Pass():
                bench.fire()
            case End(port):
                self.ended.append(port)
                bench.end(port)
            case Tell(status):
                self.splits[status.split] = status
                bench.operator.on_split(0, status, bench.out)

    def said(self) -> Said:
        """What it has said since the last time."""
        bench, out = self.bench, self.bench.out
        said = Said(
            rows=_rows(batch.frame for batch in out.batches),
            late=_rows(out.lates),
            letters=_rows(out.letters),
            gaps=out.gaps,
            rejected=out.rejected,
            watermarks=self._news(out.watermarks),
            statuses=out.statuses,
            held=sorted(bench.held),
            timer_us=bench.timer_us,
            finished=bench.operator.finished,
        )
        bench.out = Recorder()
        return said

    def snapshot(self) -> Snapshot:
        """Its state. What was copied chunk by chunk since the last time is the same as if all were copied."""
        if not self.operator.finished:
            self.operator.flush(self.bench.out)
        snapshot = take_snapshot(self.operator, self.shadow)
        assert_same(snapshot, take_snapshot(self.operator, Shadow()))
        return snapshot

    def tell_again(self, old: "Instance") -> None:
        """What the engine tells an operator again; nothing comes of it."""
        self.watermark, self.reached, self.splits = old.watermark, old.reached, dict(old.splits)
        self.operator.finished = old.operator.finished
        for port in old.ended:
            self.do(End(port))
        if old.heard is not None:
            self.do(Mark(old.heard))
        for status in old.splits.values():
            if status.state == "open":  # an idle one would be waited for again, which is seen outside
                self.do(Tell(status))
        said = self.said()
        assert not said.anything, said

    def _news(self, watermarks: Iterable[int | None]) -> list[int | None]:
        """The watermarks that are passed on: those that rise, and where idleness begins and ends."""
        news: list[int | None] = []
        for time in watermarks:
            if (time is None and self.watermark is not None) or (
                time is not None and (time > self.reached or self.watermark is None)
            ):
                self.reached = self.reached if time is None else max(time, self.reached)
                self.watermark = None if time is None else self.reached
                news.append(self.watermark)
        return news


def undisturbed(make: Make, steps: Sequence[Step]) -> list[Said]:
    """What an operator says, step by step."""
    instance, said = Instance(make, ManualClock()), []
    for step in steps:
        _move(instance.bench.clock, step)
        instance.do(step)
        said.append(instance.said())
    return said


def check_resumed(make: Make, steps: Sequence[Step], random: Random, *, in_order: bool = True) -> None:
    """Stop an operator here and there, maybe after some snapshots; it says what it would have said.

    Args:
        make: makes the operator, always alike.
        steps: what happens.
        random: where snapshots are taken, and where it goes on from one.
        in_order: whether the rows of one step come in the same order.
    """
    expected = undisturbed(make, steps)
    instance = Instance(make, ManualClock())
    for number, step in enumerate(steps):
        match random.choice(["go on", "go on", "snapshot", "resume", "resume from bytes"]):
            case "snapshot":
                instance.snapshot()
            case "resume":
                instance = _resumed(make, instance, instance.snapshot())
            case "resume from bytes":
                instance = _resumed(make, instance, through_bytes(instance.snapshot()))
        _move(instance.bench.clock, step)
        instance.do(step)
        said, same = instance.said(), expected[number]
        if not in_order:
            said, same = (replace(each, rows=sorted(each.rows)) for each in (said, same))
        assert said == same, f"step {number}, {step}"


def check_rescaled(
    make: Make,
    keys: Sequence[pl.Schema],
    steps: Sequence[Step],
    random: Random,
    widths: Sequence[int] = (),
    *,
    may_be_ahead: bool = False,
) -> None:
    """Share an operator out among other numbers of instances here and there; together they say the same rows.

    Args:
        make: makes the operator, always alike.
        keys: for each input the columns by which its rows are shared out.
        steps: what happens.
        random: where the number of instances changes.
        widths: how many there are, first and after each change; 1, 3, 2, 1 by default.
        may_be_ahead: whether instances may know sooner than a single one how far event time has come, because what
            holds back the rows of one key does not hold back those of others.
    """
    first, *changed = widths or (1, 3, 2, 1)
    cuts = dict(zip(sorted(random.sample(range(len(steps)), len(changed))), changed, strict=True))
    expected, clock = undisturbed(make, steps), ManualClock()
    instances = [Instance(make, clock) for _ in range(first)]
    got: list[Said] = []
    reached: int | None = WATERMARK_MIN
    for number, step in enumerate(steps):
        if number in cuts:
            instances = _shared_out(make, keys, instances, cuts[number])
        _move(clock, step)
        for instance, part in zip(instances, _parts(keys, step, len(instances)), strict=True):
            if part is not None:
                instance.do(part)
            got.append(instance.said())
        if isinstance(step, Pass) and step.seconds >= LONG:  # every timer has fired that was set
            assert _folded(said.rows for said in got) == _folded(
                said.rows for said in expected[: number + 1]
            ), f"step {number}"
        reached = [reached, *expected[number].watermarks][-1]
        if reached is not None:
            together = min(each.reached for each in instances)
            assert together == reached or (may_be_ahead and together > reached), f"step {number}, {step}"
    _assert_same_rows(got, expected)
    if random.random() < PAGED:
        _check_paged(make, keys, steps, random, expected)


def _assert_same_rows(got: Sequence[Said], expected: Sequence[Said]) -> None:
    """All rows together are the same, wherever and whenever they were said."""
    for part_of in (
        lambda said: said.rows,
        lambda said: said.late,
        lambda said: said.letters,
        lambda said: [("gaps", said.gaps), ("rejected", said.rejected)],
    ):
        assert _folded(map(part_of, got)) == _folded(map(part_of, expected))


def _check_paged(
    make: Make, keys: Sequence[pl.Schema], steps: Sequence[Step], random: Random, expected: Sequence[Said]
) -> None:
    """Put the state on pages, which go on from snapshots and in other numbers of instances; the rows are the same."""
    with TemporaryDirectory() as folder:
        scratch, clock = Scratch(folder), ManualClock()

        def paged() -> Operator:
            limit = random.choice((400_000, 2_000_000))
            return PagedOperator(make, [list(key) for key in keys], Memory(MemoryBudget(limit), scratch))

        instances, got = [Instance(random.choice((make, paged)), clock)], list[Said]()
        for step in steps:
            match random.choice(["go on"] * 6 + ["flush", "resume", "rescale"]):
                case "flush":
                    for instance in instances:
                        instance.operator.flush(instance.bench.out)
                case "resume" | "rescale" as how:
                    snapshots = [through_bytes(instance.snapshot()) for instance in instances]
                    got += [instance.said() for instance in instances]
                    if how == "resume":
                        pairs = zip(instances, snapshots, strict=True)
                        instances = [_resumed(paged, old, snapshot) for old, snapshot in pairs]
                    else:
                        instances = _shared_out(paged, keys, instances, random.choice((1, 2, 3)))
            _move(clock, step)
            for instance, part in zip(instances, _parts(keys, step, len(instances)), strict=True):
                if part is not None:
                    instance.do(part)
        for instance in instances:
            if not instance.operator.finished:
                instance.operator.flush(instance.bench.out)
            got.append(instance.said())
        _assert_same_rows(got, expected)


def assert_same(one: Snapshot, other: Snapshot) -> None:
    """Two snapshots hold the same."""
    assert one.tree == other.tree
    for ours, theirs in zip(one.leaves, other.leaves, strict=True):
        assert ours.path == theirs.path
        _assert_same_leaf(ours, theirs)


def copied(make: Callable[[], Savable], savable: Savable) -> Any:
    """A new object that has gone through bytes."""
    new = make()
    restore_snapshot(new, through_bytes(take_snapshot(savable, Shadow())))
    return new


def _move(clock: ManualClock, step: Step) -> None:
    if isinstance(step, Pass):
        clock.advance(timedelta(seconds=step.seconds))


def _resumed(make: Make, old: Instance, snapshot: Snapshot) -> Instance:
    """A new instance that goes on where another one stands."""
    new = Instance(make, old.bench.clock)
    restore_snapshot(new.operator, snapshot)
    new.bench.timer_us = old.bench.timer_us
    new.tell_again(old)
    assert new.watermark == old.watermark
    assert new.bench.held == old.bench.held
    assert new.bench.timer_us == old.bench.timer_us
    return new


def _shared_out(
    make: Make, keys: Sequence[pl.Schema], olds: Sequence[Instance], width: int
) -> list[Instance]:
    """So many new instances that go on together where others stand; timers are set for the earliest of theirs.

    Those that have finished have nothing to hand over.
    """
    olds = [old for old in olds if not old.operator.finished] or olds
    snapshots = [through_bytes(old.snapshot()) for old in olds]
    timers = [old.bench.timer_us for old in olds if old.bench.timer_us is not None]
    least = min(olds, key=lambda old: old.reached)
    news = []
    for number in range(width):
        new = Instance(make, least.bench.clock)
        for snapshot in snapshots:
            other = OperatorBench(make(), least.bench.clock).operator
            restore_snapshot(other, snapshot)
            new.operator.absorb(other, _mine(keys, number, width))
        new.bench.timer_us = min(timers, default=None)
        new.tell_again(least)
        news.append(new)
    return news


def _mine(
    keys: Sequence[pl.Schema], number: int, width: int
) -> Callable[[pl.DataFrame], npt.NDArray[np.bool_]]:
    def mine(asked: pl.DataFrame) -> npt.NDArray[np.bool_]:
        assert asked.dtypes in [key.dtypes() for key in keys], asked.schema
        owners: npt.NDArray[np.int64] = key_group(stable_hash(asked)).astype(np.int64) * width // KEY_GROUPS
        owned: npt.NDArray[np.bool_] = owners == number
        return owned

    return mine


def _parts(keys: Sequence[pl.Schema], step: Step, width: int) -> list[Step | None]:
    """What of a step happens to each instance."""
    if not isinstance(step, Push) or width == 1:
        return [step] * width
    parts = Partitioner(keys[step.port], width).split(step.frame)
    return [Push(part, step.port) if part.height else None for part in parts]


def _rows(frames: Iterable[pl.DataFrame]) -> list[tuple[str, int]]:
    """Rows as texts, in which NaN equals itself, and their weights."""
    rows = [row for frame in frames for row in frame.rows(named=True)]
    weights = [row.pop(WEIGHT, 1) for row in rows]
    return list(zip(map(repr, rows), weights, strict=True))


def _folded(parts: Iterable[Sequence[tuple[str, int]]]) -> dict[str, int]:
    """The rows that are there in the end."""
    total: Counter[str] = Counter()
    for part in parts:
        for row, weight in part:
            total[row] += weight
    return {row: weight for row, weight in total.items() if weight}


def _assert_same_leaf(one: Leaf, other: Leaf) -> None:
    ours, theirs = loaded(one.data), loaded(other.data)
    assert type(ours) is type(theirs)
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        np.testing.assert_array_equal(ours, theirs, err_msg=one.path)
    else:
        assert _frame(ours).equals(_frame(theirs)), one.path


def _frame(data: Any) -> pl.DataFrame:
    frame: pl.DataFrame = data.to_frame("series") if isinstance(data, pl.Series) else data
    return frame
