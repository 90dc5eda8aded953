"""What no checkpoint in an object store needs any more."""

from streame.state.checkpoint.collect import KEPT, old_files
from streame.state.checkpoint.object_recovery import manifest_numbers
from streame.state.checkpoint.owned import Owned, kept_from
from streame.state.checkpoint.recovery import manifest_path
from streame.storage.objects import ObjectStore

DELETED_MAX = 200
"""So many objects are deleted after one checkpoint; there is another one soon."""


def collect(store: ObjectStore, last: int, known: dict[int, Owned], unclaimed: set[str]) -> None:
    """Delete what is old: manifests below those that are kept, then files up to the last number that none of them needs.

    A file with a higher number may be about to be decided by a newer owner. The names in `epoch/` stay for ever: they
    are what makes the next one new.

    Args:
        store: where.
        last: the number of the last checkpoint.
        known: the manifests that can be read; old ones are taken out.
        unclaimed: staged output that a later checkpoint will refer to.
    """
    repeats = [(number, known[number].repeats) for number in sorted(known, reverse=True)]
    lowest = kept_from(repeats, last, KEPT)
    numbers = manifest_numbers(store)
    store.delete([manifest_path(number) for number in numbers if number < lowest][:DELETED_MAX])
    for number in [number for number in known if number < lowest]:
        del known[number]
    if {
        number for number in numbers if lowest <= number <= last
    } <= known.keys():  # else nobody knows what is needed
        paths = [*store.names("state"), *store.names("out")]
        kept = {number: owned.manifest for number, owned in known.items()}
        store.delete(old_files(paths, last, kept, frozenset(unclaimed))[:DELETED_MAX])
