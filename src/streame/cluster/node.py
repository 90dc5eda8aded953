"""A node: it is there under a lease, leads or follows, and runs its part. The rules are in `leader.py` and `follower.py`."""

import contextlib
import logging
import secrets
import threading
import time
from dataclasses import dataclass, replace
from itertools import count

from streame.cluster.actions import (
    AbandonPart,
    Action,
    Campaign,
    End,
    Facts,
    Leave,
    Part,
    Propose,
    Record,
    Refuse,
    Register,
    Resign,
    RunPart,
    SayLeaving,
    StopPart,
    Wait,
)
from streame.cluster.changes import changes
from streame.cluster.etcd.election import Leadership, resign, stand
from streame.cluster.etcd.interface import Compare, Delete, Field, Transaction, Watch
from streame.cluster.etcd.lease import LeaseKeeper
from streame.cluster.etcd.swap import Swap, Swapped, carry_out
from streame.cluster.follower import follow
from streame.cluster.frames import Attempt
from streame.cluster.leader import backoff_s, lead
from streame.cluster.part import Lead, PartRun, Surroundings
from streame.cluster.suspects import lost, worked
from streame.cluster.view import (
    AttemptEntry,
    LeaderEntry,
    Member,
    NodeEntry,
    Outcome,
    View,
    encode,
    view_of,
)
from streame.core.clock import SystemClock
from streame.core.failpoints import failpoint
from streame.errors import EtcdError, EtcdUnavailable, PlanError, StopOverdue, StreameError
from streame.runtime.local import FAILED_TIMEOUT_S

LOOK_S = 1.0
"""How often etcd is read when nothing seems to change: a watch is only a hint."""

CALL_S = 2.0
"""How long a call of etcd may take."""

REST_S = 0.2
"""How long to wait after etcd did not answer."""

log = logging.getLogger("streame.cluster")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a node has ended.

    Args:
        outcome: how the job has; `None` if the others go on with it.
        error: what has ended this node alone.
    """

    outcome: Outcome | None = None
    error: BaseException | None = None


class Node:
    """A node of a job, in a thread of its own.

    Args:
        around: what its parts have in common.
        address: where other nodes reach it.
        lease_s: how long others wait for it when it is not heard any more.
    """

    def __init__(self, around: Surroundings, address: str, lease_s: int) -> None:
        self._around, self._address, self._lease_s = around, address, lease_s
        self._place, self._keys = around.place, around.place.keys
        self._wake = threading.Event()
        self._over = threading.Event()
        self._leaving = threading.Event()
        self._ending = Ending()
        self._lease: LeaseKeeper | None = None
        self._leadership: Leadership | None = None
        self._begun = count()
        self._run: PartRun | None = None
        self._facts = Facts(
            "", around.program.digest, time.monotonic(), View(), is_held=False, authorities=around.authorities
        )
        self._ids: set[str] = set()
        self._since_us = 0
        self._failures = 0
        self._said_leader: str | None = None
        self._noticed: Attempt | None = None
        self._last_number = -1
        self._thread = threading.Thread(target=self._work, name=f"node {around.me.name}", daemon=True)
        self._watching = threading.Thread(target=self._watch, name="node watch", daemon=True)

    def start(self) -> None:
        """Begin to take part."""
        self._around.program.stand_by(None)
        self._thread.start()
        self._watching.start()

    def leave(self) -> None:
        """Hand the work over, and end. Returns at once; may be called from any thread."""
        self._leaving.set()
        self._wake.set()

    def give_up(self, error: BaseException) -> None:
        """End at once, whatever becomes of the work."""
        self._ending = Ending(error=error)
        self._over.set()
        self._wake.set()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for the end; whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def ending(self) -> Ending:
        """How it has ended."""
        return self._ending

    @property
    def is_leaving(self) -> bool:
        """Whether it was told to hand its work over, or drained."""
        return self._leaving.is_set() or self._facts.is_leaving

    @property
    def facts(self) -> Facts:
        """What it knows now; only its own thread changes that."""
        return self._facts

    @property
    def part(self) -> PartRun | None:
        """What it runs, or ran last."""
        return self._run

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                self._wake.clear()
                self._step()
        except BaseException as error:
            self._ending = Ending(error=error)
        self._over.set()
        self._close()

    def _step(self) -> None:
        """Read what there is, decide, and act."""
        if self._lease is not None:
            self._lease.tick()
        try:
            listing = self._place.etcd.range(self._keys.prefix, timeout_s=CALL_S)
            self._know(view_of(listing, self._keys))
            self._act(self._decide())
        except EtcdError as error:
            log.warning("%s", error)
            self._know(self._facts.view)  # what was read last still tells what there is to do without etcd
            if not self._facts.is_held and self._running:
                self._abandon("the lease of this node is lost, and etcd does not answer")
                self._know(self._facts.view)
            if self._facts.leads is None and isinstance(leave := follow(self._facts), Leave):
                self._act(leave)
            self._wake.wait(REST_S)

    def _decide(self) -> Action:
        facts = self._facts
        return follow(facts) if facts.leads is None else lead(facts, self._around.instances)

    def _know(self, view: View) -> None:
        """Put together what is known now."""
        now, facts = time.monotonic(), self._facts
        for change in changes(facts.view, view):
            log.info("%s", change)
        held = self._lease is not None and self._lease.is_held()
        leads = self._leadership.epoch if self._leadership is not None else None
        if leads is not None and (not held or view.epoch != leads):
            log.warning("node %s does not lead any more", self._around.me.name)
            self._leadership = leads = None
        part = None if self._run is None else self._run.part
        if part is not None and view.pointer is not None and view.pointer.attempt == part.attempt:
            ids = [member.id for member in part.entry.members]
            self._facts = facts = replace(facts, suspects=worked(facts.suspects, ids, now))
        if part is not None and part.is_over and part.attempt != self._noticed:
            self._took_notice(part, view)
            facts = self._facts
        self._say_who_leads(view, leads)
        followed = facts.followed | (
            {view.epoch} if view.epoch and part and part.attempt.epoch == view.epoch else set()
        )
        seen = {each.member.id: facts.seen.get(each.member.id, now) for each in view.nodes}
        self._facts = replace(
            facts, now=now, view=view, is_held=held, part=part, leads=leads, followed=frozenset(followed), seen=seen,
            suspects={node_id: each for node_id, each in facts.suspects.items() if node_id in seen},
            is_leaving=self.is_leaving or not self._ids.isdisjoint(view.drained),
        )  # fmt: skip

    def _say_who_leads(self, view: View, leads: int | None) -> None:
        """Whoever puts rows on this node is told where they are taken. While it leads, the part that runs takes them."""
        address = None if view.leader is None else view.leader.member.address
        if leads is None and address != self._said_leader:
            self._around.program.stand_by(address)
        self._said_leader = address if leads is None else ""

    def _took_notice(self, part: Part, view: View) -> None:
        """A part has ended: leave out who was lost, and do not begin anew too fast."""
        self._noticed = part.attempt
        self._said_leader = ""  # a part that led has said itself that there is none
        suspects, now = dict(self._facts.suspects), time.monotonic()
        number = 0 if view.pointer is None else view.pointer.number
        if part.state == "lost":
            self._failures = 1 if number != self._last_number else self._failures + 1
            self._last_number = number
            for member in part.entry.members:
                if member.name == part.lost and member.id != self._facts.node_id:
                    suspects[member.id] = found = lost(suspects.get(member.id), self._lease_s, now)
                    if self._facts.leads is not None:
                        log.info("node %s was lost: it is left out for %g s", member.name, found.left_out_s)
        jitter = secrets.randbelow(1000) / 1000
        pause_s = backoff_s(self._failures, jitter) if part.state == "lost" else 0.0
        self._facts = replace(self._facts, suspects=suspects, not_before=now + pause_s)

    def _act(self, action: Action) -> None:
        match action:
            case Wait(until):
                rest_s = LOOK_S if until is None else min(LOOK_S, max(0.0, until - time.monotonic()))
                self._wake.wait(rest_s)
            case Register():
                self._register()
            case SayLeaving():
                self._say(leaving=True)
            case Campaign():
                self._campaign()
            case Propose(entry):
                failpoint("T2.after")
                if self._swap(self._keys.attempt, encode(entry)):
                    failpoint("T5.after")
            case RunPart(entry):
                self._run_part(entry)
            case StopPart(why):
                log.info("this node makes a last checkpoint of its attempt: %s", why)
                assert self._run is not None
                self._run.stop()
            case AbandonPart(why):
                self._abandon(why)
            case Record(outcome):
                self._swap(self._keys.outcome, encode(outcome))
            case Resign():
                assert self._leadership is not None
                resign(self._place.etcd, self._leadership, timeout_s=CALL_S)
                self._leadership = None
            case Leave():
                if self._run is not None and isinstance(self._run.error, StopOverdue):
                    self._ending = Ending(error=self._run.error)  # it could not hand over in time
                self._over.set()
            case End(outcome):
                self._ending = Ending(outcome)
                self._over.set()
            case Refuse(why):
                self._ending = Ending(error=PlanError(why))
                self._over.set()

    def _register(self) -> None:
        """A new lease, a new id, an entry."""
        if self._lease is not None:
            self._lease.close()
        failpoint("T0.before")
        self._lease = LeaseKeeper(self._place.etcd, self._lease_s)
        failpoint("T0.after")
        self._facts = replace(self._facts, node_id=f"{self._around.me.name}-{secrets.token_hex(8)}")
        self._ids.add(self._facts.node_id)
        self._since_us = SystemClock().now_us()
        self._say(leaving=False)

    def _say(self, *, leaving: bool) -> None:
        """Write the own entry."""
        assert self._lease is not None
        entry = NodeEntry(self._member, self._facts.digest, leaving, self._since_us, self._facts.authorities)
        key = self._keys.node(self._facts.node_id)
        swap = Swap(key, encode(entry), self._facts.view.revisions.get(key, 0), lease=self._lease.id)
        carry_out(self._place.etcd, swap, timeout_s=CALL_S)

    def _campaign(self) -> None:
        assert self._lease is not None
        value = encode(LeaderEntry(self._member, self._facts.digest, self._facts.authorities))
        won = stand(self._place.etcd, self._keys.leader, value, self._lease.id, timeout_s=CALL_S)
        failpoint("T1.after")
        if won is not None:
            self._leadership, self._begun, self._failures = won, count(), 0
            self._facts = replace(self._facts, suspects={}, not_before=0.0)

    def _swap(self, key: str, value: bytes) -> bool:
        """Replace a key as the leader; whether it is so."""
        assert self._leadership is not None
        swap = Swap(key, value, self._facts.view.revisions.get(key, 0), (self._leadership.guard,))
        return isinstance(carry_out(self._place.etcd, swap, timeout_s=CALL_S), Swapped)

    def _run_part(self, entry: AttemptEntry) -> None:
        """Run another part, in place of what runs."""
        before = self._run
        if before is not None and not before.part.is_over:
            before.abandon("there is another attempt")
        place = entry.place(self._facts.node_id)
        assert place is not None
        lead_as = None
        if self._leadership is not None and place == 0:
            revision = self._facts.view.revisions.get(self._keys.pointer, 0)
            lead_as = Lead(self._leadership, revision, self._begun)
        self._run = PartRun(self._around, entry, place, lead_as, self._wake.set)
        self._run.start(before)

    def _abandon(self, why: str) -> None:
        if self._run is not None:
            self._run.abandon(why)
            self._run.wait(FAILED_TIMEOUT_S)

    @property
    def _running(self) -> bool:
        return self._run is not None and not self._run.part.is_over

    @property
    def _member(self) -> Member:
        return Member(self._facts.node_id, self._around.me.name, self._address)

    def _watch(self) -> None:
        """Wake up when something of the job changes."""
        watch: Watch | None = None
        while not self._over.is_set():
            try:
                if watch is None:
                    revision = self._place.etcd.range(self._keys.prefix, timeout_s=CALL_S).revision
                    watch = self._place.etcd.watch(self._keys.prefix, revision + 1, is_prefix=True)
                if watch.next(LOOK_S):
                    self._wake.set()
            except EtcdError as error:
                if watch is not None and not isinstance(error, EtcdUnavailable):
                    watch.close()  # it has ended: there will be another one
                    watch = None
                self._over.wait(REST_S)
        if watch is not None:
            watch.close()

    def _close(self) -> None:
        """Nothing runs any more, and the others know at once."""
        self._abandon("this node ends")
        self._around.program.stop_standing_by("this node takes no part in the job any more")
        with contextlib.suppress(EtcdError, StreameError):
            key = self._keys.drain(self._around.me.name)
            if not self._ids.isdisjoint(self._facts.view.drained):
                exists = Compare(key, Field.MOD_REVISION, self._facts.view.revisions.get(key, 0))
                self._place.etcd.transact(Transaction((exists,), (Delete(key),)), timeout_s=CALL_S)
        if self._lease is not None:
            self._lease.close()
        self._around.server.close()
        self._place.etcd.close()
