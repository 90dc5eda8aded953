"""What can be asked of etcd: the protocol `Etcd`, which the client and its twin in memory keep, and the data in it.

Keys are texts, values bytes. Nothing is written but in a transaction that compares something first, so that a call whose
answer was lost can be told from one that never arrived.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

REQUEST_BYTES_MAX = 1536 * 1024
"""The largest request that etcd takes, with its default settings."""

OPERATIONS_MAX = 128
"""The most operations that etcd takes in a branch of a transaction, with its default settings."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it is at some revision.

    Args:
        key: its name.
        value: what is stored.
        create_revision: the revision at which it was made; it is new each time the key is made.
        mod_revision: the revision at which it was last written.
        version: how often it was written since it was made.
        lease: the lease that it goes with, 0 for none.
    """

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """The keys of a prefix at one revision, in order of their names."""

    entries: tuple[KeyValue, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One key, or `None` if there is none, at one revision."""

    entry: KeyValue | None
    revision: int


class Field(Enum):
    """What of a key a comparison looks at. A key that does not exist has 0 in the first three."""

    CREATE_REVISION = "create_revision"
    MOD_REVISION = "mod_revision"
    VERSION = "version"
    VALUE = "value"


class Relation(Enum):
    """How a comparison compares what is stored with what is given."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    GREATER = ">"
    LESS = "<"


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition of a transaction: the field of the key stands in the relation to the operand.

    A key that does not exist fails every comparison of its value.
    """

    key: str
    field: Field
    operand: int | bytes
    relation: Relation = Relation.EQUAL

    def __post_init__(self) -> None:
        assert isinstance(self.operand, bytes) == (self.field is Field.VALUE), (
            self.field,
            type(self.operand),
        )


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key; with a lease it goes when the lease does."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key, if it is there."""

    key: str


@dataclass(frozen=True, slots=True)
class Get:
    """Read a key within a transaction."""

    key: str


Operation = Put | Delete | Get


@dataclass(frozen=True, slots=True)
class Transaction:
    """Operations that happen together: `then` if all comparisons hold, `otherwise` if one does not.

    What writes is guarded: without a comparison there may only be reading.
    """

    compares: tuple[Compare, ...]
    then: tuple[Operation, ...]
    otherwise: tuple[Operation, ...] = ()

    def __post_init__(self) -> None:
        assert self.compares, "a transaction compares something before it writes"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction did.

    Args:
        succeeded: whether all comparisons held.
        revision: etcd's revision behind it; that of what it wrote, if it wrote something.
        found: what the `Get`s of the branch that was taken read, in order.
    """

    succeeded: bool
    revision: int
    found: tuple[KeyValue | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that etcd granted; it may be longer than what was asked for."""

    id: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a key: `entry` is what was put, or `None` if it was deleted or its lease expired."""

    key: str
    mod_revision: int
    entry: KeyValue | None


class Watch(Protocol):
    """Changes in the order of their revisions, each once, whatever becomes of the connection.

    It is a hint that something changed: whoever decides reads again.
    """

    def next(self, timeout_s: float) -> tuple[Event, ...]:
        """The next changes, those of one revision never apart; nothing if there are none in time.

        Raises:
            Compacted: changes are lost; list the keys and begin a new watch from there.
            EtcdUnavailable: no endpoint has answered for too long; the watch keeps trying.
            AccessDenied: the user may not read these keys.
        """

    def close(self) -> None:
        """End the watch."""


class Etcd(Protocol):
    """A linearizable store. Every call ends within its `timeout_s`, by an answer or by an error.

    Every call may raise `EtcdUnavailable` (no answer, and nothing was changed), `AccessDenied` or another `EtcdError`.
    """

    def get(self, key: str, *, timeout_s: float | None = None) -> Reading:
        """Read a key."""

    def range(self, prefix: str, *, timeout_s: float | None = None) -> Listing:
        """Read all keys that begin with `prefix`, at one revision."""

    def transact(self, transaction: Transaction, *, timeout_s: float | None = None) -> Outcome:
        """Carry out a transaction, once at most.

        Raises:
            Unknown: whether it happened cannot be told; read before it is tried again.
            LeaseLost: a `Put` names a lease that is gone.
            RequestTooLarge: it does not fit into a request.
            NoSpace: etcd is full.
        """

    def grant(self, ttl_s: int, *, timeout_s: float | None = None) -> Lease:
        """Make a lease that lives for `ttl_s` seconds, or for the least time that etcd allows."""

    def keep_alive(self, lease: int, *, timeout_s: float | None = None) -> int:
        """Let the lease live for its whole time again, and say how many seconds that is.

        Raises:
            LeaseLost: it is gone.
        """

    def time_to_live(self, lease: int, *, timeout_s: float | None = None) -> int | None:
        """The seconds for which the lease will live, or `None` if it is gone."""

    def revoke(self, lease: int, *, timeout_s: float | None = None) -> None:
        """End the lease, and with it its keys. One that is gone is no error."""

    def watch(self, key: str, start_revision: int, *, is_prefix: bool = False) -> Watch:
        """Follow the changes of a key, or of all that begin with it, from `start_revision` on.

        It is one more than the revision of what was read.
        """

    def close(self) -> None:
        """End every watch and connection."""
