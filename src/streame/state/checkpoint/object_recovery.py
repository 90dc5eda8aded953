"""Recovery from an object store: takes the place over, then finds the checkpoint to go on from and checks every byte."""

import re
from dataclasses import dataclass
from pathlib import Path

from streame.errors import CheckpointDamaged, CheckpointError, Superseded
from streame.state.checkpoint.collect import KEPT
from streame.state.checkpoint.decide import (
    Decision,
    Facts,
    Fresh,
    LookAt,
    Lost,
    Resume,
    Sound,
    decide,
    shown_by,
)
from streame.state.checkpoint.manifest import Foreign
from streame.state.checkpoint.object_savepoints import Savepoint
from streame.state.checkpoint.owned import Owned, decode_owned, encode_owned, fact_of, kept_from, repeated
from streame.state.checkpoint.recovery import SHOWN, Found, manifest_path, refused
from streame.state.checkpoint.sealed import Broken, Newer
from streame.state.checkpoint.spool import Spool
from streame.storage.objects import ObjectStore, Taken

_TRIES = 100
"""What another process does may make it necessary to begin again; not so often."""

_MANIFEST = re.compile(r"m/([1-9]\d*)\.json")


def manifest_numbers(store: ObjectStore) -> list[int]:
    """The checkpoints that have a manifest, oldest first."""
    matches = (_MANIFEST.fullmatch(name) for name in store.names("m"))
    return sorted(int(match[1]) for match in matches if match is not None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job keeps its checkpoints, and as whom.

    Args:
        store: where.
        spool: its files.
        job: the name of the job.
        epoch: what this process has claimed.
        owner: its name.
        first: the number of the first manifest of all.
        savepoint: the folder of what the job begins from if it has no checkpoint yet.
    """

    store: ObjectStore
    spool: Spool
    job: str
    epoch: int
    owner: str
    first: int
    savepoint: Path | None

    def highest(self) -> int:
        """The number of the highest manifest; 0 if there is none."""
        return max(manifest_numbers(self.store), default=0)


@dataclass(slots=True)
class FoundObjects:
    """What is in a store.

    Args:
        highest: the number of the highest manifest; 0 if there is none.
        manifests: those that are kept, highest first, as far as they can be read.
        facts: what the decision needs.
    """

    highest: int
    manifests: dict[int, Owned]
    facts: Facts

    def look_at(self, spool: Spool, number: int) -> None:
        """Check every byte that a checkpoint refers to."""
        manifest = self.manifests[number].manifest
        wrong = spool.fetch(manifest.files)
        self.facts.manifests[number] = Sound(
            shown_by(manifest), tuple(f"{path}: {why}" for path, why in sorted(wrong.items()))
        )


def read_objects(store: ObjectStore, job: str | None) -> FoundObjects:
    """Read the manifests that are kept, and look at none of their files yet.

    Args:
        store: where.
        job: the name of the job that asks; `None` for whoever only looks.
    """
    for _ in range(_TRIES):
        numbers = manifest_numbers(store)
        found: dict[int, Owned | Newer | Foreign | Broken] = {}
        for number in reversed(numbers):
            repeats = [(each, isinstance(one, Owned) and one.repeats) for each, one in found.items()]
            if found and (
                number != min(found) - 1 or kept_from([*repeats, (number, False)], numbers[-1], KEPT) > number
            ):
                break
            try:
                found[number] = decode_owned(store.get(manifest_path(number)), number, job)
            except FileNotFoundError:
                break  # its owner has removed it since
        if found or not numbers:
            break
    else:
        raise CheckpointError(
            f"{store.where}: manifests are listed, but not there; this store cannot be used"
        )
    facts = Facts({number: fact_of(each) for number, each in found.items()}, store.size(SHOWN) is not None)
    manifests = {number: each for number, each in found.items() if isinstance(each, Owned)}
    return FoundObjects(max(numbers, default=0), manifests, facts)


def look_at_objects(store: ObjectStore) -> Found:
    """What is in a store, for whoever only looks: manifests that are kept, without those that have no checkpoint."""
    found = read_objects(store, None)
    shown = {
        number: fact
        for number, fact in found.facts.manifests.items()
        if number not in found.manifests or not found.manifests[number].empty
    }
    manifests = {number: found.manifests[number].manifest for number in shown if number in found.manifests}
    lost_or_shown = bool(shown) or not found.facts.manifests  # with only empty ones nothing was lost
    return Found(Facts(shown, found.facts.ever_shown and lost_or_shown), manifests, {})


def find(place: Place) -> tuple[Owned, dict[int, Owned]]:
    """Take the place over; returns the manifest to go on from, which is this owner's and the highest, and all that are kept.

    Raises:
        CheckpointDamaged: as `CheckpointStore.recover`.
        CheckpointError: as `CheckpointStore.recover`.
        Superseded: when there is a newer owner.
    """
    for _ in range(_TRIES):
        found = read_objects(place.store, place.job)
        if isinstance(lost := decide(found.facts), Lost):
            if place.highest():
                continue  # somebody has begun there in between
            raise CheckpointDamaged(f"{place.store.where}: {refused(lost, place.job)}")
        found.highest = found.highest or place.first - 1
        source: Owned | None = None
        if found.facts.manifests and found.highest not in found.manifests:  # it cannot be repeated
            source = found.manifests[_resume(place, found)]
        elif found.manifests:
            source = found.manifests[found.highest]
        newest = max((each.epoch for each in found.manifests.values()), default=0)
        if newest > place.epoch:
            raise _newer(place, found)
        closed = _close(place, found, source)
        if closed is not None and (number := _resume(place, found)) != closed.manifest.number:
            closed = _close(place, found, found.manifests[number])
        if closed is not None:
            return closed, found.manifests
    raise CheckpointError(
        f"{place.store.where}: another process makes checkpoints there faster than this one can take over; stop it"
    )


def _close(place: Place, found: FoundObjects, source: Owned | None) -> Owned | None:
    """Put a manifest of our own behind the highest; `None` if an older owner was faster."""
    number = found.highest + 1
    if source is None and place.savepoint is not None:
        owned = _begin(place, Savepoint.at(place.savepoint, place.job))
    else:
        owned = repeated(source, number, place.epoch, place.owner, place.job)
    try:
        place.store.put_new(manifest_path(number), encode_owned(owned))
    except Taken:
        return None
    if place.highest() != number:
        return None
    found.highest = number
    found.manifests[number] = owned
    found.facts.manifests[number] = fact_of(owned)
    return owned


def _begin(place: Place, savepoint: Savepoint) -> Owned:
    """The first checkpoint of all, which is that of a savepoint and has its number."""
    if savepoint.number != place.first:
        raise CheckpointError(
            f"{place.store.where}: a job has begun there already, without this savepoint; give it a prefix of its own"
        )
    return Owned(
        place.epoch, place.owner, savepoint.copy_to(place.store, f"state/{savepoint.number}/{place.epoch}.0")
    )


def _resume(place: Place, found: FoundObjects) -> int:
    """The number of the manifest to go on from, all of whose files were checked."""
    decision: Decision
    while isinstance(decision := decide(found.facts), LookAt):
        found.look_at(place.spool, decision.number)
    match decision:
        case Resume(number):
            return number
        case Fresh() | Lost():
            raise AssertionError("there are manifests")
    if place.highest() != found.highest:
        raise _newer(place, found)  # whose garbage collection has removed what is missing here
    why = refused(decision, place.job)
    raise type(why)(f"{place.store.where}: {why}")


def _newer(place: Place, found: FoundObjects) -> Superseded:
    newest = max(found.manifests.values(), key=lambda each: each.epoch, default=None)
    who = "another process" if newest is None else newest.owner
    return Superseded(
        f"{place.store.where}: {who} owns these checkpoints now, and has claimed them after this process, {place.owner}; "
        "this job stops. If two are running by mistake, stop one; a prefix is for one job"
    )
