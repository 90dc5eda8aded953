"""A model of a cluster's checkpoints: a leader that feeds one keyed stage, old leaders, lost answers, late requests.

The order of writes that it shows to be safe and live is in `docs/cluster-protocol.md`; `cluster_leader.py` has the leader's
part of it, this file the worker's and all that may go wrong:

- a leader is elected at any moment. The one before it knows nothing of that, and goes on, or is asleep for a while.
- a request gets no answer. It was carried out, is carried out at any later moment, or never.
- a worker is lost, or only taken for lost: then it goes on with its old attempt.
- a channel loses a frame, or gives it twice.
- the source drops records that nobody has allowed it to drop.

A worker is modelled by attempt: one process that goes on to the next attempt is the case that the old one stops.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.model.cluster_leader import Leading, fly
from tests.model.cluster_reduction import reduced
from tests.model.cluster_world import (
    NOTHING,
    Content,
    Faults,
    Leader,
    Request,
    Rules,
    Worker,
    World,
    carry_out,
    check,
    content_of,
    joined,
    prefix,
)
from tests.model.explorer import Wrong

Step: TypeAlias = tuple[str, World]


@dataclass(frozen=True)
class Model:
    """All that can happen.

    Args:
        rules: what everybody keeps to.
        records: how many records the source has.
        epochs: how many leaders are elected, at any moments.
        faults: how often other things go wrong.
        reduce: take worlds for one that no step tells apart.
    """

    rules: Rules = field(default_factory=Rules)
    records: int = 3
    epochs: int = 3
    faults: Faults = field(default_factory=Faults)
    reduce: bool = True

    def start(self) -> World:
        """Before anything has happened."""
        return World(NOTHING, (), 0, 0, 0, 0, 0, (), self.faults, (), ())

    def steps(self, world: World) -> Iterator[Step]:
        """Every step that anybody can take."""
        for name, following in self._steps(world):
            yield name, reduced(following, self.rules) if self.reduce else following

    def _steps(self, world: World) -> Iterator[Step]:
        if len(world.leaders) < self.epochs:
            yield f"leader {len(world.leaders) + 1} is elected", self.elect(world)
        for epoch, leader in enumerate(world.leaders, start=1):
            for following in self.leading.steps(world, epoch):
                yield (
                    f"leader {epoch}: {leader.phase} -> {following.leaders[epoch - 1].phase}",
                    following,
                )
        for number, worker in enumerate(world.workers):
            for following in self.working(world, number):
                yield f"worker of {tuple(worker.attempt)}: {worker.phase}", following
        for request in dict.fromkeys(world.flying):
            flying = list(world.flying)
            flying.remove(request)
            late = world._replace(flying=tuple(flying))
            yield f"late: {request.kind} of {request.epoch}", carry_out(late, request, self.rules)
        if world.faults.dropped and world.gone == world.acknowledged < self.records:
            faults = world.faults._replace(dropped=world.faults.dropped - 1)
            yield "the source drops a record", world._replace(gone=world.gone + 1, faults=faults)

    @property
    def leading(self) -> Leading:
        """What leaders do."""
        return Leading(self.rules, self.records)

    def elect(self, world: World) -> World:
        """T0, T1: the key of the leader has another owner, whatever the last one thinks."""
        return world._replace(leaders=(*world.leaders, Leader()))

    # What a worker does.

    def working(self, world: World, number: int) -> Iterator[World]:
        """Every step of the worker of an attempt; the first one is what happens if nothing goes wrong."""
        worker = world.workers[number]
        phase: Callable[[World, int, Worker], Iterator[World]] | None
        phase = getattr(self, f"_{worker.phase}", None)
        if phase is not None:
            yield from phase(world, number, worker)

    def _receive(self, world: World, number: int, worker: Worker) -> Iterator[World]:
        if not worker.checkpoint:
            return
        if not self.rules.worker_checks_attempt:
            yield from self._receive_foreign(world, number, worker)
        if worker.at == worker.cut:
            yield _become(world, number, worker._replace(phase="write"))  # C1: the barrier
            return
        frame = worker.at + 1
        yield _become(world, number, _applied(worker, frame)._replace(at=frame))
        if world.faults.cut:
            world = world._replace(faults=world.faults._replace(cut=world.faults.cut - 1))
            if self.rules.check_sequence:
                yield _become(world, number, Worker(worker.attempt, "closed"))
                return
            yield _become(world, number, worker._replace(at=frame))
            yield _become(world, number, _applied(worker, frame))

    def _receive_foreign(self, world: World, number: int, worker: Worker) -> Iterator[World]:
        """A frame on the channel of another attempt, which the same process has open."""
        for other, sender in enumerate(world.workers):
            if other != number and sender.phase == "receive" and sender.checkpoint:
                if sender.at < sender.cut:
                    taken = _become(world, other, sender._replace(at=sender.at + 1))
                    yield _become(taken, number, _applied(worker, sender.at + 1))
                elif sender.checkpoint == worker.checkpoint:
                    taken = _become(world, other, Worker(sender.attempt, "closed"))
                    yield _become(taken, number, worker._replace(phase="write"))

    def _write(self, world: World, number: int, worker: Worker) -> Iterator[World]:
        """C2: state and staged output, create-only. What is there already is read: equal bytes are a success."""
        file = self.leading.name("pack", worker.checkpoint, worker.attempt)
        request = Request("put", worker.attempt.epoch, file, worker.content)
        written = carry_out(world, request, self.rules)
        if content_of(written, file) != worker.content:
            yield _become(world, number, Worker(worker.attempt, "closed"))
            return
        acked = worker._replace(phase="acked", content=Content(worker.content.state))  # C3
        yield _become(written, number, acked)
        if world.faults.stuck:
            yield _become(fly(world, request), number, worker)

    # What must be possible from every state.

    def finishes(self, world: World, known: set[World]) -> None:
        """One leader alone, with no more faults, brings the job to its end.

        Raises:
            Wrong: when it does not.
        """
        way = []
        epoch = len(world.leaders)
        while world not in known and world.leaders[-1].phase != "done":
            way.append(world)
            check(world)
            if world.leaders[-1].phase == "stopped" and not self.rules.decide_by_epoch:
                return  # an older one was faster; the next leader goes on from there
            if world.leaders[-1].phase == "stopped" or len(way) > 100 * self.records:
                raise Wrong(f"stuck: leader {epoch} does not get on")
            world = self._next(world, epoch)
        if world not in known and world.rows != prefix(self.records):
            raise Wrong(f"lost: the job has ended, and the sink has {world.rows}")
        if world not in known and world.acknowledged < self.records:
            raise Wrong(f"kept: the job has ended, and the source has to keep record {self.records}")
        known.update(way)

    def _next(self, world: World, epoch: int) -> World:
        step = next(self.leading.steps(world, epoch), None)
        number = len(world.workers) - 1
        if step is None and world.workers:
            step = next(self.working(world, number), None)
        return step if step is not None else self.leading.another_attempt(world, epoch)


def alone(world: World) -> World:
    """Faults have ended: there is the newest leader with its attempt, and all others are gone."""
    stopped = (Leader("stopped"),) * (len(world.leaders) - 1)
    leader = world.leaders[-1]
    mine = tuple(one for one in world.workers if one.attempt == (len(world.leaders), leader.number))
    return world._replace(leaders=(*stopped, leader), workers=mine, flying=(), faults=Faults())


def _applied(worker: Worker, record: int) -> Worker:
    state, output = worker.content
    return worker._replace(content=Content(joined(state, record), joined(output, record)))


def _become(world: World, number: int, worker: Worker) -> World:
    workers = world.workers
    return world._replace(workers=(*workers[:number], worker, *workers[number + 1 :]))
