"""The pointer, the store, the sink and the source of the model of a cluster's checkpoints, and what must hold of them.

Rows are the digits of a number: 123 are the records 1, 2 and 3 in this order, 122 has the second one twice.
"""

from dataclasses import dataclass
from typing import NamedTuple

from tests.model.explorer import Wrong


class Attempt(NamedTuple):
    """One run of the job with one fixed assignment: the epoch of its leader, and a number."""

    epoch: int = 0
    number: int = 0


class File(NamedTuple):
    """The name of a file in the store; without the rule that names carry it, the attempt is (0, 0)."""

    kind: str
    checkpoint: int
    attempt: Attempt


class Pointer(NamedTuple):
    """The decided checkpoint, with what its manifest says.

    Args:
        checkpoint: its number.
        last: the source's offset: the last record that is part of it.
        manifest: the file of the manifest.
        pack: the file with the state that has changed, and the staged output.
        before: a pack of an earlier checkpoint, in which unchanged state lies.
    """

    checkpoint: int = 0
    last: int = 0
    manifest: File | None = None
    pack: File | None = None
    before: File | None = None


NOTHING = Pointer()


class Content(NamedTuple):
    """What a pack says: the records that the state has seen, and the staged output."""

    state: int = 0
    output: int = 0


class Request(NamedTuple):
    """Something that a process asks of etcd, the store, the sink or the source.

    Args:
        kind: what is asked.
        epoch: the epoch of the leader that asks, or for which a worker asks.
        name: the file, the pointer that is expected, the number of a checkpoint or an offset.
        content: what is written.
    """

    kind: str
    epoch: int
    name: File | Pointer | int = 0
    content: Pointer | Content | int = 0


class Leader(NamedTuple):
    """A process that was elected, by what it does next.

    Args:
        phase: its next step, a method of `Leading`.
        view: the pointer as it knows it.
        number: the number of its attempt.
        cut: the offset at which it has put the barrier.
        pack: what the worker has acknowledged.
        holds: nobody has fenced the sink since this leader did.
        then: the phase that follows a fence.
        garbage: the files that it is going to delete.
    """

    phase: str = "read"
    view: Pointer = NOTHING
    number: int = 0
    cut: int = 0
    pack: File | None = None
    holds: bool = False
    then: str = "marker"
    garbage: tuple[File, ...] = ()


class Worker(NamedTuple):
    """A worker as it is in one attempt, and the channel that leads to it.

    Args:
        attempt: the attempt.
        phase: its next step, a method of `Working`.
        checkpoint: the number in the barrier that is on its way.
        cut: the last record before that barrier.
        at: the last record that was taken off the channel.
        content: the state, and the output since the last barrier.
    """

    attempt: Attempt
    phase: str = "receive"
    checkpoint: int = 0
    cut: int = 0
    at: int = 0
    content: Content = Content()


class World(NamedTuple):
    """Everything at one moment.

    Args:
        pointer: the value in etcd. The epoch is the number of leaders: the last one of them holds the key.
        files: what is in the store.
        rows: what the sink shows.
        marker: the number of the last published checkpoint, in the sink.
        row_epoch: the epoch in the sink's row, where it keeps one.
        acknowledged: up to here the source need not keep its records.
        gone: up to here it has dropped them.
        flying: requests whose sender has no answer, and that may still be carried out.
        faults: how many more faults there are: a request without an answer, a channel that is cut, a worker that
            is lost.
        leaders: the processes that were elected, the epochs 1, 2 and so on.
        workers: by attempt.
    """

    pointer: Pointer
    files: tuple[tuple[File, Content], ...]
    rows: int
    marker: int
    row_epoch: int
    acknowledged: int
    gone: int
    flying: tuple[Request, ...]
    faults: "Faults"
    leaders: tuple[Leader, ...]
    workers: tuple[Worker, ...]


class Faults(NamedTuple):
    """How often something may go wrong, beside what may go wrong at any time: a pause, a crash, a lost lease."""

    stuck: int = 0
    cut: int = 0
    lost: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class Rules:
    """The rules of the protocol; one that is left out makes a mutant, or shows that another one is enough.

    Args:
        sink: "fenced", a sink that is fenced, asked for its marker, and then written to; or "checked", one that looks
            at its marker in the transaction that writes.
    """

    sink: str = "fenced"
    decide_by_epoch: bool = True
    decide_by_pointer: bool = True
    fence: bool = True
    fence_before_marker: bool = True
    marker_after_every_fence: bool = True
    check_marker: bool = True
    epoch_in_row: bool = True
    create_only: bool = True
    attempt_in_names: bool = True
    worker_checks_attempt: bool = True
    leader_checks_attempt: bool = True
    check_sequence: bool = True
    decide_before_publish: bool = True
    decide_before_acknowledge: bool = True
    retry_unknown_decision: bool = True
    acknowledge_at_takeover: bool = True
    stop_at_lost_offset: bool = True
    offset_of_manifest: bool = True
    attempt_by_epoch: bool = True
    garbage_is_older: bool = True
    garbage_is_below: bool = True
    referenced_is_no_garbage: bool = True


def joined(rows: int, more: int) -> int:
    """Rows with others behind them."""
    return int(f"{rows}{more}") if rows and more else rows or more


def prefix(last: int) -> int:
    """The records 1 to `last`."""
    return int("0123456789"[: last + 1])


def content_of(world: World, wanted: File | None) -> Content | None:
    """What is in a file; `None` if it is not there."""
    for file, content in world.files:
        if file == wanted:
            return content
    return None


def carry_out(world: World, request: Request, rules: Rules) -> World:
    """The receiver of a request carries it out, or refuses it."""
    match request:
        case Request("put", _, File() as file, Content() as content):
            there = content_of(world, file)
            if there is not None and (rules.create_only or there == content):
                return world
            others = [one for one in world.files if one[0] != file]
            return world._replace(files=tuple(sorted((*others, (file, content)))))
        case Request("delete", _, File() as file):
            return world._replace(files=tuple(one for one in world.files if one[0] != file))
        case Request("decide", epoch, Pointer() as expected, Pointer() as decided):
            if rules.decide_by_epoch and epoch != len(world.leaders):
                return world
            if rules.decide_by_pointer and expected != world.pointer:
                return world
            return world._replace(pointer=decided)
        case Request("acknowledge", _, int(last)):
            return world._replace(acknowledged=max(world.acknowledged, last))
        case Request("fence", epoch):
            return _fence(world, epoch if request.name else 0)
        case Request("publish", epoch, int(checkpoint), int(rows)):
            return _publish(world, epoch, checkpoint, rows, rules)
    raise AssertionError(request)


def _fence(world: World, epoch: int) -> World:
    """Whoever came last holds the sink; the sink knows nothing of epochs. 0: the answer went to nobody."""
    leaders = tuple(
        leader._replace(holds=number == epoch) for number, leader in enumerate(world.leaders, start=1)
    )
    flying = tuple(request for request in world.flying if request.kind != "publish")
    return world._replace(leaders=leaders, flying=flying)


def _publish(world: World, epoch: int, checkpoint: int, rows: int, rules: Rules) -> World:
    """Rows and marker are written in one transaction."""
    if rules.sink == "checked" and checkpoint <= world.marker and rules.check_marker:
        return world
    if rules.sink == "checked" and epoch < world.row_epoch and rules.epoch_in_row:
        return world
    row_epoch = epoch if rules.sink == "checked" and rules.epoch_in_row else 0
    return world._replace(rows=joined(world.rows, rows), marker=checkpoint, row_epoch=row_epoch)


def check(world: World) -> None:
    """What must hold at every moment."""
    pointer = world.pointer
    text = str(world.rows) if world.rows else ""
    if len(set(text)) < len(text):
        raise Wrong(f"doubled: the sink has {text}")
    if not str(prefix(9)).startswith(text):
        raise Wrong(f"lost: the sink has {text}")
    if world.acknowledged > pointer.last:
        raise Wrong(f"acknowledged: record {world.acknowledged} is in no checkpoint")
    if pointer is not NOTHING and pointer.checkpoint:
        for file in (pointer.manifest, pointer.pack, pointer.before):
            if file is not None and content_of(world, file) is None:
                raise Wrong(f"deleted: {file} belongs to the decided checkpoint")
        content = content_of(world, pointer.pack)
        if content is not None and content.state != prefix(pointer.last):
            raise Wrong(f"state: the checkpoint at record {pointer.last} has {content.state}")
