"""A model of checkpoints of a plan that re-keys: two readers, each with a split, send to two workers behind them.

What a single stage cannot show is tried here: barriers that are aligned over several channels, positions that the readers
report, a manifest of four participants. That the pointer, the sink and the leader do their part is the business of
`cluster_checkpoints.py`; here a decision is one step.

A record is a digit. The first reader has the odd ones, the second one the even ones; two records that follow each other
within a split go to different workers. What a state has seen is a number of such digits, in their own order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from tests.model.explorer import Wrong

READERS = (0, 1)
KEYED = (2, 3)
CHANNELS = tuple((reader, worker) for reader in READERS for worker in KEYED)
BARRIER = 0
"""The frame that is no record."""

Step: TypeAlias = tuple[str, "World"]


def record(reader: int, offset: int) -> int:
    """The record at an offset of a reader's split; the first offset is 0."""
    return 2 * offset + 1 + reader


def target(number: int) -> int:
    """The worker to which a record goes by its second key."""
    return KEYED[(number - 1) // 2 % 2]


def seen(state: int, number: int) -> int:
    """A state that has seen one more record."""
    return int("".join(sorted(f"{state or ''}{number}")))


class Worker(NamedTuple):
    """One of the four, as it is in the newest attempt.

    Args:
        state: the records that its state has seen.
        offset: of a reader: the offset to read next.
        held: the readers whose barrier has come; of a reader: that it has sent its own.
        frozen: state and offset at the barrier.
        written: what is frozen is durable.
        acked: the leader has been told.
        dead: it takes no more steps.
    """

    state: int = 0
    offset: int = 0
    held: frozenset[int] = frozenset()
    frozen: tuple[int, int] | None = None
    written: bool = False
    acked: bool = False
    dead: bool = False


class Decided(NamedTuple):
    """What the pointer refers to: the state of each of the four, and the offsets of the splits."""

    checkpoint: int = 0
    states: tuple[int, ...] = (0, 0, 0, 0)
    offsets: tuple[int, ...] = (0, 0)


class World(NamedTuple):
    """Everything at one moment.

    Args:
        decided: the last checkpoint.
        noted: where the leader believed the readers to be when it asked for the next checkpoint; `None`: it has not.
        workers: the four of the newest attempt.
        channels: the frames on their way, in the order of `CHANNELS`.
        stale: those of the attempt before.
        attempts: how many more attempts there may be.
        cuts: how many more channels lose a frame, or give one twice, and are connected again.
    """

    decided: Decided
    noted: tuple[int, ...] | None
    workers: tuple[Worker, ...]
    channels: tuple[tuple[int, ...], ...]
    stale: tuple[tuple[int, ...], ...]
    attempts: int
    cuts: int


EMPTY: tuple[tuple[int, ...], ...] = ((),) * len(CHANNELS)


@dataclass(frozen=True)
class Rules:
    """The rules of the protocol; one that is left out makes a mutant."""

    align_all: bool = True
    hold_early_channels: bool = True
    barrier_in_order: bool = True
    write_before_acknowledge: bool = True
    check_attempt: bool = True
    check_sequence: bool = True
    all_participants: bool = True
    offsets_of_readers: bool = True


@dataclass(frozen=True)
class Model:
    """All that can happen.

    Args:
        rules: what everybody keeps to.
        records: how many records each split has.
        checkpoints: how many the leader asks for while anything may go wrong.
        attempts: how often everything is taken back to the last checkpoint.
        cuts: how often a channel is cut.
        deaths: a worker that dies is a state of its own, and acknowledging is a step of its own. A worker may be slow at
            any time, so without this there is nothing that another attempt does not meet.
        credit: how many records a channel holds; a reader whose channel is full waits. Barriers need no credit.
    """

    rules: Rules = field(default_factory=Rules)
    records: int = 2
    checkpoints: int = 2
    attempts: int = 1
    cuts: int = 0
    deaths: bool = False
    credit: int = 1

    def start(self) -> World:
        """The first attempt, before it has read anything."""
        return World(Decided(), None, (Worker(),) * 4, EMPTY, EMPTY, self.attempts, self.cuts)

    def steps(self, world: World) -> Iterator[Step]:
        """Every step that anybody can take; what is done if nothing goes wrong comes first."""
        yield from self._take(world)
        yield from self._write(world)
        yield from self._decide(world)
        yield from self._read(world)
        yield from self._pass_barrier(world)
        if world.decided.checkpoint < self.checkpoints:
            yield from self.inject(world)
        yield from self._faults(world)

    # What the leader does.

    def inject(self, world: World) -> Iterator[Step]:
        """C0: the readers are asked for a barrier. They come to it when they like."""
        if world.noted is None:
            noted = tuple(world.workers[reader].offset for reader in READERS)
            yield "C0", world._replace(noted=noted)

    def _decide(self, world: World) -> Iterator[Step]:
        """C4, C5: everybody has acknowledged, and what they have frozen is the checkpoint."""
        acked = [worker for worker in world.workers if worker.acked]
        if not acked or (self.rules.all_participants and len(acked) < len(world.workers)):
            return
        assert world.noted is not None
        states, offsets = [], []
        for number, worker in enumerate(world.workers):
            if worker.acked and not worker.written:
                raise Wrong(f"missing: the checkpoint names a pack that worker {number} has not written")
            state, offset = worker.frozen if worker.acked and worker.frozen else (0, 0)
            states.append(state)
            offsets.append(offset)
        checkpoint = world.decided.checkpoint + 1
        by_reader = offsets[: len(READERS)] if self.rules.offsets_of_readers else world.noted
        decided = Decided(checkpoint, tuple(states), tuple(by_reader))
        check(decided)
        workers = tuple(
            worker._replace(held=frozenset(), frozen=None, written=False, acked=False)
            for worker in world.workers
        )
        yield "C5", world._replace(decided=decided, noted=None, workers=workers)

    def another_attempt(self, world: World) -> World:
        """Everybody begins at the last checkpoint; what is on its way belongs to the attempt before."""
        offsets = (*world.decided.offsets, 0, 0)
        workers = tuple(map(Worker, world.decided.states, offsets))
        stale = EMPTY if self.rules.check_attempt else world.channels  # refused, so they need not be kept
        return world._replace(noted=None, workers=workers, channels=EMPTY, stale=stale)

    # What workers do.

    def _read(self, world: World) -> Iterator[Step]:
        for reader in READERS:
            worker = world.workers[reader]
            if worker.offset == self.records or worker.dead:
                continue
            number = record(reader, worker.offset)
            channel = CHANNELS.index((reader, target(number)))
            frames = world.channels[channel]
            if len(frames) - frames.count(BARRIER) < self.credit:
                read = worker._replace(state=seen(worker.state, number), offset=worker.offset + 1)
                sent = _send(world, channel, (*frames, number))
                yield f"reader {reader} sends {number}", _become(sent, reader, read)

    def _pass_barrier(self, world: World) -> Iterator[Step]:
        """C1 of a reader."""
        for reader in READERS:
            worker = world.workers[reader]
            if world.noted is None or worker.held or worker.dead:
                continue
            frozen = worker._replace(held=frozenset({reader}), frozen=(worker.state, worker.offset))
            following = _become(world, reader, frozen)
            for channel, (sender, _) in enumerate(CHANNELS):
                if sender == reader:
                    frames = world.channels[channel]
                    ahead = len(frames) if self.rules.barrier_in_order else 0
                    following = _send(following, channel, (*frames[:ahead], BARRIER, *frames[ahead:]))
            yield f"reader {reader} sends a barrier", following

    def _take(self, world: World) -> Iterator[Step]:
        for channel, (reader, number) in enumerate(CHANNELS):
            worker = world.workers[number]
            held = reader in worker.held and (self.rules.hold_early_channels and worker.frozen is None)
            if worker.dead or held:
                continue
            if frames := world.channels[channel]:
                taken = _send(world, channel, frames[1:])
                yield f"worker {number} takes {frames[0]}", self._taken(taken, channel, frames[0])
            if (frames := world.stale[channel]) and not self.rules.check_attempt:
                stale = (*world.stale[:channel], frames[1:], *world.stale[channel + 1 :])
                taken = self._taken(world._replace(stale=stale), channel, frames[0])
                yield f"worker {number} takes an old {frames[0]}", taken

    def _taken(self, world: World, channel: int, frame: int) -> World:
        """A frame was taken off a channel: a record is seen, and C1 is when the barrier has come on all channels."""
        reader, number = CHANNELS[channel]
        worker = world.workers[number]
        if frame != BARRIER:
            return _become(world, number, worker._replace(state=seen(worker.state, frame)))
        worker = worker._replace(held=worker.held | {reader})
        if worker.frozen is None and (len(worker.held) == len(READERS) or not self.rules.align_all):
            worker = worker._replace(frozen=(worker.state, 0))
        return _become(world, number, worker)

    def _write(self, world: World) -> Iterator[Step]:
        """C2, C3. The next records are taken meanwhile."""
        for number, worker in enumerate(world.workers):
            if worker.frozen is None or worker.dead:
                continue
            if not self.deaths and not worker.acked:
                yield (
                    f"worker {number}: C2, C3",
                    _become(world, number, worker._replace(written=True, acked=True)),
                )
                continue
            if not worker.written:
                yield f"worker {number}: C2", _become(world, number, worker._replace(written=True))
            if not worker.acked and (worker.written or not self.rules.write_before_acknowledge):
                yield f"worker {number}: C3", _become(world, number, worker._replace(acked=True))

    # What may go wrong.

    def _faults(self, world: World) -> Iterator[Step]:
        if world.attempts:
            another = world._replace(attempts=world.attempts - 1)
            yield "another attempt", self.another_attempt(another)
            if self.deaths and not any(worker.dead for worker in world.workers):
                for number, worker in enumerate(world.workers):
                    yield f"worker {number} dies", _become(world, number, worker._replace(dead=True))
        if world.cuts:
            cut = world._replace(cuts=world.cuts - 1)
            for channel, frames in enumerate(world.channels):
                if frames and self.rules.check_sequence:
                    receiver = CHANNELS[channel][1]
                    closed = world.workers[receiver]._replace(dead=True)
                    yield f"channel {channel} is cut", _become(cut, receiver, closed)
                elif frames:
                    yield f"channel {channel} loses {frames[0]}", _send(cut, channel, frames[1:])
                    yield f"channel {channel} repeats {frames[0]}", _send(cut, channel, (frames[0], *frames))

    # What must be possible from every state.

    def finishes(self, world: World, known: set[World]) -> None:
        """With no more faults, whoever is left brings the job to its end.

        Raises:
            Wrong: when nobody can.
        """
        way = []
        world = world._replace(attempts=0, cuts=0, stale=EMPTY)
        if any(worker.dead for worker in world.workers):
            world = self.another_attempt(world)
        while world not in known and world.decided.offsets != (self.records,) * len(READERS):
            way.append(world)
            if len(way) > 100 * self.records:
                raise Wrong("stuck: the job does not get on")
            step = next(self.steps(world), None) or next(self.inject(world), None)
            if step is None:
                raise Wrong("stuck: nobody can do anything")
            _, world = step
        known.update(way)


def check(decided: Decided) -> None:
    """Every record below the offsets is in the state of its reader and of its worker once, and no other one is.

    Raises:
        Wrong: when it is not so.
    """
    below = [record(reader, offset) for reader in READERS for offset in range(decided.offsets[reader])]
    for number, state in enumerate(decided.states):
        wanted = [one for one in below if number in {(one - 1) % 2, target(one)}]
        has = [int(digit) for digit in str(state or "")]
        if set(wanted) - set(has):
            raise Wrong(f"lost: worker {number} has {has} of {sorted(wanted)}")
        if sorted(wanted) != has:
            raise Wrong(f"doubled: worker {number} has {has} instead of {sorted(wanted)}")


def _become(world: World, number: int, worker: Worker) -> World:
    workers = world.workers
    return world._replace(workers=(*workers[:number], worker, *workers[number + 1 :]))


def _send(world: World, channel: int, frames: tuple[int, ...]) -> World:
    channels = world.channels
    return world._replace(channels=(*channels[:channel], frames, *channels[channel + 1 :]))
