"""What a node says of itself when it is asked: the answer of the method `Status`, as JSON."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import msgspec

from streame.core.metrics import CheckpointMetrics, OperatorMetrics
from streame.core.staging import Json
from streame.errors import ClusterError
from streame.runtime.local import State

VERSION = 1
STATUS_BYTES_MAX = 512 * 1024
"""The size of an answer; operators that do not fit are left out, and counted."""

Kind = Literal["source", "operator", "sink"]


class OperatorStatus(msgspec.Struct, frozen=True):
    """What the instances of an operator on one node, or on all, have done in this attempt.

    Args:
        name: its name in the job.
        kind: what it is.
        rows_in, rows_out, rejected, late, state_rows, state_bytes, state_disk_bytes, watermark: as in
            `OperatorMetrics`.
    """

    name: str
    kind: Kind
    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    late: int = 0
    state_rows: int = 0
    state_bytes: int = 0
    state_disk_bytes: int = 0
    watermark: int | None = None


class CheckpointStatus(msgspec.Struct, frozen=True):
    """The last checkpoint, as the leader knows it; the meaning is that of `CheckpointMetrics`."""

    number: int
    age_s: float | None = None
    duration_s: float | None = None
    new_bytes: int | None = None
    state_bytes: int | None = None


class NodeStatus(msgspec.Struct, frozen=True):
    """What a node says of itself.

    Args:
        version: of this form; only additions keep it.
        job: the job that it runs.
        node: its name.
        node_id: who it is since its start.
        leads: whether it leads.
        epoch, attempt: of what it runs, or ran last; `None` if nothing yet.
        state: where the job stands, as far as this node knows.
        seconds: for how long it runs.
        waits_for: what there is no room for on a full disk.
        checkpoint: the last one; said by the leader alone.
        ticks: whether watermarks are ticks of an integer column, and no nanoseconds.
        operators: those of which it runs instances.
        left_out: how many of them did not fit into the answer.
    """

    version: int
    job: str
    node: str
    node_id: str
    leads: bool
    epoch: int | None
    attempt: int | None
    state: State
    seconds: float
    waits_for: str | None = None
    checkpoint: CheckpointStatus | None = None
    ticks: bool = False
    operators: tuple[OperatorStatus, ...] = ()
    left_out: int = 0


def operators_of(metrics: Mapping[str, OperatorMetrics], plan: Json) -> tuple[OperatorStatus, ...]:
    """The operators of some counters.

    Args:
        metrics: the counters by name.
        plan: what the job is, see `plan_identity`.
    """
    return tuple(
        OperatorStatus(
            name,
            _kind(plan, name),
            each.rows_in,
            each.rows_out,
            each.rejected,
            each.late,
            each.state_rows,
            each.state_bytes,
            each.state_disk_bytes,
            each.watermark,
        )
        for name, each in metrics.items()
    )


def checkpoint_of(metrics: CheckpointMetrics | None) -> CheckpointStatus | None:
    """The last checkpoint, if there is one."""
    if metrics is None or metrics.number is None:
        return None
    return CheckpointStatus(
        metrics.number, metrics.age_s, metrics.duration_s, metrics.new_bytes, metrics.state_bytes
    )


def counts_ticks(plan: Json) -> bool:
    """Whether event time is a column of integers."""
    kinds = _operators(plan).values()
    return any(
        each.get("kind") == "SetEventTime" and "; dtype: Int" in str(each.get("does")) for each in kinds
    )


def encode_status(status: NodeStatus) -> bytes:
    """The answer of a node, of bounded size."""
    while len(data := msgspec.json.encode(status)) > STATUS_BYTES_MAX and status.operators:
        kept = len(status.operators) // 2
        left_out = status.left_out + len(status.operators) - kept
        status = msgspec.structs.replace(status, operators=status.operators[:kept], left_out=left_out)
    return data


def decode_status(data: bytes) -> NodeStatus:
    """What a node has answered.

    Raises:
        ClusterError: when it is of another version.
    """
    try:
        status = msgspec.json.decode(data, type=NodeStatus)
    except msgspec.MsgspecError as error:
        raise ClusterError(
            f"its answer cannot be understood ({error}); it may be of another version"
        ) from error
    if status.version != VERSION:
        raise ClusterError(
            f"its answer is of version {status.version}, and version {VERSION} is understood here"
        )
    return status


def added_up(statuses: Mapping[str, NodeStatus]) -> tuple[OperatorStatus, ...]:
    """The operators of a job from those of its nodes: counters are added, of watermarks the least counts.

    Args:
        statuses: what the nodes have answered, by anything; the order of operators is that of the first that has them.
    """
    totals: dict[str, tuple[Kind, OperatorMetrics]] = {}
    for status in statuses.values():
        for each in status.operators:
            _, total = totals.setdefault(each.name, (each.kind, OperatorMetrics()))
            total.add(
                OperatorMetrics(
                    each.rows_in, each.rows_out, 0, each.rejected, each.late, 0,
                    each.state_rows, each.state_bytes, each.state_disk_bytes, each.watermark,
                )
            )  # fmt: skip
    plan: Json = {"operators": {name: {"kind": kind} for name, (kind, _) in totals.items()}}
    return operators_of({name: replace(total) for name, (_, total) in totals.items()}, plan)


def _kind(plan: Json, name: str) -> Kind:
    kind = str(_operators(plan).get(name, {}).get("kind", ""))
    if kind.startswith("source"):
        return "source"
    return "sink" if kind == "sink" else "operator"


def _operators(plan: Json) -> Mapping[str, Mapping[str, Json]]:
    found = plan.get("operators") if isinstance(plan, dict) else None
    return found if isinstance(found, dict) else {}
