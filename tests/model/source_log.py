"""A model of the log of a source that cannot be read again, in a cluster: W1..W4 with old leaders and clients that try again.

A row is a digit, its client's own number for it. A client sends a row again and again, to any leader, until one answers;
the log is what the head in etcd leads to. What the job has made of the log is decided with its checkpoints, which is the
business of `cluster_checkpoints.py`: here only the newest leader feeds rows, and what is fed is decided.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from typing import NamedTuple, TypeAlias

from tests.model.explorer import Wrong

Rows: TypeAlias = tuple[int, ...]
Step: TypeAlias = tuple[str, "World"]


class Segment(NamedTuple):
    """The name of a file of the log: numbers go up by one, an epoch has each of them once."""

    number: int = 0
    epoch: int = 0


class Written(NamedTuple):
    """What is in a segment: the rows, and which segment is before it."""

    before: Segment
    rows: Rows


START = Segment()


class Request(NamedTuple):
    """Something that the leader of an epoch asks of the store (`content`) or of etcd (`expected`)."""

    kind: str
    epoch: int
    segment: Segment
    content: Written | None = None
    expected: Segment = START


class Leader(NamedTuple):
    """A process that was elected.

    Args:
        phase: its next step, a method of `Model`.
        log: the segments as it knows them.
        group: the rows that it is about to log.
    """

    phase: str = "read"
    log: tuple[Segment, ...] = ()
    group: Rows = ()


class World(NamedTuple):
    """Everything at one moment.

    Args:
        head: the last sealed segment, in etcd.
        segments: what is in the store.
        fed: the last segment whose rows have gone on.
        rows: the rows that have gone on.
        answered: the rows of which the client knows that they last.
        sends: how often each row may still be sent, while anything may go wrong.
        flying: requests whose sender has no answer.
        stuck: how many more requests get no answer.
        leaders: the epochs 1, 2 and so on.
    """

    head: Segment
    segments: tuple[tuple[Segment, Written], ...]
    fed: Segment
    rows: Rows
    answered: frozenset[int]
    sends: Rows
    flying: tuple[Request, ...]
    stuck: int
    leaders: tuple[Leader, ...]


@dataclass(frozen=True)
class Rules:
    """The rules of the log; one that is left out makes a mutant, or shows that another one is enough."""

    head: bool = True
    seal_by_epoch: bool = True
    seal_by_head: bool = True
    seal_before_answer: bool = True
    drop_repeated: bool = True
    table_in_state: bool = True
    table_of_all: bool = True
    epoch_in_names: bool = True
    create_only: bool = True
    chain: bool = True


@dataclass(frozen=True)
class Model:
    """All that can happen.

    Args:
        rules: what everybody keeps to.
        records: how many rows the client has; it does not wait for the answer to one before it sends the next.
        sends: how often it sends each.
        epochs: how many leaders are elected, at any moments.
        stuck: how many requests get no answer.
        reduce: leave out what an old leader does that can have no effect.
    """

    rules: Rules = field(default_factory=Rules)
    records: int = 2
    sends: int = 2
    epochs: int = 2
    stuck: int = 1
    reduce: bool = True

    def start(self) -> World:
        """Before anything has happened."""
        return World(START, (), START, (), frozenset(), (self.sends,) * self.records, (), self.stuck, ())

    def steps(self, world: World) -> Iterator[Step]:
        """Every step that anybody can take."""
        for name, following in self._steps(world):
            yield name, reduced(following) if self.reduce and self.rules == Rules() else following

    def _steps(self, world: World) -> Iterator[Step]:
        yield from self._feed(world)
        for epoch, leader in enumerate(world.leaders, start=1):
            for following in self._steps_of(world, epoch, leader):
                name = f"leader {epoch}: {leader.phase} {leader.group}"
                yield f"{name} -> {following.leaders[epoch - 1].phase}", following
        if len(world.leaders) < self.epochs:
            yield f"leader {len(world.leaders) + 1} is elected", elect(world)
        for request in dict.fromkeys(world.flying):
            flying = list(world.flying)
            flying.remove(request)
            late = world._replace(flying=tuple(flying))
            yield f"late: {request.kind} of {request.segment}", self._carry_out(late, request)

    def _steps_of(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        if leader.phase != "stopped":
            phase: Callable[[World, int, Leader], Iterator[World]] = getattr(self, f"_{leader.phase}")
            yield from phase(world, epoch, leader)

    def _read(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """At the takeover: which segments are the log."""
        segments = dict(world.segments)
        if not self.rules.head:
            log = sorted(segments)
        elif self.rules.chain:
            log = []
            segment = world.head
            while segment != START:
                log.insert(0, segment)
                segment = segments[segment].before
        else:  # of those with one number the one that came last is of the highest epoch
            by_number = {one.number: one for one in sorted(segments) if one.number <= world.head.number}
            log = list(by_number.values())
        yield _become(world, epoch, leader._replace(phase="collect", log=tuple(log)))

    def _collect(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """W1 begins: rows have come, in any order."""
        can_come = [row for row in range(1, self.records + 1) if world.sends[row - 1]]
        for size in (1, 2):
            for group in permutations(can_come, size):
                sends = tuple(left - (row in group) for row, left in enumerate(world.sends, start=1))
                came = leader._replace(phase="write", group=group)
                yield _become(world._replace(sends=sends), epoch, came)

    def _segment(self, epoch: int, leader: Leader) -> Segment:
        last = leader.log[-1] if leader.log else START
        return Segment(last.number + 1, epoch if self.rules.epoch_in_names else 0)

    def _write(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """W1."""
        segment = self._segment(epoch, leader)
        content = Written(leader.log[-1] if leader.log else START, leader.group)
        request = Request("put", epoch, segment, content)
        written = self._carry_out(world, request)
        following = "seal" if self.rules.seal_before_answer else "answer"
        if not self.rules.head:
            leader = leader._replace(log=(*leader.log, segment))
            following = "answer"
        if dict(written.segments)[segment] == content:
            yield _become(written, epoch, leader._replace(phase=following))
        else:
            yield _become(written, epoch, Leader("stopped"))
        if world.stuck and self.rules.head:
            yield _fly(world, epoch, leader, request)

    def _seal(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """W2."""
        expected = leader.log[-1] if leader.log else START
        request = Request("seal", epoch, self._segment(epoch, leader), None, expected)
        yield _become(self._carry_out(world, request), epoch, leader._replace(phase="reread"))
        if world.stuck:
            yield _fly(world, epoch, leader._replace(phase="reread"), request)

    def _reread(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """W2: what the head is now. An answer that came says the same."""
        segment = self._segment(epoch, leader)
        before = leader.log[-1] if leader.log else START
        if world.head == segment:
            following = "answer" if self.rules.seal_before_answer else "collect"
            yield _become(world, epoch, leader._replace(phase=following, log=(*leader.log, segment)))
        elif world.head == before and epoch == len(world.leaders):
            yield _become(world, epoch, leader._replace(phase="seal"))
        else:
            yield _become(world, epoch, Leader("stopped"))

    def _answer(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """W3. That the client does not hear it is a leader that takes no more steps."""
        following = "collect" if self.rules.seal_before_answer or not self.rules.head else "seal"
        answered = world.answered | set(leader.group)
        yield _become(world._replace(answered=answered), epoch, leader._replace(phase=following))

    def _feed(self, world: World) -> Iterator[Step]:
        """W4: rows go on, those left out that the table of the job's state has."""
        newest = len(world.leaders)
        for segment in world.leaders[-1].log if world.leaders else ():
            if segment <= world.fed:
                continue
            rows = world.rows
            table = rows if self.rules.table_in_state or segment.epoch == newest else ()
            for row in dict(world.segments)[segment].rows:
                known = row in table if self.rules.table_of_all else row <= max(table, default=0)
                if not known or not self.rules.drop_repeated:
                    rows = (*rows, row)
                    table = (*table, row)
            yield f"{segment} is fed", world._replace(fed=segment, rows=rows)
            return

    def _carry_out(self, world: World, request: Request) -> World:
        if request.kind == "put":
            assert request.content is not None
            segments = dict(world.segments)
            if request.segment in segments and self.rules.create_only:
                return world
            segments[request.segment] = request.content
            return world._replace(segments=tuple(sorted(segments.items())))
        if self.rules.seal_by_epoch and request.epoch != len(world.leaders):
            return world
        if self.rules.seal_by_head and request.expected != world.head:
            return world
        return world._replace(head=request.segment)

    # What must be possible from every state.

    def finishes(self, world: World, known: set[World]) -> None:
        """The newest leader alone, with no more faults: the client gets all its answers, and every row has gone on once.

        Raises:
            Wrong: when it is not so.
        """
        way = []
        epoch = len(world.leaders)
        stopped = (Leader("stopped"),) * (epoch - 1)
        world = world._replace(leaders=(*stopped, world.leaders[-1]), flying=(), stuck=0)
        while world not in known:
            way.append(world)
            check(world)
            if len(way) > 100 * self.records:
                raise Wrong("stuck: the leader does not get on")
            waiting = [row for row in range(1, self.records + 1) if row not in world.answered]
            world = world._replace(sends=tuple(int(row in waiting) for row in range(1, self.records + 1)))
            step = next(self._feed(world), None)
            following = step[1] if step else next(self._steps_of(world, epoch, world.leaders[-1]), None)
            if following is None and waiting and not self.rules.seal_by_epoch:
                break  # an old one was faster; the next leader goes on from there
            if following is None and waiting:
                raise Wrong("stuck: the leader stops")
            if following is None:
                log = world.leaders[-1].log
                if self.rules.head and world.head > (log[-1] if log else START):
                    raise Wrong(f"stuck: the newest leader does not know of {world.head}")
                if set(world.rows) != set(range(1, self.records + 1)):
                    raise Wrong(f"lost: all was answered, and {world.rows} is what went on")
                break
            world = following
        known.update(way)


def check(world: World) -> None:
    """What must hold at every moment."""
    if len(set(world.rows)) < len(world.rows):
        raise Wrong(f"doubled: {world.rows} went on")


def reduced(world: World) -> World:
    """An old leader can seal nothing: all it does is litter, unless it has sealed just before and will answer."""
    newest = len(world.leaders)
    leaders = tuple(
        leader
        if epoch == newest
        or leader.phase == "answer"
        or (leader.phase == "reread" and world.head.epoch == epoch and world.head not in leader.log)
        else Leader("stopped")
        for epoch, leader in enumerate(world.leaders, start=1)
    )
    log = [START]
    segments = dict(world.segments)
    segment = world.head
    while segment != START:
        log.append(segment)
        segment = segments[segment].before
    kept = tuple(one for one in world.segments if one[0] in log or one[0].epoch == newest)
    flying = tuple(request for request in world.flying if request.epoch == newest)
    return world._replace(leaders=leaders, segments=kept, flying=flying)


def elect(world: World) -> World:
    """The key of the leader has another owner."""
    return world._replace(leaders=(*world.leaders, Leader()))


def _become(world: World, epoch: int, leader: Leader) -> World:
    leaders = world.leaders
    return world._replace(leaders=(*leaders[: epoch - 1], leader, *leaders[epoch:]))


def _fly(world: World, epoch: int, leader: Leader, request: Request) -> World:
    """The request gets no answer, and is carried out at any later moment or never."""
    flying = tuple(sorted((*world.flying, request), key=repr))
    return _become(world._replace(flying=flying, stuck=world.stuck - 1), epoch, leader)
