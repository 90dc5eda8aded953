"""From the data of `interface` to etcd's messages and back."""

from collections.abc import Iterable
from typing import assert_never

from streame.cluster.etcd import rpc_pb2 as rpc
from streame.cluster.etcd.interface import (
    Compare,
    Delete,
    Event,
    Field,
    Get,
    KeyValue,
    Operation,
    Outcome,
    Put,
    Relation,
    Transaction,
)

_RELATIONS = {
    Relation.EQUAL: rpc.Compare.EQUAL,
    Relation.NOT_EQUAL: rpc.Compare.NOT_EQUAL,
    Relation.GREATER: rpc.Compare.GREATER,
    Relation.LESS: rpc.Compare.LESS,
}
_TARGETS = {
    Field.CREATE_REVISION: rpc.Compare.CREATE,
    Field.MOD_REVISION: rpc.Compare.MOD,
    Field.VERSION: rpc.Compare.VERSION,
    Field.VALUE: rpc.Compare.VALUE,
}


def to_bytes(key: str) -> bytes:
    """A key as it travels. Bytes that are no text, in keys of others, survive the way there and back."""
    return key.encode("utf-8", "surrogateescape")


def from_bytes(key: bytes) -> str:
    """A key as it is named here."""
    return key.decode("utf-8", "surrogateescape")


def end_of(prefix: bytes) -> bytes:
    """The first key behind all that begin with `prefix`, as etcd wants it; a single zero byte means: no end."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


def key_value(found: rpc.KeyValue) -> KeyValue:
    """A key as etcd tells of it."""
    return KeyValue(
        from_bytes(found.key),
        found.value,
        found.create_revision,
        found.mod_revision,
        found.version,
        found.lease,
    )


def first(found: rpc.RangeResponse) -> KeyValue | None:
    """The only key of a range of one."""
    return key_value(found.kvs[0]) if found.kvs else None


def transaction_request(transaction: Transaction) -> rpc.TxnRequest:
    """A transaction as etcd reads it."""
    return rpc.TxnRequest(
        compare=[_compare(each) for each in transaction.compares],
        success=[_operation(each) for each in transaction.then],
        failure=[_operation(each) for each in transaction.otherwise],
    )


def outcome(response: rpc.TxnResponse) -> Outcome:
    """What etcd says that a transaction did."""
    found = tuple(
        first(each.response_range)
        for each in response.responses
        if each.WhichOneof("response") == "response_range"
    )
    return Outcome(response.succeeded, response.header.revision, found)


def watch_request(key: str, start_revision: int, is_prefix: bool) -> rpc.WatchRequest:
    """The request that begins a watch."""
    name = to_bytes(key)
    create = rpc.WatchCreateRequest(
        key=name or b"\0",
        range_end=end_of(name) if is_prefix else b"",
        start_revision=start_revision,
        fragment=True,
    )
    return rpc.WatchRequest(create_request=create)


def events(found: Iterable[rpc.Event]) -> list[Event]:
    """Changes as etcd tells of them."""
    return [
        Event(
            from_bytes(each.kv.key),
            each.kv.mod_revision,
            None if each.type == rpc.Event.DELETE else key_value(each.kv),
        )
        for each in found
    ]


def _compare(compare: Compare) -> rpc.Compare:
    made = rpc.Compare(
        key=to_bytes(compare.key), result=_RELATIONS[compare.relation], target=_TARGETS[compare.field]
    )
    setattr(made, compare.field.value, compare.operand)
    return made


def _operation(operation: Operation) -> rpc.RequestOp:
    match operation:
        case Put(key, value, lease):
            return rpc.RequestOp(request_put=rpc.PutRequest(key=to_bytes(key), value=value, lease=lease))
        case Delete(key):
            return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=to_bytes(key)))
        case Get(key):
            return rpc.RequestOp(request_range=rpc.RangeRequest(key=to_bytes(key)))
        case _:
            assert_never(operation)
