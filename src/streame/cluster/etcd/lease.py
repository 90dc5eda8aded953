"""A lease that is kept alive by a thread of its own, as long as its owner shows that it works.

It is there for a quick hand-over. What may not be done twice is guarded by a revision, never by a lease or a clock.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, assert_never

from streame.cluster.etcd.interface import Etcd
from streame.errors import EtcdError, LeaseLost

TICK_NS_MAX = 10_000_000_000
"""An owner that has not ticked for that long hangs, and its lease is to go to another."""

SECOND_NS = 1_000_000_000
CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """What is known of a lease, in nanoseconds of a clock that also counts while the machine sleeps.

    Args:
        ttl_ns: for how long it lives.
        renewed_ns: when the last request was sent that renewed it.
        tried_ns: when the last request was sent.
        ticked_ns: when its owner last showed that it works.
    """

    ttl_ns: int
    renewed_ns: int
    tried_ns: int
    ticked_ns: int

    @property
    def held_until_ns(self) -> int:
        """When its owner steps down by itself, while others still wait for its end."""
        return self.renewed_ns + self.ttl_ns * 2 // 3


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew it now; the answer is of use for so long."""

    within_ns: int


@dataclass(frozen=True, slots=True)
class Rest:
    """There is nothing to do for so long."""

    duration_ns: int


@dataclass(frozen=True, slots=True)
class StepDown:
    """It no longer counts as held."""

    reason: str


def decide(times: LeaseTimes, now_ns: int) -> Renew | Rest | StepDown:
    """What to do about a lease now.

    It is renewed four times in its life, and once that fails, more often.
    """
    left_ns = times.held_until_ns - now_ns
    hangs = now_ns - times.ticked_ns >= TICK_NS_MAX
    if left_ns <= 0:
        why = f"its owner has not ticked for {TICK_NS_MAX // SECOND_NS} s" if hangs else "it was not renewed"
        return StepDown(f"{why}, and two thirds of its {times.ttl_ns / SECOND_NS:g} s are over")
    if hangs:
        return Rest(min(left_ns, times.ttl_ns // 8))
    due_ns = max(times.renewed_ns + times.ttl_ns // 4, times.tried_ns + times.ttl_ns // 20)
    return Renew(left_ns) if now_ns >= due_ns else Rest(min(left_ns, due_ns - now_ns))


def boottime_ns() -> int:
    """The time since the machine was started, asleep or not."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeaseKeeper:
    """A lease of etcd, taken when it is made and given back by `close`.

    Args:
        etcd: who grants it.
        ttl_s: for how long it lives when it is not renewed.
        clock_ns: a clock that counts while the machine sleeps.
    """

    def __init__(self, etcd: Etcd, ttl_s: int, clock_ns: Callable[[], int] = boottime_ns) -> None:
        self._etcd, self._clock_ns = etcd, clock_ns
        now_ns = clock_ns()
        self.lease = etcd.grant(ttl_s)
        self._times = LeaseTimes(self.lease.ttl_s * SECOND_NS, now_ns, now_ns, now_ns)
        self._lock = threading.Lock()
        self._over, self._lost = threading.Event(), threading.Event()
        self._reason = ""
        self._trouble = ""
        self._thread = threading.Thread(target=self._keep, name="etcd-lease", daemon=True)
        self._thread.start()

    @property
    def id(self) -> int:
        """The lease's number."""
        return self.lease.id

    def tick(self) -> None:
        """Say that the owner works. After ten seconds without it the lease is not renewed."""
        with self._lock:
            self._times = replace(self._times, ticked_ns=self._clock_ns())

    def is_held(self) -> bool:
        """Whether to go on as its owner: it is never so again once it was not."""
        with self._lock:
            overdue = self._clock_ns() >= self._times.held_until_ns
        if overdue:
            self._lose("it was not renewed in time")
        return not self._lost.is_set()

    def check(self) -> None:
        """Go on only as its owner.

        Raises:
            LeaseLost: it is gone, or may be.
        """
        if not self.is_held():
            raise LeaseLost(f"etcd: lease {self.id:x} is lost: {self._reason}; take a new one")

    def wait_until_lost(self, timeout_s: float) -> bool:
        """Wait until the lease is lost, and say whether it is."""
        return self._lost.wait(timeout_s)

    def close(self) -> None:
        """Give the lease back, so that others need not wait for its end."""
        self._over.set()
        self._thread.join(CLOSE_S)
        self._lose("it was given back")
        try:
            self._etcd.revoke(self.id, timeout_s=CLOSE_S)
        except EtcdError:
            return  # it ends by itself

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self) -> None:
        while not self._over.is_set() and not self._lost.is_set():
            with self._lock:
                times = self._times
            match decide(times, self._clock_ns()):
                case Renew(within_ns):
                    self._renew(within_ns)
                case Rest(duration_ns):
                    self._over.wait(duration_ns / SECOND_NS)
                case StepDown(reason):
                    self._lose(f"{reason}. {self._trouble}".rstrip(". "))
                case action:
                    assert_never(action)

    def _renew(self, within_ns: int) -> None:
        sent_ns = self._clock_ns()
        renewed: dict[str, int] = {}
        try:
            ttl_s = self._etcd.keep_alive(self.id, timeout_s=within_ns / SECOND_NS)
            renewed = {"renewed_ns": sent_ns, "ttl_ns": ttl_s * SECOND_NS}
        except LeaseLost as error:
            self._lose(str(error))
        except EtcdError as error:
            self._trouble = f"Last trouble: {error}"
        except Exception as error:  # a thread that ended unseen would look like a lease that is kept
            self._lose(f"renewing it failed: {error!r}")
        with self._lock:
            self._times = replace(self._times, tried_ns=sent_ns, **renewed)

    def _lose(self, reason: str) -> None:
        with self._lock:
            if not self._lost.is_set():
                self._reason = reason
                self._lost.set()
