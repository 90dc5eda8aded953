"""What `streame cluster status` says of a cluster: etcd and the answers of nodes, put together. Pure."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from streame.cluster.status import NodeStatus, OperatorStatus, added_up
from streame.cluster.view import AttemptEntry, View
from streame.core.clock import to_datetime
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN
from streame.runtime.local import State

VERSION = 1

JobState = State | Literal["electing", "down", "unknown"]
"""`electing`: there are nodes, and none leads yet; `down`: no node is there, and the job has not ended; `unknown`: the
leader does not answer."""


class OperatorReport(msgspec.Struct, frozen=True):
    """An operator, all its instances together; the counters are those of the attempt that runs.

    Args:
        operator: its counters.
        watermark: as a time in UTC, or the number of ticks; `None` before the first and at the end.
        lag_s: how far the watermark is behind the clock; `None` for ticks.
        nodes: where it runs.
    """

    operator: OperatorStatus
    watermark: str | int | None
    lag_s: float | None
    nodes: tuple[str, ...]


class NodeReport(msgspec.Struct, frozen=True):
    """A node.

    Args:
        name, id, address: who and where it is.
        since: when it came, in UTC.
        leads: whether it leads.
        leaving: whether it is to end, and hands its work over.
        instances: the numbers of the instances of keyed operators that it runs.
        answers: whether it has answered.
        error: why it has not.
        state, seconds, waits_for: what it has answered.
    """

    name: str
    id: str
    address: str
    since: str | None
    leads: bool
    leaving: bool
    instances: tuple[int, ...]
    answers: bool
    error: str | None
    state: State | None
    seconds: float | None
    waits_for: str | None


class CheckpointReport(msgspec.Struct, frozen=True):
    """The last checkpoint that was decided.

    Args:
        number: its number.
        epoch, attempt: the attempt that has made it.
        age_s, duration_s, new_bytes, state_bytes: what the leader knows of it.
    """

    number: int
    epoch: int
    attempt: int
    age_s: float | None
    duration_s: float | None
    new_bytes: int | None
    state_bytes: int | None


class JobReport(msgspec.Struct, frozen=True):
    """A job.

    Args:
        name: its name.
        state: where it stands; `JobState` says what the words mean.
        error: what has ended it, if it has failed.
        leader: the node that leads.
        epoch: of the leader; 0 without one.
        attempt: the number of the attempt in that epoch.
        waits_for: what there is no room for on a full disk.
        rows_in, rows_out: of its sources and sinks, in this attempt.
        rejected, late: rows, in this attempt.
        lag_s: of the operator whose watermark is farthest behind.
        state_bytes, state_disk_bytes: what all operators keep.
        checkpoint: the last one.
        nodes: those that are there.
        instances: for each instance of a keyed operator the node that runs it.
        operators: sources first.
    """

    name: str
    state: JobState
    error: str | None
    leader: str | None
    epoch: int
    attempt: int | None
    waits_for: str | None
    rows_in: int
    rows_out: int
    rejected: int
    late: int
    lag_s: float | None
    state_bytes: int
    state_disk_bytes: int
    checkpoint: CheckpointReport | None
    nodes: tuple[NodeReport, ...]
    instances: tuple[str, ...]
    operators: tuple[OperatorReport, ...]


class ClusterReport(msgspec.Struct, frozen=True):
    """A cluster.

    Args:
        version: of this form; only additions keep it.
        cluster: its name.
        jobs: its jobs, by name.
    """

    version: int
    cluster: str
    jobs: tuple[JobReport, ...]


def report_job(name: str, view: View, answers: Mapping[str, NodeStatus | str], now_us: int) -> JobReport:
    """What there is to say of a job.

    Args:
        name: its name.
        view: what etcd has of it.
        answers: what each node has answered, by its id; a text says why one has not.
        now_us: the time, in microseconds since 1970 in UTC.
    """
    said = {node_id: each for node_id, each in answers.items() if isinstance(each, NodeStatus)}
    leads = None if view.leader is None else view.leader.member.id
    answer = None if leads is None else said.get(leads)
    current = view.attempt if view.is_current else None
    operators = _operators(_of_attempt(said, current), now_us)
    instances = _instances(view)
    totals = [each.operator for each in operators]
    lags = [each.lag_s for each in operators if each.lag_s is not None]
    waits = (each.waits_for for each in said.values())
    return JobReport(
        name=name,
        state=_state(view, answer),
        error=view.outcome.error or None if view.outcome is not None and view.leader is None else None,
        leader=None if view.leader is None else view.leader.member.name,
        epoch=view.epoch,
        attempt=None if current is None else current.attempt.number,
        waits_for=next((each for each in waits if each is not None), None),
        rows_in=sum(each.rows_in for each in totals if each.kind == "source"),
        rows_out=sum(each.rows_in for each in totals if each.kind == "sink"),
        rejected=sum(each.rejected for each in totals),
        late=sum(each.late for each in totals),
        lag_s=max(lags, default=None),
        state_bytes=sum(each.state_bytes for each in totals),
        state_disk_bytes=sum(each.state_disk_bytes for each in totals),
        checkpoint=_checkpoint(view, answer),
        nodes=_nodes(view, answers, instances),
        instances=instances,
        operators=operators,
    )


def _state(view: View, answer: NodeStatus | None) -> JobState:
    if view.leader is not None:
        return "unknown" if answer is None else answer.state
    if view.outcome is not None and not view.nodes:
        return view.outcome.state
    return "electing" if view.nodes else "down"


def _checkpoint(view: View, answer: NodeStatus | None) -> CheckpointReport | None:
    pointer = view.pointer
    if pointer is None:
        return None
    known = None if answer is None else answer.checkpoint
    if (
        known is None or known.number != pointer.number
    ):  # the leader has not told yet, or has told of an older one
        return CheckpointReport(
            pointer.number, pointer.attempt.epoch, pointer.attempt.number, None, None, None, None
        )
    return CheckpointReport(
        pointer.number,
        pointer.attempt.epoch,
        pointer.attempt.number,
        known.age_s,
        known.duration_s,
        known.new_bytes,
        known.state_bytes,
    )


def _instances(view: View) -> tuple[str, ...]:
    """The nodes of the instances, in the attempt that runs."""
    if view.attempt is None or not view.is_current:
        return ()
    return tuple(view.attempt.members[place].name for place in view.attempt.slots)


def _nodes(
    view: View, answers: Mapping[str, NodeStatus | str], instances: tuple[str, ...]
) -> tuple[NodeReport, ...]:
    found = []
    for entry in view.nodes:
        member = entry.member
        answer = answers.get(member.id, "it was not asked")
        said = answer if isinstance(answer, NodeStatus) else None
        takes_part = view.attempt is not None and view.attempt.place(member.id) is not None
        found.append(
            NodeReport(
                name=member.name,
                id=member.id,
                address=member.address,
                since=to_datetime(entry.since_us).isoformat() if entry.since_us else None,
                leads=view.leader is not None and view.leader.member.id == member.id,
                leaving=entry.leaving or member.id in view.drained,
                instances=tuple(
                    at for at, name in enumerate(instances) if takes_part and name == member.name
                ),
                answers=said is not None,
                error=answer if isinstance(answer, str) else None,
                state=None if said is None else said.state,
                seconds=None if said is None else said.seconds,
                waits_for=None if said is None else said.waits_for,
            )
        )
    return tuple(found)


def _of_attempt(said: Mapping[str, NodeStatus], current: AttemptEntry | None) -> Mapping[str, NodeStatus]:
    """The answers of nodes that run the attempt: one that has lost its part tells of an attempt that is over."""
    if current is None:
        return {}
    return {
        node_id: each
        for node_id, each in said.items()
        if (each.epoch, each.attempt) == (current.attempt.epoch, current.attempt.number)
    }


def _operators(said: Mapping[str, NodeStatus], now_us: int) -> tuple[OperatorReport, ...]:
    ticks = any(each.ticks for each in said.values())
    where: dict[str, list[str]] = {}
    for status in said.values():
        for each in status.operators:
            where.setdefault(each.name, []).append(status.node)
    order = {"source": 0, "operator": 1, "sink": 2}
    totals = sorted(added_up(said), key=lambda each: order[each.kind])
    found = []
    for each in totals:
        time = each.watermark
        if time is None or not WATERMARK_MIN < time < WATERMARK_MAX - 1:
            watermark: str | int | None = None
            lag_s = None
        elif ticks:
            watermark, lag_s = time, None
        else:
            watermark = to_datetime(time // 1000).isoformat()
            lag_s = max(0.0, (now_us - time // 1000) / 1e6)
        found.append(OperatorReport(each, watermark, lag_s, tuple(where[each.name])))
    return tuple(found)
