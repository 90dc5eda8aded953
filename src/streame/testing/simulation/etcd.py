"""Etcd in a simulation: the twin in memory, asked over a network that fails."""

from collections.abc import Callable

from streame.cluster.etcd.interface import Delete, Event, Lease, Listing, Outcome, Put, Reading, Transaction
from streame.errors import EtcdUnavailable, Unknown
from streame.testing.memory_etcd import MemoryEtcd
from streame.testing.simulation.scheduler import SimTask, host, scheduler
from streame.testing.simulation.services import Answer, Service

TIMEOUT_S = 5.0
ATTEMPT_S = 2.0
"""How long a call is waited for at most: the client gives up an attempt after so long."""

EXPIRE_S = 0.5
"""How often etcd looks for leases whose time is over."""


class VirtualClock:
    """The clock of the machine of a service."""

    def now_us(self) -> int:
        """See `Clock`."""
        return int(scheduler().now * 1e6)


class WatchedEtcd(MemoryEtcd):
    """The twin, which tells of each change.

    Args:
        told: told the changes of a transaction, or of a lease that ended.
    """

    def __init__(self, told: Callable[[list[Event]], None]) -> None:
        super().__init__(VirtualClock())  # type: ignore[arg-type] # it is never moved by hand
        self._told = told
        self.watchers: list[SimTask] = []

    def look(self) -> None:
        """End the leases whose time is over."""
        self.time_to_live(0)

    def _commit(self, events: list[Event]) -> None:
        super()._commit(events)
        if events:
            self._told(events)
            watchers, self.watchers = self.watchers, []
            for task in watchers:
                scheduler().wake(task)


class RemoteEtcd:
    """Etcd as one process sees it; `streame.cluster.etcd.interface.Etcd` says what its methods promise.

    Args:
        etcd: the twin.
        service: how it is reached.
    """

    def __init__(self, etcd: WatchedEtcd, service: Service) -> None:
        self._etcd, self._service = etcd, service
        self._is_closed = False
        self._has_lease = False

    def get(self, key: str, *, timeout_s: float | None = None) -> Reading:
        """See `Etcd`."""
        return self._read("get", lambda: self._etcd.get(key), timeout_s)

    def range(self, prefix: str, *, timeout_s: float | None = None) -> Listing:
        """See `Etcd`."""
        return self._read("range", lambda: self._etcd.range(prefix), timeout_s)

    def transact(self, transaction: Transaction, *, timeout_s: float | None = None) -> Outcome:
        """See `Etcd`."""
        return self._service.ask(
            _written(transaction),
            lambda: self._etcd.transact(transaction),
            _unknown,
            _limit(timeout_s),
            writes=True,
        )

    def grant(self, ttl_s: int, *, timeout_s: float | None = None) -> Lease:
        """See `Etcd`."""
        lease = self._read("grant", lambda: self._etcd.grant(ttl_s), timeout_s)
        if self._has_lease:
            self._service.count("lease lost")
        self._has_lease = True
        return lease

    def keep_alive(self, lease: int, *, timeout_s: float | None = None) -> int:
        """See `Etcd`."""
        return self._read("keep_alive", lambda: self._etcd.keep_alive(lease), timeout_s)

    def time_to_live(self, lease: int, *, timeout_s: float | None = None) -> int | None:
        """See `Etcd`."""
        return self._read("time_to_live", lambda: self._etcd.time_to_live(lease), timeout_s)

    def revoke(self, lease: int, *, timeout_s: float | None = None) -> None:
        """See `Etcd`."""
        self._read("revoke", lambda: self._etcd.revoke(lease), timeout_s)

    def watch(self, key: str, start_revision: int, *, is_prefix: bool = False) -> "RemoteWatch":
        """See `Etcd`."""
        return RemoteWatch(self._etcd, self._service, key, start_revision, is_prefix=is_prefix)

    def close(self) -> None:
        """See `Etcd`."""
        self._is_closed = True

    def _read(self, what: str, act: Callable[[], Answer], timeout_s: float | None) -> Answer:
        return self._service.ask(what, act, _unavailable, _limit(timeout_s), writes=False)


class RemoteWatch:
    """A watch of one process."""

    def __init__(
        self, etcd: WatchedEtcd, service: Service, key: str, start_revision: int, *, is_prefix: bool
    ) -> None:
        self._etcd, self._service, self._key, self._is_prefix = etcd, service, key, is_prefix
        self._next = start_revision
        self._is_closed = False

    def next(self, timeout_s: float) -> tuple[Event, ...]:
        """See `Watch`."""
        sim, me = scheduler(), host().name
        until = sim.now + timeout_s
        net, name = self._service.net, self._service.name
        while not self._is_closed:
            if not net.is_cut(me, name) and not net.is_cut(name, me):
                found = Service.do(lambda: self._etcd.changes(self._wants, self._next, 0, lambda: True))
                if found:
                    self._next = found[-1].mod_revision + 1
                    sim.sleep(self._service.quality.delay_s())
                    return found
            if sim.now >= until:
                break
            assert sim.current is not None
            self._etcd.watchers.append(sim.current)
            sim.block(until)
        return ()

    def close(self) -> None:
        """See `Watch`."""
        self._is_closed = True

    def _wants(self, key: str) -> bool:
        return key.startswith(self._key) if self._is_prefix else key == self._key


def _written(transaction: Transaction) -> str:
    """The kind of key that a transaction writes: `leader`, `ptr`, `nodes` and so on."""
    keys = [each.key for each in transaction.then if isinstance(each, Put | Delete)]
    return keys[0].split("/")[4] if keys else "nothing"


def _limit(timeout_s: float | None) -> float:
    return min(TIMEOUT_S if timeout_s is None else max(0.0, timeout_s), ATTEMPT_S)


def _unknown() -> BaseException:
    return Unknown("etcd: no endpoint answered in time; whether it happened is not known")


def _unavailable() -> BaseException:
    return EtcdUnavailable("etcd: no endpoint answered in time")
