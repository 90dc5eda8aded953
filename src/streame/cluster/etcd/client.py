"""The client of etcd: every operation of `interface.Etcd`, over gRPC, from any thread."""

import threading
import time

from google.protobuf.message import Message

from streame.cluster.etcd import rpc_pb2 as rpc
from streame.cluster.etcd import wire
from streame.cluster.etcd.calls import Calls, Method
from streame.cluster.etcd.channels import RECEIVED_BYTES_MAX
from streame.cluster.etcd.interface import (
    REQUEST_BYTES_MAX,
    KeyValue,
    Lease,
    Listing,
    Outcome,
    Reading,
    Transaction,
)
from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.etcd.watch import EtcdWatch
from streame.errors import Compacted, LeaseLost

PAGE_KEYS = RECEIVED_BYTES_MAX // REQUEST_BYTES_MAX - 1
"""How many keys are read at once: as many as fit into an answer with the largest values."""

RANGE = Method("/etcdserverpb.KV/Range", rpc.RangeResponse)
TXN = Method("/etcdserverpb.KV/Txn", rpc.TxnResponse, writes=True)
LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantResponse)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeResponse)
LEASE_KEEP_ALIVE = Method("/etcdserverpb.Lease/LeaseKeepAlive", rpc.LeaseKeepAliveResponse, is_stream=True)
LEASE_TIME_TO_LIVE = Method("/etcdserverpb.Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveResponse)


class EtcdClient:
    """A client of one etcd cluster; `interface.Etcd` says what its methods promise.

    Nothing is connected before the first call.

    Args:
        settings: where etcd is; the files with certificates and the password are read now.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        self._calls = Calls(settings)
        self._watches: set[EtcdWatch] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"EtcdClient({', '.join(self._calls.settings.endpoints)})"

    def get(self, key: str, *, timeout_s: float | None = None) -> Reading:
        """Read a key."""
        found: rpc.RangeResponse = self._calls.call(
            RANGE, rpc.RangeRequest(key=wire.to_bytes(key)), timeout_s
        )
        return Reading(wire.first(found), found.header.revision)

    def range(self, prefix: str, *, timeout_s: float | None = None) -> Listing:
        """Read all keys that begin with `prefix`, page by page at the revision of the first page."""
        limit_s = self._calls.settings.timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + limit_s
        while True:
            try:
                return self._pages(prefix, deadline)
            except Compacted:  # between two pages: begin again
                if time.monotonic() > deadline:
                    raise

    def _pages(self, prefix: str, deadline: float) -> Listing:
        begin, end = wire.to_bytes(prefix), wire.end_of(wire.to_bytes(prefix))
        entries: list[KeyValue] = []
        revision, more = 0, True
        while more:
            request = rpc.RangeRequest(key=begin or b"\0", range_end=end, limit=PAGE_KEYS, revision=revision)
            page: rpc.RangeResponse = self._calls.call(RANGE, request, deadline - time.monotonic())
            entries += map(wire.key_value, page.kvs)
            revision = revision or page.header.revision
            more = page.more
            if page.kvs:
                begin = page.kvs[-1].key + b"\0"
        return Listing(tuple(entries), revision)

    def transact(self, transaction: Transaction, *, timeout_s: float | None = None) -> Outcome:
        """Carry out a transaction, once at most."""
        return wire.outcome(self._calls.call(TXN, wire.transaction_request(transaction), timeout_s))

    def grant(self, ttl_s: int, *, timeout_s: float | None = None) -> Lease:
        """Make a lease that lives for `ttl_s` seconds, or for the least time that etcd allows."""
        granted: rpc.LeaseGrantResponse = self._calls.call(
            LEASE_GRANT, rpc.LeaseGrantRequest(ttl=ttl_s), timeout_s
        )
        return Lease(granted.id, granted.ttl)

    def keep_alive(self, lease: int, *, timeout_s: float | None = None) -> int:
        """Let the lease live for its whole time again, and say how many seconds that is."""
        kept: rpc.LeaseKeepAliveResponse = self._calls.call(
            LEASE_KEEP_ALIVE, rpc.LeaseKeepAliveRequest(id=lease), timeout_s
        )
        if kept.ttl <= 0:
            raise LeaseLost(f"etcd: lease {lease:x} has expired or was revoked; take a new one")
        return kept.ttl

    def time_to_live(self, lease: int, *, timeout_s: float | None = None) -> int | None:
        """The seconds for which the lease will live, or `None` if it is gone."""
        found: rpc.LeaseTimeToLiveResponse = self._calls.call(
            LEASE_TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(id=lease), timeout_s
        )
        return found.ttl if found.ttl >= 0 else None

    def revoke(self, lease: int, *, timeout_s: float | None = None) -> None:
        """End the lease, and with it its keys. One that is gone is no error."""
        request: Message = rpc.LeaseRevokeRequest(id=lease)
        try:
            self._calls.call(LEASE_REVOKE, request, timeout_s)
        except LeaseLost:
            return

    def watch(self, key: str, start_revision: int, *, is_prefix: bool = False) -> EtcdWatch:
        """Follow the changes of a key, or of all that begin with it, from `start_revision` on."""
        watch = EtcdWatch(self._calls, key, start_revision, is_prefix=is_prefix)
        with self._lock:
            self._watches = {each for each in self._watches if not each.is_closed} | {watch}
        return watch

    def close(self) -> None:
        """End every watch and connection."""
        with self._lock:
            watches, self._watches = self._watches, set()
        self._calls.closed.set()
        for watch in watches:
            watch.close()
        self._calls.close()
