"""The leader in the model of a cluster's checkpoints: it takes the job over (T0..T7) and makes checkpoints (C0..C9)."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.cluster_world import (
    Attempt,
    Content,
    File,
    Leader,
    Pointer,
    Request,
    Rules,
    Worker,
    World,
    carry_out,
    content_of,
)
from tests.model.explorer import Wrong

STOPPED = Leader("stopped")


@dataclass(frozen=True)
class Leading:
    """What a leader does next, in each phase; every method yields the worlds that its step may lead to.

    The first of them is what happens if nothing goes wrong. A crash is a leader that takes no more steps, a pause one whose
    steps come late: both are among the orders of steps that are tried.

    Args:
        rules: what everybody keeps to.
        records: how many records the source has.
    """

    rules: Rules
    records: int

    def steps(self, world: World, epoch: int) -> Iterator[World]:
        """Every step of the leader of an epoch."""
        leader = world.leaders[epoch - 1]
        if leader.phase not in {"stopped", "done"}:
            yield from getattr(self, f"_{leader.phase}")(world, epoch, leader)

    # T0, T1 are the election itself: the leader is there.

    def _read(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """T2."""
        view = world.pointer
        if view.manifest and view.manifest.attempt.epoch > epoch:
            yield _stop(world, epoch)
            return
        fence = self.rules.sink == "fenced" and self.rules.fence and self.rules.fence_before_marker
        yield become(world, epoch, leader._replace(view=view, phase="fence" if fence else "marker"))

    def _fence(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """T3, and again after an answer that was lost, or that says that somebody else has fenced the sink since."""
        request = Request("fence", epoch, 1)
        fenced = carry_out(world, request, self.rules)
        yield become(fenced, epoch, fenced.leaders[epoch - 1]._replace(phase=leader.then, then="marker"))
        yield from unanswered(world, epoch, leader, request._replace(name=0))

    def _marker(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """T4 and C6: the marker is read."""
        behind = world.marker < leader.view.checkpoint
        if not self.rules.check_marker:
            behind = leader.view.checkpoint > 0
        following = "publish" if behind else self._published(leader)
        late = self.rules.fence and not self.rules.fence_before_marker
        if behind and late and self.rules.sink == "fenced" and not leader.holds:
            yield become(world, epoch, leader._replace(phase="fence", then="publish"))
        else:
            yield become(world, epoch, leader._replace(phase=following))

    def _publish(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """T4 and C6: what is staged goes to the sink as it is."""
        content = content_of(world, leader.view.pack)
        if content is None:
            if leader.view == world.pointer and world.marker < leader.view.checkpoint:
                raise Wrong("deleted: staged output that was not published")
            yield _stop(world, epoch)
            return
        fenced = self.rules.sink == "fenced"
        if fenced and self.rules.fence and not leader.holds:
            if epoch < len(world.leaders):
                yield _stop(world, epoch)
            else:
                then = "marker" if self.rules.marker_after_every_fence else "publish"
                yield become(world, epoch, leader._replace(phase="fence", then=then))
            return
        request = Request("publish", epoch, leader.view.checkpoint, content.output)
        published = leader._replace(phase=self._published(leader))
        yield become(carry_out(world, request, self.rules), epoch, published)
        again = leader._replace(phase="fence" if fenced and self.rules.fence else "marker", holds=False)
        yield from unanswered(world, epoch, again, request)

    def _published(self, leader: Leader) -> str:
        return "acknowledge" if leader.number or self.rules.acknowledge_at_takeover else "attempt"

    def _acknowledge(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """C7, and at a takeover too: whoever decided it may not have come so far."""
        request = Request("acknowledge", epoch, leader.view.last)
        following = "collect" if leader.number else "attempt"
        yield become(carry_out(world, request, self.rules), epoch, leader._replace(phase=following))
        yield from unanswered(world, epoch, leader, request)

    def _attempt(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """T5."""
        if epoch < len(world.leaders) and self.rules.attempt_by_epoch:
            yield _stop(world, epoch)
            return
        yield become(world, epoch, leader._replace(phase="open", number=leader.number + 1))

    def _open(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """T6, T7: the worker loads its state, and the source is read from the manifest's offset."""
        loaded = content_of(world, leader.view.pack) if leader.view.checkpoint else Content()
        first = leader.view.last
        if not self.rules.offset_of_manifest:
            first = world.acknowledged
        if first < world.gone:
            if self.rules.stop_at_lost_offset:
                loaded = None
            first = world.gone
        if self.records == leader.view.last:
            yield become(world, epoch, Leader("done"))
            return
        if loaded is None:
            yield _stop(world, epoch)
            return
        worker = Worker(Attempt(epoch, leader.number), at=first, content=Content(loaded.state))
        world = become(world, epoch, leader._replace(phase="run", cut=first))
        yield world._replace(workers=(*world.workers, worker))

    def _run(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """C0: one or two more records, and the barrier behind them. Whoever repeats it may cut it elsewhere."""
        attempt = Attempt(epoch, leader.number)
        checkpoint = leader.view.checkpoint + 1
        for cut in range(leader.cut + 1, min(leader.cut + 2, self.records) + 1):
            workers = tuple(
                worker._replace(phase="receive", checkpoint=checkpoint, cut=cut)
                if worker.attempt == attempt
                else worker
                for worker in world.workers
            )
            sent = become(world, epoch, leader._replace(phase="wait", cut=cut))
            yield sent._replace(workers=workers)

    def _wait(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """C4 begins when everybody has acknowledged. A worker that is lost means another attempt."""
        attempt = Attempt(epoch, leader.number)
        for worker in world.workers:
            mine = worker.attempt == attempt or not self.rules.leader_checks_attempt
            if mine and worker.phase == "acked" and worker.checkpoint == leader.view.checkpoint + 1:
                pack = self.name("pack", worker.checkpoint, worker.attempt)
                yield become(world, epoch, leader._replace(phase="manifest", pack=pack))
        if world.faults.lost:
            faults = world.faults._replace(lost=world.faults.lost - 1)
            yield self.another_attempt(world._replace(faults=faults), epoch)

    def another_attempt(self, world: World, epoch: int) -> World:
        """The leader takes the job back to its last checkpoint."""
        leader = world.leaders[epoch - 1]
        return become(world, epoch, leader._replace(phase="attempt", cut=0, pack=None))

    def name(self, kind: str, checkpoint: int, attempt: Attempt) -> File:
        """The name of a file."""
        return File(kind, checkpoint, attempt if self.rules.attempt_in_names else Attempt())

    def _manifest(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """C4."""
        request = Request("put", epoch, self._decision(epoch, leader).manifest or 0, Content())
        yield become(carry_out(world, request, self.rules), epoch, leader._replace(phase="decide"))
        yield from unanswered(world, epoch, leader, request)

    def _decision(self, epoch: int, leader: Leader) -> Pointer:
        checkpoint = leader.view.checkpoint + 1
        manifest = self.name("manifest", checkpoint, Attempt(epoch, leader.number))
        return Pointer(checkpoint, leader.cut, manifest, leader.pack, leader.view.pack)

    def _decide(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """C5."""
        decision = self._decision(epoch, leader)
        if not self.rules.decide_before_acknowledge:
            world = carry_out(world, Request("acknowledge", epoch, leader.cut), self.rules)
        if not self.rules.decide_before_publish and world.marker < decision.checkpoint:
            content = content_of(world, decision.pack)
            if content is None:
                yield _stop(world, epoch)
            elif self.rules.sink == "fenced" and not leader.holds:
                yield become(world, epoch, leader._replace(phase="fence", then="decide"))
            else:
                publish = Request("publish", epoch, decision.checkpoint, content.output)
                yield become(carry_out(world, publish, self.rules), epoch, leader)
            return
        request = Request("decide", epoch, leader.view, decision)
        yield become(carry_out(world, request, self.rules), epoch, leader._replace(phase="reread"))
        unknown = leader._replace(phase="reread")
        yield from unanswered(
            world, epoch, unknown if self.rules.retry_unknown_decision else STOPPED, request
        )

    def _reread(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """C5: what the pointer is now. An answer that came says the same."""
        decision = self._decision(epoch, leader)
        if world.pointer == decision:
            decided = leader._replace(phase="marker", view=decision, pack=None)
            yield become(world, epoch, decided)
        elif world.pointer == leader.view and epoch == len(world.leaders):
            yield become(world, epoch, leader._replace(phase="decide"))
        else:
            yield _stop(world, epoch)

    def _collect(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        """C9: one look says what is garbage; it is deleted file by file, at any later moment."""
        current = world.pointer
        referenced = {current.manifest, current.pack, current.before}
        if not self.rules.referenced_is_no_garbage:
            referenced -= {current.before}
        garbage = tuple(
            file
            for file, _ in world.files
            if file not in referenced
            and (file.attempt < Attempt(epoch, leader.number) or not self.rules.garbage_is_older)
            and (file.checkpoint <= current.checkpoint or not self.rules.garbage_is_below)
        )
        yield become(world, epoch, self._run_on(leader._replace(garbage=garbage)))

    def _remove(self, world: World, epoch: int, leader: Leader) -> Iterator[World]:
        file, *rest = leader.garbage
        removed = carry_out(world, Request("delete", epoch, file), self.rules)
        yield become(removed, epoch, self._run_on(leader._replace(garbage=tuple(rest))))

    def _run_on(self, leader: Leader) -> Leader:
        if leader.garbage:
            return leader._replace(phase="remove")
        return Leader("done") if leader.view.last == self.records else leader._replace(phase="run")


def become(world: World, epoch: int, leader: Leader) -> World:
    """The leader of an epoch is another one."""
    leaders = world.leaders
    return world._replace(leaders=(*leaders[: epoch - 1], leader, *leaders[epoch:]))


def _stop(world: World, epoch: int) -> World:
    return become(world, epoch, STOPPED)


def unanswered(world: World, epoch: int, leader: Leader, request: Request) -> Iterator[World]:
    """A request of a leader gets no answer; it is carried out at any later moment, at once or after all others too."""
    if world.faults.stuck:
        yield become(fly(world, request), epoch, leader)


def fly(world: World, request: Request) -> World:
    """A request is on its way, and nobody waits for it any more."""
    faults = world.faults._replace(stuck=world.faults.stuck - 1)
    return world._replace(flying=tuple(sorted((*world.flying, request), key=repr)), faults=faults)
