"""The part of this node in one attempt: its tasks, its links to the other nodes, and how it ends."""

import gc
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count

from streame.cluster.actions import Part, PartState
from streame.cluster.checkpoints import ClusterCheckpoints, Place, read_manifest, refuse_earlier_etcd
from streame.cluster.etcd.election import Leadership
from streame.cluster.frames import Failed
from streame.cluster.identity import Identity
from streame.cluster.log import ClusterLog
from streame.cluster.part_files import PartFiles
from streame.cluster.peers import JOIN_S, Peers, Writer
from streame.cluster.security import Tls
from streame.cluster.session import MESSAGE_MAX, Session
from streame.cluster.transport import DataServer, connect
from streame.cluster.view import AttemptEntry
from streame.cluster.wiring import NodeWiring, place_tasks
from streame.core.failpoints import failpoint
from streame.errors import (
    CheckpointDamaged,
    CheckpointError,
    ClusterError,
    PlanChanged,
    StopOverdue,
)
from streame.io.source import AcknowledgedSource
from streame.runtime.build import task_places
from streame.runtime.checkpointing import Durable
from streame.runtime.gathering import Following
from streame.runtime.graph import Graph, SourceVertex
from streame.runtime.local import FAILED_TIMEOUT_S, LocalRun
from streame.runtime.runner import Program
from streame.state.checkpoint.local import recovered
from streame.state.checkpoint.outbox import file_name
from streame.state.checkpoint.plan_difference import check_plan

CONNECT_S = 3.0
"""How long it is tried to reach another node; it listens before it says that it is there."""

log = logging.getLogger("streame.cluster")


class AttemptOver(ClusterError):  # noqa: N818 - what happened
    """The attempt has ended, and with it what this node ran of it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the parts of a node have in common.

    Args:
        program: the job.
        place: where it keeps what lasts.
        me: who this node is.
        server: where other nodes connect to.
        tls: the files of this node, if it has any.
        instances: how many instances each keyed operator has.
        authorities: those whose certificates it trusts; none without TLS.
    """

    program: Program
    place: Place
    me: Identity
    server: DataServer
    tls: Tls | None
    instances: int
    authorities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lead:
    """What only the leader has.

    Args:
        leadership: the election that it has won.
        revision: at which the pointer was written from which the attempt begins.
        begun: numbers for staged output, of which none is given twice in this epoch.
    """

    leadership: Leadership
    revision: int
    begun: "count[int]"


class PartRun:
    """Runs the part of this node in an attempt.

    Args:
        around: what the parts of this node have in common.
        entry: the attempt.
        place: which of its members this node is.
        lead: what only the leader has; `None` on any other node.
        changed: called from any thread when the state has changed.
    """

    def __init__(
        self,
        around: Surroundings,
        entry: AttemptEntry,
        place: int,
        lead: Lead | None,
        changed: Callable[[], None],
    ) -> None:
        self._around, self._entry, self._place, self._lead = around, entry, place, lead
        self._changed = changed
        self._lock = threading.Lock()
        self._part = Part(entry, "running")
        self.error: BaseException | None = None
        """What has ended it, if it was an error."""
        self._graph: Graph | None = None
        self._run: LocalRun | None = None
        self._session: Session | None = None
        self._peers: Peers | None = None
        self._stop_asked = False
        self._abandoned: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._before: PartRun | None = None

    @property
    def part(self) -> Part:
        """Where it stands."""
        return self._part

    @property
    def run(self) -> LocalRun | None:
        """Its tasks, once they are there."""
        return self._run

    @property
    def session(self) -> Session | None:
        """Its links, once there are any."""
        return self._session

    def start(self, before: "PartRun | None") -> None:
        """Begin, when the part before has ended."""
        self._before = before
        thread = threading.Thread(target=self._work, name=f"attempt {self._part.attempt}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Make one last checkpoint, and end behind it."""
        with self._lock:
            self._stop_asked = True
            if self._part.state == "running":
                self._part = replace(self._part, state="stopping")
            run = self._run
        if run is not None:
            run.stop()

    def abandon(self, why: str) -> None:
        """End at once."""
        self._end_by(AttemptOver(why))

    def wait(self, timeout_s: float) -> None:
        """Wait until nothing of it runs."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _end_by(self, error: BaseException) -> None:
        with self._lock:
            self._abandoned = self._abandoned or error
            run, session = self._run, self._session
        if run is not None:
            run.abandon(error)  # first: what the session says when it ends is not why
        if session is not None:
            session.fail(error if isinstance(error, ClusterError) else ClusterError(str(error)))

    def _work(self) -> None:
        self._await_end_of_before()
        error: BaseException | None = None
        try:
            self._begin()
            assert self._run is not None
            self._run.wait()
        except BaseException as found:
            # What is interrupted while it starts raises too, and that is not why it has ended.
            error = found if self._run is None else self._run.error or found
            self._close_sources()
        if self._lead is not None:
            self._around.program.stand_by(None)
        self._finish(error)

    def _await_end_of_before(self) -> None:
        """Wait for the part before, and forget it: its state may be large, and is loaded anew."""
        before, self._before = self._before, None
        if before is not None:
            before.wait(FAILED_TIMEOUT_S)
            del before
            if gc.isenabled():
                gc.collect()  # its tasks refer to each other

    def _close_sources(self) -> None:
        """Where the tasks that read them have not started, nobody else does."""
        for vertex in () if self._graph is None else self._graph.vertices.values():
            if isinstance(vertex, SourceVertex) and isinstance(vertex.source, AcknowledgedSource):
                vertex.source.close()

    def _begin(self) -> None:
        """T6: make the tasks, connect the nodes, load the state; then rows may come."""
        around, entry = self._around, self._entry
        if self._lead is not None:  # before anything is deleted or read
            refuse_earlier_etcd(around.place, self._lead.leadership, entry.attempt, entry.start)
        config = replace(around.program.config, parallelism=around.instances)
        graph = self._graph = around.program.graph(config, None if self._lead is None else self._open_log)
        homes = place_tasks(task_places(graph), entry)
        wiring = NodeWiring(homes, self._place, entry)
        elsewhere = frozenset(key for key, home in homes.items() if home != self._place)
        peers = Peers(entry, self._place, elsewhere, around.place.store, self._end_by)
        durable, following = None, None
        if self._lead is not None:
            durable = self._durable(self._lead, peers)
        else:
            instances = {name: graph.parallelism(name) for name in graph.vertices}
            following = self._following(instances, peers)
        run = LocalRun(graph, config, durable=durable, wiring=wiring, following=following)
        leader = None if self._lead is not None else entry.members[0].name
        session = Session(
            entry.attempt, wiring.peers, wiring.inputs, self._link_failed, peers.told, leader=leader
        )
        with self._lock:
            abandoned = self._abandoned
            self._run, self._session = run, session
        if abandoned is not None:
            raise abandoned
        peers.session, self._peers = session, peers
        around.server.serve(session)
        self._connect(session, wiring)
        failpoint("T6.before")
        run.start()
        failpoint("T6.after")
        peers.begin(run)
        with self._lock:
            stop, late = self._stop_asked, self._abandoned
        if late is not None:
            run.abandon(late)
        if stop:
            run.stop()

    def _open_log(self, source: str) -> ClusterLog:
        place, lead = self._around.place, self._lead
        assert lead is not None
        return ClusterLog(
            place.etcd, place.store, lead.leadership, prefix=place.keys.prefix, source=file_name(source)
        )

    def _durable(self, lead: Lead, peers: "Peers") -> Durable:
        program, entry = self._around.program, self._entry
        store = ClusterCheckpoints(
            self._around.place,
            lead.leadership,
            entry.attempt,
            entry.start,
            lead.revision,
            lead.begun,
            program.in_etcd,
        )
        return Durable(store, program.plan, program.settings, tuple(program.allow_dropped), peers)

    def _following(self, instances: dict[str, int], peers: "Peers") -> Following:
        program, place, start = self._around.program, self._around.place, self._entry.start
        manifest = None if start is None else read_manifest(place.store, start, place.job)
        files = PartFiles(
            place.store,
            place.job,
            self._entry.attempt,
            self._place,
            instances,
            manifest,
            place.shelf,
            program.in_etcd,
        )
        writer = Writer(files, peers, self._is_over)
        if manifest is None:
            return Following(None, (), writer)
        differences = check_plan(manifest.plan, program.plan, program.allow_dropped)
        kept = {each.name for each in differences if each.fate == "kept"}
        return Following(recovered(place.files, manifest), kept, writer)

    def _is_over(self) -> bool:
        return self._abandoned is not None or (self._session is not None and self._session.error is not None)

    def _connect(self, session: Session, wiring: NodeWiring) -> None:
        """One stream to each node that this one has to do with: who comes first among the members opens it."""
        around, members = self._around, self._entry.members
        known = {member.name: (at, member) for at, member in enumerate(members)}
        to_open = [
            member for at, member in known.values() if at > self._place and member.name in wiring.peers
        ]

        def open_link(address: str, name: str) -> None:
            peer = replace(around.me, name=name)
            try:
                connect(address, around.me, peer, session, around.tls, CONNECT_S)
            except ClusterError as error:
                session.lose(name, error)

        with ThreadPoolExecutor(max(1, min(8, len(to_open))), thread_name_prefix="connect") as pool:
            for member in to_open:
                pool.submit(open_link, member.address, member.name)
        links = {name: session.link(name, JOIN_S) for name in wiring.peers}
        for sender in wiring.senders:
            sender.connect(links[sender.peer])

    def _link_failed(self, error: ClusterError) -> None:
        with self._lock:
            run = self._run
        if run is not None:
            run.abandon(error)

    def _finish(self, error: BaseException | None) -> None:
        session = self._session
        state, lost, message = self._ending(error)
        if session is not None:
            farewell = None
            if self._lead is None and self._abandoned is None:
                farewell = Failed(self._entry.attempt, state == "failed", message[:MESSAGE_MAX], lost)
            session.fail(AttemptOver("the attempt is over"), farewell)
        if self._peers is not None:
            self._peers.end()
        if self._around.server.serves(session):
            self._around.server.serve(None)
        if state == "failed":
            log.warning("attempt %s has failed: %s", self._entry.attempt, message)
        elif state == "lost":  # a worker hears no more when the leader ends an attempt in order
            level = logging.WARNING if self._lead is not None else logging.INFO
            log.log(level, "this node's part of attempt %s has ended: %s", self._entry.attempt, message)
        with self._lock:
            self._part = Part(self._entry, state, lost, message)
        self._changed()

    def _ending(self, error: BaseException | None) -> tuple[PartState, str | None, str]:
        if error is None:
            return ("stopped" if self._stop_asked else "finished"), None, ""
        lost = self._session.lost if self._session is not None else None
        message = str(error) or type(error).__name__
        for note in getattr(error, "__notes__", ()):
            message += f"\n{note}"
        self.error = error
        return ("lost" if may_pass(error, is_stopping=self._stop_asked) else "failed"), lost, message


def may_pass(error: BaseException, *, is_stopping: bool) -> bool:
    """Whether another attempt may go well: it was the nodes, the network or the storage, and not the job.

    Args:
        error: what has ended the part.
        is_stopping: whether it was to end anyway, since nodes have come or go.
    """
    if is_stopping and isinstance(error, StopOverdue):
        return True
    if isinstance(error, CheckpointDamaged | PlanChanged):
        return False
    return isinstance(error, ClusterError | CheckpointError)
