"""Rules that are taken out of the real code one at a time, to see that a simulation notices."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from streame.cluster import checkpoint_files, checkpoints, part_files, peers
from streame.cluster.etcd.interface import Compare, Etcd, Field, Get, Put, Relation, Transaction
from streame.cluster.etcd.swap import NotSwapped, Swap, Swapped
from streame.cluster.frames import Ack, Attempt
from streame.cluster.link import Link
from streame.core.staging import Decided
from streame.errors import Unknown
from streame.runtime import checkpointing, coordinator, gathering, local, restoring
from streame.runtime.channel import Inbox
from streame.runtime.coordinator import Complete, Coordinator
from streame.runtime.operators.sink import SinkOperator
from streame.runtime.part import Gathered
from streame.runtime.split_reader import SplitReader
from streame.testing.simulation.bucket import Objects
from streame.testing.simulation.ends import Table

Mutant = Callable[[], None]
MUTANTS: dict[str, Mutant] = {}
_before: list[tuple[Any, str, Any]] = []


def mutant(change: Mutant) -> Mutant:
    """Count a change among them."""
    MUTANTS[change.__name__] = change
    return change


def put(owner: Any, name: str, new: Any) -> None:
    """Replace something for as long as the rule is missing."""
    _before.append((owner, name, getattr(owner, name)))
    setattr(owner, name, new)


@contextmanager
def without(rule: str) -> Iterator[None]:
    """A rule is missing."""
    MUTANTS[rule]()
    try:
        yield
    finally:
        while _before:
            setattr(*_before.pop())


@mutant
def the_pointer_is_written_blindly() -> None:
    """C5: neither the epoch nor the pointer is compared."""

    def blindly(etcd: Etcd, swap: Swap, *, timeout_s: float) -> Swapped | NotSwapped:
        always = Compare(swap.key, Field.VERSION, -1, Relation.GREATER)
        outcome = etcd.transact(
            Transaction((always,), (Put(swap.key, swap.value), Get(swap.key))), timeout_s=timeout_s
        )
        (found,) = outcome.found
        assert found is not None
        return Swapped(found)

    put(checkpoints, "carry_out", blindly)


@mutant
def a_decision_without_an_answer_counts() -> None:
    """C5: a leader that gets no answer goes on as if it had decided."""

    def hopefully(etcd: Etcd, swap: Swap, *, timeout_s: float) -> Swapped | NotSwapped:
        try:
            outcome = etcd.transact(swap.transaction(), timeout_s=timeout_s)
        except Unknown:
            found = etcd.get(swap.key).entry
            if found is None:
                raise
            return Swapped(found)
        (found,) = outcome.found
        return Swapped(found) if outcome.succeeded and found is not None else NotSwapped(found)

    put(checkpoints, "carry_out", hopefully)


@mutant
def output_is_published_before_it_is_decided() -> None:
    """C6 before C5."""
    make = checkpointing.Checkpointing._make

    def early(self: Any, complete: Complete) -> None:
        for name, staged in complete.staged.items():
            if staged.pieces:
                self._sinks[name].publish(Decided(complete.checkpoint, staged))
        make(self, complete)

    put(checkpointing.Checkpointing, "_make", early)


@mutant
def sources_are_told_before_it_is_decided() -> None:
    """C7 before C5."""
    make = checkpointing.Checkpointing._make

    def early(self: Any, complete: Complete) -> None:
        for source in self._sources:
            source.decided(complete.sources[source.name])
        make(self, complete)

    put(checkpointing.Checkpointing, "_make", early)


@mutant
def a_sink_has_no_marker() -> None:
    """C6: what was published is published again."""
    add = Table.put

    def again(self: Table, checkpoint: int, rows: Any, *, by: str, checks_marker: bool = True) -> None:
        add(self, checkpoint, rows, by=by, checks_marker=False)

    put(Table, "put", again)
    put(Table, "marker_for", lambda self, token: 0)


@mutant
def a_sink_has_no_fence() -> None:
    """C6: the marker is read, and who writes then is not looked at."""
    put(Table, "_check", lambda self, token: None)


@mutant
def a_new_leader_publishes_nothing() -> None:
    """T4 is left out."""
    join = SinkOperator.join_checkpoints
    put(SinkOperator, "join_checkpoints", lambda self, decided, outbox: join(self, (), outbox))


@mutant
def names_do_not_carry_the_attempt() -> None:
    """C2: and a store that overwrites."""

    def bare(checkpoint: int, attempt: Attempt) -> str:
        return f"c/{checkpoint}/0.0"

    put(checkpoints, "folder_of", bare)
    put(part_files, "folder_of", bare)
    create = Objects.create

    def over(self: Objects, name: str, data: bytes) -> None:
        self.can_overwrite = not name.startswith("probe/")
        create(self, name, data)

    put(Objects, "create", over)


@mutant
def garbage_is_all_that_is_not_known() -> None:
    """C9: also what a newer attempt is writing."""
    put(checkpoint_files, "_is_old", lambda path, attempt, last: True)


@mutant
def kept_files_are_garbage() -> None:
    """C9: also what a checkpoint names."""
    collect = checkpoint_files.garbage
    put(
        checkpoints,
        "garbage",
        lambda paths, attempt, last, kept, needed: collect(paths, attempt, last, {}, ()),
    )


@mutant
def offsets_are_not_restored() -> None:
    """T7: sources are read from the beginning."""
    put(SplitReader, "restore", lambda self, position: None)


@mutant
def states_are_not_restored() -> None:
    """T6: operators begin empty, sources go on."""
    restore = restoring.restore

    def forgetful(tasks: Any, graph: Any, recovered: Any, kept: Any, clock: Any) -> None:
        restore(tasks, graph, recovered, {name for name in kept if name in recovered.sources}, clock)

    put(local, "restore", forgetful)


@mutant
def an_attempt_goes_on_after_a_lost_stream() -> None:
    """What was under way is missing."""

    def quietly(self: Any, error: Any) -> None:
        self.error = error
        self._outgoing.stop()
        self._cancel()

    put(Link, "fail", quietly)


@mutant
def early_channels_are_read_on() -> None:
    """C1: records behind an early barrier do not wait."""
    put(Inbox, "block", lambda self, channel: None)


class _Forgetful:
    """A store into which only the parts themselves are written, and no state."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_new(self, name: str, data: bytes) -> None:
        if name.endswith(".part"):
            self._store.put_new(name, data)


@mutant
def a_part_is_told_before_its_state_is_written() -> None:
    """C3 before C2, and then the node is gone."""
    write = part_files.PartFiles.write

    def hastily(self: Any, gathered: Gathered) -> Any:
        store, self._store = self._store, _Forgetful(self._store)
        try:
            return write(self, gathered)
        finally:
            self._store = store

    put(part_files.PartFiles, "write", hastily)


@mutant
def a_stop_while_it_starts_ends_the_sources() -> None:
    """As it once was."""

    def stop(self: Any) -> None:
        self._stopping.set()
        if self._checkpointing is not None:
            self._checkpointing.stop()
            return
        for task in self._tasks:
            task.stop_reading()

    put(local.LocalRun, "stop", stop)


@mutant
def nodes_without_tasks_give_parts() -> None:
    """As it once was."""
    complete = gathering.Gathering._complete

    def always(self: Any) -> Gathered | None:
        was_under_way = self._under_way
        found = complete(self)
        if found is None and was_under_way and not self._under_way:
            return Gathered(self._number, [], [])
        return found

    take = Coordinator.gathered

    def expecting(self: Any, gathered: Gathered) -> Complete | None:
        assert self._under_way, gathered.checkpoint
        assert gathered.checkpoint == self._number, (gathered.checkpoint, self._number)
        return take(self, gathered)

    put(gathering.Gathering, "_complete", always)
    put(Coordinator, "gathered", expecting)


@mutant
def one_reader_speaks_for_all() -> None:
    """C3: of the positions in a source that several nodes read only the first one is kept."""
    put(coordinator, "merged", lambda found: found[0])


@mutant
def acknowledgements_of_the_checkpoint_before_count() -> None:
    """C4: the leader does not look for which checkpoint a part is."""
    read = peers.Peers._read
    kept: dict[int, Ack] = {}

    def old(self: Any, ack: Ack) -> Gathered:
        before, kept[id(self)] = kept.get(id(self)), ack
        found = read(self, before or ack)
        return replace(found, checkpoint=ack.checkpoint)

    put(peers.Peers, "_read", old)
