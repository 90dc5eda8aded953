"""Worlds that differ in nothing that can still have an effect are one: the model of a cluster's checkpoints is smaller for it.

Each of these holds only under the rule that it names; a mutant without the rule is explored in full.
"""

from tests.model.cluster_leader import STOPPED
from tests.model.cluster_world import (
    Content,
    File,
    Leader,
    Pointer,
    Request,
    Rules,
    Worker,
    World,
    joined,
)


def reduced(world: World, rules: Rules) -> World:
    """The world that stands for all that are like this one."""
    receiving = any(worker.phase == "receive" for worker in world.workers)
    if receiving and rules.worker_checks_attempt and rules.check_sequence and not world.faults.cut:
        world = world._replace(workers=tuple(_received(worker) for worker in world.workers))
    if _old_attempts_are_harmless(rules):
        world = _without_old_attempts(world)
    if world.flying:
        flying = tuple(request for request in world.flying if not _is_refused(request, world, rules))
        world = world._replace(flying=flying)
    return world


def _received(worker: Worker) -> Worker:
    """What a worker takes off its channel is seen by nobody before it writes."""
    if worker.phase != "receive" or not worker.checkpoint:
        return worker
    state, output = worker.content
    for record in range(worker.at + 1, worker.cut + 1):
        state, output = joined(state, record), joined(output, record)
    return worker._replace(phase="write", at=worker.cut, content=Content(state, output))


def _old_attempts_are_harmless(rules: Rules) -> bool:
    """What they send is refused, what they write is litter under names of their own, and they decide nothing."""
    return (
        rules.decide_by_epoch
        and rules.decide_by_pointer
        and rules.attempt_by_epoch
        and rules.attempt_in_names
        and rules.worker_checks_attempt
        and rules.leader_checks_attempt
        and rules.decide_before_publish
        and rules.decide_before_acknowledge
    )


def _without_old_attempts(world: World) -> World:
    newest = len(world.leaders)
    leaders = tuple(
        STOPPED if epoch < newest and _can_only_write_litter(leader, epoch, world.pointer) else leader
        for epoch, leader in enumerate(world.leaders, start=1)
    )
    current = leaders[-1].number if leaders else 0
    at_work = leaders and leaders[-1].phase not in {"attempt", "open", "stopped", "done"}
    workers = tuple(one for one in world.workers if at_work and one.attempt == (newest, current))
    named = {world.pointer.manifest, world.pointer.pack, world.pointer.before}
    for leader in leaders:
        named |= {leader.view.pack, leader.view.manifest}
    files = tuple(one for one in world.files if one[0] in named or one[0].attempt >= (newest, current))
    flying = world.flying
    if flying:
        flying = tuple(
            one for one in flying if not isinstance(one.name, File) or one.name.attempt >= (newest, current)
        )
    return world._replace(leaders=leaders, workers=workers, files=files, flying=flying)


def _can_only_write_litter(leader: Leader, epoch: int, pointer: Pointer) -> bool:
    """An old leader with an attempt, unless it has just decided and will publish."""
    if leader.phase == "reread":
        return pointer.manifest is None or pointer.manifest.attempt != (epoch, leader.number)
    return leader.phase in {"attempt", "open", "run", "wait", "manifest", "decide"}


def _is_refused(request: Request, world: World, rules: Rules) -> bool:
    """It came too late to be carried out."""
    match request.kind:
        case "decide":
            late = rules.decide_by_epoch and request.epoch < len(world.leaders)
            return late or (rules.decide_by_pointer and request.name != world.pointer)
        case "acknowledge":
            return isinstance(request.name, int) and request.name <= world.acknowledged
        case "publish":
            checked = rules.sink == "checked" and rules.check_marker
            return checked and isinstance(request.name, int) and request.name <= world.marker
    return False
