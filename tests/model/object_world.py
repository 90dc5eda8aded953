"""The store, the source and the sink of the model of checkpoints on an object store, and what must hold of them."""

from dataclasses import dataclass
from typing import NamedTuple

from tests.model.explorer import Wrong


class File(NamedTuple):
    """The name of a pack or of staged output."""

    kind: str
    checkpoint: int
    epoch: int


class Manifest(NamedTuple):
    """A checkpoint: it has put the records after `first` up to `last` into its state and its staged output."""

    epoch: int
    first: int
    last: int
    packs: tuple[File, ...] = ()
    staged: File | None = None


NOTHING = Manifest(0, 0, 0)


class Request(NamedTuple):
    """Something that is asked of the store or of the sink; `name` and `content` go by its kind."""

    kind: str
    name: int | File
    content: tuple[int, ...] | Manifest = ()


class Owner(NamedTuple):
    """A process, by what it does next.

    Args:
        phase: its next step, a method of `Model`.
        epoch: the epoch that it has, or wants.
        checkpoint: the number of the manifest that it goes on from.
        manifest: that manifest.
        request: the create-only put that it is about, and the phase that follows it.
        garbage: what it is going to remove.
        owns: the number of the last manifest that it knows to be its own.
    """

    phase: str = "idle"
    epoch: int = 0
    checkpoint: int = 0
    manifest: Manifest = NOTHING
    request: Request | None = None
    then: str = ""
    garbage: tuple[Request, ...] = ()
    owns: int = 0


class World(NamedTuple):
    """Everything at one moment.

    Args:
        epochs: who has claimed each epoch.
        manifests: by number.
        files: packs and staged output, and what is in them.
        sink: the records that were published.
        marker: the number of the last checkpoint that was published.
        acknowledged: the last record that the source has forgotten.
        history: the manifests that have been the highest, whether they are still there or not.
        flying: requests that were given up but may still be carried out.
        stuck: how many more requests may get no answer.
        owners: the processes, in the order in which they start.
    """

    epochs: tuple[int, ...]
    manifests: frozenset[tuple[int, Manifest]]
    files: frozenset[tuple[File, tuple[int, ...]]]
    sink: tuple[int, ...]
    marker: int
    acknowledged: int
    history: tuple[Manifest, ...]
    flying: tuple[Request, ...]
    stuck: int
    owners: tuple[Owner, ...]

    @property
    def highest(self) -> int:
        """The number of the highest manifest."""
        return max((number for number, _ in self.manifests), default=0)


@dataclass(frozen=True)
class Rules:
    """The rules of the order; one that is left out makes a mutant."""

    create_only: bool = True
    claim: bool = True
    epoch_in_names: bool = True
    close: bool = True
    look: bool = True
    read_back: bool = True
    lost_means_stop: bool = True
    unknown_is_not_done: bool = True
    pack_first: bool = True
    decide_before_publish: bool = True
    decide_before_acknowledge: bool = True
    redo: bool = True
    marker_with_records: bool = True
    known_garbage_only: bool = True
    referenced_is_no_garbage: bool = True
    publish_before_garbage: bool = True
    yield_to_newer: bool = True


def records_of(manifest: Manifest) -> tuple[int, ...]:
    """What the output of a checkpoint consists of."""
    return tuple(range(manifest.first + 1, manifest.last + 1))


def carry_out(world: World, request: Request, rules: Rules) -> World:
    """The store or the sink carries out a request."""
    match request:
        case Request("epoch", int(epoch), (int(number),)):
            return world._replace(epochs=(*world.epochs, number)) if epoch > len(world.epochs) else world
        case Request("file", File() as file, content) if not isinstance(content, Manifest):
            if rules.create_only and file in dict(world.files):
                return world
            return world._replace(files=frozenset((dict(world.files) | {file: content}).items()))
        case Request("manifest", int(checkpoint), Manifest() as manifest):
            return _carry_out_manifest(world, checkpoint, manifest, rules)
        case Request("remove manifest", checkpoint):
            kept = {one for one in world.manifests if one[0] != checkpoint}
            return world._replace(manifests=frozenset(kept))
        case Request("remove file", file):
            return world._replace(files=frozenset(one for one in world.files if one[0] != file))
        case Request("publish", int(checkpoint), records) if not isinstance(records, Manifest):
            if checkpoint != world.marker + 1 and rules.marker_with_records:
                return world
            sink = world.sink + records
            if sink != tuple(range(1, len(sink) + 1)):
                raise Wrong(f"the sink has {sink}")
            return world._replace(sink=sink, marker=max(world.marker, checkpoint))
    raise AssertionError(request)


def _carry_out_manifest(world: World, checkpoint: int, manifest: Manifest, rules: Rules) -> World:
    there = dict(world.manifests)
    if checkpoint in there and rules.create_only:
        return world
    if checkpoint <= len(world.history) and there.get(checkpoint, manifest) != manifest:
        raise Wrong(f"checkpoint {checkpoint} was decided, and replaced by {manifest}")
    if checkpoint > len(world.history):
        before = world.history[-1] if world.history else NOTHING
        if checkpoint != len(world.history) + 1 or manifest.first != before.last:
            raise Wrong(f"checkpoint {checkpoint} does not go on from {before}")
        if manifest.epoch < before.epoch:
            raise Wrong(f"checkpoint {checkpoint} is of an older owner than the one before it")
        world = world._replace(history=(*world.history, manifest))
    return world._replace(manifests=frozenset((there | {checkpoint: manifest}).items()))


def check(world: World) -> None:
    """What must hold at every moment."""
    owned = [owner.owns for owner in world.owners if owner.owns]
    if len(owned) > len(set(owned)):
        raise Wrong(f"two owners take checkpoint {max(owned)} for their own")
    if not world.history:
        return
    head = len(world.history)
    if world.highest != head:
        raise Wrong(f"checkpoint {head} was decided, and is gone")
    if world.acknowledged > world.history[-1].last:
        raise Wrong(f"the source has forgotten record {world.acknowledged}, which is in no checkpoint")
    files, manifests = dict(world.files), dict(world.manifests)
    for pack in world.history[-1].packs:
        if pack not in files:
            raise Wrong(f"{pack} belongs to the highest manifest, and is not there")
    for checkpoint in range(world.marker + 1, head + 1):
        manifest = world.history[checkpoint - 1]
        if manifests.get(checkpoint) != manifest:
            raise Wrong(f"checkpoint {checkpoint} is not published, and gone")
        if manifest.staged and files.get(manifest.staged) != records_of(manifest):
            raise Wrong(f"the output of checkpoint {checkpoint} is not published, and gone")
