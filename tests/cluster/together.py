"""A job whose tasks are on several nodes, all in this process: what goes between them is encoded, but no network is."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import combinations

from streame.cluster.frames import Attempt
from streame.cluster.session import Session
from streame.cluster.view import AttemptEntry, Member
from streame.cluster.wiring import NodeWiring, place_tasks
from streame.core.config import Config
from streame.errors import ClusterError
from streame.plan.identity import plan_identity
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.runtime.build import task_places
from streame.runtime.checkpointing import Checkpointing, Durable
from streame.runtime.gathering import Following, PartCheckpoints
from streame.runtime.local import LocalRun
from streame.runtime.part import Gathered
from streame.testing.memory_checkpoints import MemoryCheckpoints

WAIT_S = 30.0


class Others:
    """The nodes that do not lead, as the checkpoints of the one that does see them; what they say needs no network.

    Args:
        tasks: the keys of their tasks.
        nodes: how many they are.
    """

    def __init__(self, tasks: frozenset[str], nodes: int) -> None:
        self.tasks = tasks
        self.held = dict.fromkeys(range(1, nodes), True)
        self.runs: list[LocalRun] = []

    @property
    def is_held(self) -> bool:
        """See `Peers`."""
        return any(self.held.values())

    def inject(self, checkpoint: int, *, last: bool) -> None:
        """See `Peers`."""
        for run in self.runs[1:]:
            assert isinstance(run.checkpointing, PartCheckpoints)
            run.checkpointing.asked(checkpoint, last=last)


class Voice:
    """What one of them says."""

    def __init__(self, others: Others, place: int) -> None:
        self.others, self.place = others, place

    waits_for = None

    def opened(self, *, held: bool) -> None:
        """See `PartWriter`."""
        self.others.held[self.place] = held

    def send(self, gathered: Gathered) -> None:
        """See `PartWriter`."""
        checkpointing = self.others.runs[0].checkpointing
        assert isinstance(checkpointing, Checkpointing)
        checkpointing.gathered(gathered)


class OverError(Exception):
    """The node that leads has ended."""


def run_together(
    writes: Sequence[Write],
    slots: Sequence[int],
    prepare: Callable[[LocalRun], None] | None = None,
    store: MemoryCheckpoints | None = None,
    wait: Callable[[LocalRun], None] | None = None,
) -> None:
    """Run a job to its end.

    Args:
        writes: its sinks.
        slots: the node of each instance of a keyed operator; node 0 leads.
        prepare: called with the tasks of each node before they start.
        store: where checkpoints are made, as fast as it goes; `None` for none.
        wait: waits for something before the job is stopped; `None` for its end.
    """
    names = [f"n{place}" for place in range(max(slots) + 1)]
    entry = AttemptEntry(Attempt(1, 1), tuple(Member(name, name, "") for name in names), tuple(slots))
    config = Config(parallelism=len(slots), checkpoint_interval_us=0)
    wirings, runs = [], []
    for place in range(len(names)):
        graph = lower(writes, config, apart=True)
        homes = place_tasks(task_places(graph), entry)
        wirings.append(NodeWiring(homes, place, entry))
        durable, following = None, None
        if store is not None and place == 0:
            others = Others(frozenset(key for key, home in homes.items() if home), len(names))
            durable = Durable(store, plan_identity(writes), {}, peers=others)
        elif store is not None:
            recovered = store.recover()
            kept = () if recovered is None else {*recovered.sources, *graph.vertices}
            following = Following(recovered, kept, Voice(others, place))
        runs.append(LocalRun(graph, config, durable=durable, wiring=wirings[-1], following=following))
        if prepare is not None:
            prepare(runs[-1])
    sessions = [
        Session(entry.attempt, wiring.peers, wiring.inputs, run.abandon)
        for wiring, run in zip(wirings, runs, strict=True)
    ]
    for one, other in combinations(range(len(names)), 2):
        if names[other] in wirings[one].peers:
            _connect(sessions[one], names[one], sessions[other], names[other])
    for wiring, session in zip(wirings, sessions, strict=True):
        for sender in wiring.senders:
            sender.connect(session.link(sender.peer, 0.0))
    if store is not None:
        others.runs = runs
    for run in runs:
        run.start()
    try:
        if wait is not None:
            wait(runs[0])
            runs[0].stop()
        for run in runs if store is None else runs[:1]:
            if not run.wait(WAIT_S):
                raise TimeoutError("the job hangs")
    finally:
        for run in runs[1:] if store is not None else ():
            _end(run)
        for run, session in zip(runs, sessions, strict=True):
            run.stop()
            session.fail(RuntimeError("over"))  # type: ignore[arg-type]


def _end(run: LocalRun) -> None:
    """End a node that would wait for another attempt; what has ended it before is raised."""
    run.abandon(OverError())
    with suppress(OverError, ClusterError):
        run.wait(WAIT_S)


def _connect(one: Session, one_name: str, other: Session, other_name: str) -> None:
    here, there = one.join(other_name, opened=True), other.join(one_name, opened=False)
    for receiver, sender in ((here, there), (there, here)):
        threading.Thread(target=receiver.receive, args=(sender.outgoing(),), daemon=True).start()
