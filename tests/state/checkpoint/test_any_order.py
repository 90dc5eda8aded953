"""Checkpoints in any order of luck: full disks, kills and power cuts, with the promise checked after each."""

import errno
from contextlib import suppress

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streame.core.staging import Decided
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.store import Draft
from tests.examples import examples
from tests.state.checkpoint.counting_job import (
    SINK,
    assert_is,
    draft_of,
    output_of,
    published_by,
    store_on,
)
from tests.storage.memory_disk import MemoryDisk, RecordedDisk
from tests.storage.power_cut import Power


class Stopped(Exception):  # noqa: N818
    """The process was killed."""


class DyingDisk(RecordedDisk):
    """A disk of a process that dies before some operation.

    Args:
        inner: the disk.
    """

    left: float = float("inf")

    def _note(self, name: str, path: str, more: object = None) -> None:
        super()._note(name, path, more)
        self.left -= 1
        if self.left <= 0:
            raise Stopped


class Luck(RuleBasedStateMachine):
    """A job, its disk, and a sink that remembers what was published."""

    @initialize()
    def begin(self) -> None:
        self.power = Power()
        self.acknowledged = 0
        self.published: dict[int, bytes] = {}
        self.draft: Draft | None = None
        self.open({}, [])

    def open(self, files: dict[str, bytes], folders: list[str]) -> None:
        """A new process finds what is there, and publishes what it must."""
        self.disk = DyingDisk(MemoryDisk(files, folders))
        self.done = 0
        self.store: LocalCheckpoints = store_on(self.disk)
        self.store.claim()
        recovered = self.store.recover()
        self.keep_up()
        self.number = 0 if recovered is None else recovered.number
        self.draft = None
        assert self.number >= max(self.acknowledged, *self.published, 0)
        if recovered is not None:
            assert_is(recovered, self.number)
            for decided in recovered.decided[SINK][-2:]:
                self.publish(decided)
        self.acknowledged = self.number

    def publish(self, decided: Decided) -> None:
        """What is published again is the same."""
        content = published_by(self.store, decided)
        assert content == output_of(decided.checkpoint)
        assert self.published.setdefault(decided.checkpoint, content) == content
        self.published[decided.checkpoint] = content

    def keep_up(self) -> None:
        """The power has seen what the disk has done."""
        for op in self.disk.log[self.done :]:
            if not op[1].startswith("proof"):
                self.power.apply(op)
        self.done = len(self.disk.log)

    def write(self) -> None:
        """One checkpoint, with the same staged output if an attempt failed before."""
        self.draft = self.draft or draft_of(self.store, self.number + 1)
        written = self.store.write(self.draft)
        self.acknowledged = self.number = written.number
        staged = self.draft.staged[SINK]
        self.draft = None
        self.publish(Decided(written.number, staged))
        self.store.published(written.number)

    @rule()
    def checkpoint(self) -> None:
        self.write()

    @rule()
    def collect(self) -> None:
        self.store.collect_garbage()

    @rule(room=st.integers(0, 3000))
    def full(self, room: int) -> None:
        inner = self.disk.inner
        assert isinstance(inner, MemoryDisk)
        self.draft = self.draft or draft_of(self.store, self.number + 1)
        inner.room = sum(map(len, inner.files.values())) + room
        try:
            self.write()
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017
        inner.room = None

    @rule(steps=st.integers(1, 30), collects=st.booleans())
    def kill(self, steps: int, collects: bool) -> None:
        self.disk.left = steps
        with suppress(Stopped):
            self.write()
            if collects:
                self.store.collect_garbage()
        self.keep_up()
        self.open(self.power.living(), sorted(self.power.folders))

    @rule(steps=st.integers(1, 30), data=st.data())
    def power_cut(self, steps: int, data: st.DataObject) -> None:
        self.disk.left = steps
        with suppress(Stopped):
            self.write()
            self.store.collect_garbage()
        self.keep_up()
        cuts = list(self.power.cuts())
        left = cuts[data.draw(st.integers(0, len(cuts) - 1))]
        self.power = Power.of(left, self.power.folders)
        self.open(left, sorted(self.power.folders))

    @invariant()
    def nothing_is_missing(self) -> None:
        self.keep_up()
        assert sorted(self.published) == list(range(1, self.number + 1))


TestLuck = Luck.TestCase
TestLuck.settings = settings(max_examples=examples(40), stateful_step_count=25)
