"""A model of checkpoints on an object store: several owners of one prefix, lost and late requests, everything else.

The order that it shows to be safe and live:

1. **Claim.** List `epoch/`, put `epoch/<E>` create-only with E one above the highest; if it is taken, begin again.
   E is in the name of every file of this owner, so that two owners never write the same one.
2. **Close.** List `m/`. If the highest manifest n is of a newer epoch, stop. Else put `m/<n+1>` create-only, which
   repeats the state of n with no output, under the epoch E; if it is taken, begin 2 again. From here on no older
   owner can decide anything: the next number of each of them is taken. A manifest that an older owner decided before
   was found by that list, or took the number: it counts, and is gone on from.
3. **Recover** from the highest manifest. Publish what is decided and not yet published, in order, from the staged files.
4. **Run.** Write the pack and the staged output, put `m/<n+1>` create-only, **look** (6), publish, acknowledge sources,
   collect garbage.
5. **Read back.** After any error of a create-only put, and after the answer that something is there: equal bytes are a
   success, nothing there means to try again, something else means that another owner was faster. An owner whose
   manifest is not there but another one stops: it was superseded.
6. **Look.** After a manifest was put, list `m/` again: it counts only if it is the highest. Garbage collection removes
   old manifests, and a request that was stuck since before may then put one with an old number "successfully".
7. **Garbage** is a manifest below the highest that was published, and a file whose number is not above that of the
   owner's own manifest and that this manifest does not name. A file with a higher number may be about to be decided
   by a newer owner.

The manifests are a log to which one appends by compare-and-swap, and the highest one is the truth. Publishing by an
old owner is harmless: it publishes only what is in that log, which is the same for everybody, and a sink takes each
number once, in one step with its marker. A sink whose marker is read apart from its writing is not safe here.

The claim makes what an owner puts its own, so that equal bytes mean "mine"; an owner that is asleep between its claim and
its list gives way to a newer one. That E is in the names too is a second guard: after 2 no two owners write files of the
same number.

An owner that is paused, cut off or dead is one whose steps come late or never; the model has all of these. A request is
carried out and answered, or gets no answer and is carried out at any later moment or never.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.model.explorer import Wrong
from tests.model.object_world import (
    NOTHING,
    File,
    Manifest,
    Owner,
    Request,
    Rules,
    World,
    carry_out,
    check,
    records_of,
)

Step: TypeAlias = tuple[str, World]


@dataclass(frozen=True)
class Model:
    """All that can happen.

    Args:
        rules: what everybody keeps to.
        records: how many records the source has.
        owners: how many processes are started, at any moments.
        stuck: how many requests get no answer.
    """

    rules: Rules = field(default_factory=Rules)
    records: int = 2
    owners: int = 2
    stuck: int = 1

    def start(self) -> World:
        """Before anything has happened."""
        owners = (Owner(),) * self.owners
        return World((), frozenset(), frozenset(), (), 0, 0, (), (), self.stuck, owners)

    def steps(self, world: World) -> Iterator[Step]:
        """Every step that anybody can take."""
        for number, owner in enumerate(world.owners):
            if number and owner.phase == "idle" and world.owners[number - 1].phase == "idle":
                break  # they are all alike: the first one starts first
            yield from self.steps_of(world, number)
        for request in dict.fromkeys(world.flying):
            rest = list(world.flying)
            rest.remove(request)
            yield f"late: {request}", self._carry_out(world._replace(flying=tuple(rest)), request)

    def _carry_out(self, world: World, request: Request) -> World:
        return carry_out(world, request, self.rules)

    def steps_of(self, world: World, number: int) -> Iterator[Step]:
        """Every step of one process; the first one is what happens if nothing goes wrong."""
        owner = world.owners[number]
        if owner.phase not in {"stopped", "done"}:
            phase: Callable[[World, int, Owner], Iterator[World]] = getattr(self, f"_{owner.phase}")
            for following in phase(world, number, owner):
                what = owner.request.kind if owner.request else ""
                yield (
                    f"owner {number + 1}: {owner.phase} {what} -> {following.owners[number].phase}",
                    following,
                )

    # What a process does; each yields the worlds that its next step may lead to.

    def _idle(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        epoch = len(world.epochs) + 1
        if not self.rules.claim:
            yield _become(world, number, owner._replace(phase="list", epoch=1))
            return
        yield _put(world, number, owner._replace(epoch=epoch), Request("epoch", epoch, (number,)), "list")

    def _put(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        assert owner.request is not None
        there = self._there(world, owner.request)
        following = owner.then
        if there is not None and self.rules.create_only:
            following = "back" if self.rules.read_back else "lost"
        yield _become(self._carry_out(world, owner.request), number, owner._replace(phase=following))
        unknown = "back" if self.rules.read_back else "put"
        unknown = unknown if self.rules.unknown_is_not_done else owner.then
        yield from _stuck(world, number, owner._replace(phase=unknown), owner.request)

    def _back(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        assert owner.request is not None
        there = self._there(world, owner.request)
        if there is None:
            yield _become(world, number, owner._replace(phase="put"))
        elif there == owner.request.content or not self.rules.lost_means_stop:
            yield _become(world, number, owner._replace(phase=owner.then))
        else:
            yield _become(world, number, owner._replace(phase="lost"))

    def _there(self, world: World, request: Request) -> tuple[int, ...] | Manifest | None:
        match request:
            case Request("epoch", int(epoch)):
                return (world.epochs[epoch - 1],) if epoch <= len(world.epochs) else None
            case Request("manifest", int(checkpoint)):
                return dict(world.manifests).get(checkpoint)
            case Request(_, File() as file):
                return dict(world.files).get(file)
        raise AssertionError(request)

    def _lost(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        again = {"list": "idle", "look_at_claim": "list"}.get(owner.then, "stop")
        yield _become(world, number, owner._replace(phase=again, request=None, then=""))

    def _stop(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        if len(world.epochs) <= owner.epoch:
            raise Wrong(f"owner {number + 1} stops, but there is no newer one")
        yield _become(world, number, Owner("stopped"))

    def _list(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        yield _become(
            world, number, owner._replace(phase="get", checkpoint=world.highest, request=None, then="")
        )

    def _get(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        manifest = dict(world.manifests).get(owner.checkpoint, NOTHING)
        if owner.checkpoint and manifest == NOTHING:
            yield _become(world, number, owner._replace(phase="list"))  # removed since it was listed
        elif manifest.epoch > owner.epoch and self.rules.yield_to_newer:
            yield _become(world, number, owner._replace(phase="stop"))
        elif self.rules.close:
            repeated = Manifest(owner.epoch, manifest.last, manifest.last, manifest.packs)
            request = Request("manifest", owner.checkpoint + 1, repeated)
            yield _put(world, number, owner, request, "look_at_claim")
        else:
            yield _become(world, number, owner._replace(phase="recover", manifest=manifest))

    def _look_at_claim(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        yield self._look(world, number, owner, "recover", "list")

    def _look_at_decision(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        yield self._look(world, number, owner, "publish", "stop")

    def _look(self, world: World, number: int, owner: Owner, highest: str, below: str) -> World:
        assert owner.request is not None
        assert isinstance(owner.request.content, Manifest)
        if self.rules.look and world.highest != owner.request.name:
            return _become(world, number, owner._replace(phase=below, request=None, then=""))
        assert isinstance(owner.request.name, int)
        checkpoint = owner.request.name
        decided = Owner(highest, owner.epoch, checkpoint, owner.request.content, owns=checkpoint)
        return _become(world, number, decided)

    def _recover(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        missing = [pack for pack in owner.manifest.packs if pack not in dict(world.files)]
        if missing and world.highest == owner.checkpoint:
            raise Wrong(f"owner {number + 1} does not find {missing}")
        following = "stop" if missing else "publish" if self.rules.redo else "run"
        yield _become(world, number, owner._replace(phase=following))

    def _publish(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        checkpoint = world.marker + 1
        if checkpoint > owner.checkpoint:
            yield _become(world, number, owner._replace(phase="acknowledge"))
            return
        manifest = dict(world.manifests).get(checkpoint)
        staged = dict(world.files).get(manifest.staged) if manifest and manifest.staged else ()
        if manifest is None or staged is None:  # check() has seen whether that is wrong
            yield _become(world, number, owner._replace(phase="stop"))
            return
        yield _become(
            world, number, owner._replace(phase="send", request=Request("publish", checkpoint, staged))
        )

    def _send(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        assert owner.request is not None
        assert isinstance(owner.request.name, int)
        checkpoint, records = owner.request.name, owner.request.content
        if checkpoint > len(world.history) or records_of(world.history[checkpoint - 1]) != records:
            raise Wrong(f"owner {number + 1} publishes {records} as checkpoint {checkpoint}")
        sent = owner._replace(phase="publish", request=None)
        yield _become(self._carry_out(world, owner.request), number, sent)
        yield from _stuck(world, number, sent, owner.request)

    def _acknowledge(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        acknowledged = max(world.acknowledged, owner.manifest.last)
        yield _become(world._replace(acknowledged=acknowledged), number, owner._replace(phase="collect"))

    def _collect(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        """What is garbage is decided by one look at the store; it is removed one by one, at any later moment."""
        below = owner.checkpoint if self.rules.publish_before_garbage else owner.checkpoint + 1
        named = owner.manifest.packs if self.rules.referenced_is_no_garbage else ()
        if owner.manifest.staged:
            named = (*named, owner.manifest.staged)
        old = [Request("remove manifest", each) for each, _ in world.manifests if each < below]
        unnamed = [
            Request("remove file", file)
            for file, _ in world.files
            if file not in named
            and (file.checkpoint <= owner.checkpoint or not self.rules.known_garbage_only)
        ]
        yield _become(world, number, owner._replace(phase="remove", garbage=(*sorted(old), *sorted(unnamed))))

    def _remove(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        if not owner.garbage:
            following = "done" if owner.manifest.last == self.records else "run"
            yield _become(world, number, owner._replace(phase=following))
            return
        first, *rest = owner.garbage
        yield _become(self._carry_out(world, first), number, owner._replace(garbage=tuple(rest)))

    def _run(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        """A checkpoint of one record or of two: whoever repeats it may cut it elsewhere."""
        checkpoint, first = owner.checkpoint + 1, owner.manifest.last
        epoch = owner.epoch if self.rules.epoch_in_names else 0
        for last in range(first + 1, min(first + 2, self.records) + 1):
            pack, staged = File("pack", checkpoint, epoch), File("staged", checkpoint, epoch)
            # Parts of the state that have not changed stay in the pack where they were.
            manifest = Manifest(owner.epoch, first, last, (*owner.manifest.packs[-1:], pack), staged)
            ready = owner._replace(manifest=manifest)
            if self.rules.pack_first:
                yield _put(world, number, ready, Request("file", pack, records_of(manifest)), "stage")
            else:
                yield _become(world, number, ready._replace(phase="stage"))

    def _stage(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        assert owner.manifest.staged is not None
        request = Request("file", owner.manifest.staged, records_of(owner.manifest))
        yield _put(world, number, owner, request, "decide")

    def _decide(self, world: World, number: int, owner: Owner) -> Iterator[World]:
        if not self.rules.decide_before_acknowledge:
            world = world._replace(acknowledged=max(world.acknowledged, owner.manifest.last))
        checkpoint = owner.checkpoint + 1
        if not self.rules.decide_before_publish and world.marker < checkpoint:
            publish = Request("publish", checkpoint, records_of(owner.manifest))
            yield _become(self._carry_out(world, publish), number, owner)
            return
        request = Request("manifest", checkpoint, owner.manifest)
        yield _put(world, number, owner, request, "look_at_decision")

    # What must be possible from every state.

    def finishes(self, world: World, number: int, known: set[World]) -> None:
        """One process alone, to which nothing more happens, brings the job to its end.

        Raises:
            Wrong: when it does not.
        """
        mine = world.owners[number]
        world = world._replace(owners=(*(Owner("stopped"),) * number, mine), flying=(), stuck=0)
        way = []
        while world not in known and world.owners[number].phase != "done":
            way.append(world)
            check(world)
            if world.owners[number].phase == "stopped" or len(way) > 200 * self.records:
                raise Wrong(f"owner {number + 1} does not get on")
            step = next(self.steps_of(world, number), None)
            if step is None:
                raise Wrong(f"owner {number + 1} has nothing more to do")
            _, world = step
        if world not in known and len(world.sink) != self.records:
            raise Wrong(f"the job has ended, and the sink has {world.sink}")
        known.update(way)


def _become(world: World, number: int, owner: Owner) -> World:
    owners = world.owners
    return world._replace(owners=(*owners[:number], owner, *owners[number + 1 :]))


def _put(world: World, number: int, owner: Owner, request: Request, then: str) -> World:
    """The process is about to put something create-only, and goes on with `then` once it is there."""
    return _become(world, number, owner._replace(phase="put", request=request, then=then))


def _stuck(world: World, number: int, owner: Owner, request: Request) -> Iterator[World]:
    """The request gets no answer. That it is never carried out is the same as that it comes later than all others."""
    if world.stuck:
        flying = tuple(sorted((*world.flying, request), key=repr))
        yield _become(world._replace(flying=flying, stuck=world.stuck - 1), number, owner)
