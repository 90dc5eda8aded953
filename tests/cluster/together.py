"""A job whose tasks are on several nodes, all in this process: what goes between them is encoded, but no network is."""

import threading
from collections.abc import Callable, Sequence
from itertools import combinations

from streame.cluster.frames import Attempt
from streame.cluster.session import Session
from streame.cluster.view import AttemptEntry, Member
from streame.cluster.wiring import NodeWiring, place_tasks
from streame.core.config import Config
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.runtime.build import task_places
from streame.runtime.local import LocalRun

WAIT_S = 30.0


def run_together(
    writes: Sequence[Write], slots: Sequence[int], prepare: Callable[[LocalRun], None] | None = None
) -> None:
    """Run a job to its end.

    Args:
        writes: its sinks.
        slots: the node of each instance of a keyed operator; node 0 leads.
        prepare: called with the tasks of each node before they start.
    """
    names = [f"n{place}" for place in range(max(slots) + 1)]
    entry = AttemptEntry(Attempt(1, 1), tuple(Member(name, name, "") for name in names), tuple(slots))
    config = Config(parallelism=len(slots))
    wirings, runs = [], []
    for place in range(len(names)):
        graph = lower(writes, config, apart=True)
        wirings.append(NodeWiring(place_tasks(task_places(graph), entry), place, entry))
        runs.append(LocalRun(graph, config, wiring=wirings[-1]))
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
            sender.connect(session.link(sender.peer, 0.0).sender(sender.wire.name, sender.columns))
    for run in runs:
        run.start()
    try:
        for run in runs:
            if not run.wait(WAIT_S):
                raise TimeoutError("the job hangs")
    finally:
        for run, session in zip(runs, sessions, strict=True):
            run.stop()
            session.fail(RuntimeError("over"))  # type: ignore[arg-type]


def _connect(one: Session, one_name: str, other: Session, other_name: str) -> None:
    here, there = one.join(other_name, opened=True), other.join(one_name, opened=False)
    for receiver, sender in ((here, there), (there, here)):
        threading.Thread(target=receiver.receive, args=(sender.outgoing(),), daemon=True).start()
