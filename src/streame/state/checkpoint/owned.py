"""Manifests in an object store: each says which owner wrote it, and whether it only repeats the one before."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from streame.core.staging import Staged
from streame.state.checkpoint.decide import Fact, Sound, shown_by
from streame.state.checkpoint.history import next_history
from streame.state.checkpoint.manifest import (
    Foreign,
    Manifest,
    Output,
    decode_manifest,
    encode_manifest,
    json_bytes,
)
from streame.state.checkpoint.sealed import Broken, Newer, seal, unseal

NUMBERS_MAX = 50
"""No more manifests are kept, however often a job was started without coming to a checkpoint."""

_SEALED_AS = "owned"


@dataclass(frozen=True, slots=True)
class Owned:
    """A manifest and whose it is.

    Args:
        epoch: of the owner.
        owner: its name, which no other process has or had.
        manifest: what it wrote.
        repeats: whether this is the state of the manifest before it, put there to close its number to older owners.
        empty: whether there is no checkpoint yet.
    """

    epoch: int
    owner: str
    manifest: Manifest
    repeats: bool = False
    empty: bool = False


def encode_owned(owned: Owned) -> bytes:
    """The bytes of an object."""
    header = {"epoch": owned.epoch, "owner": owned.owner, "repeats": owned.repeats, "empty": owned.empty}
    return seal(_SEALED_AS, json_bytes(header) + b"\n" + encode_manifest(owned.manifest))


def decode_owned(data: bytes, number: int, job: str | None) -> Owned | Newer | Foreign | Broken:
    """A manifest of its bytes.

    Args:
        data: all bytes of the object.
        number: of the checkpoint, as the name of the object has it.
        job: the name of the job that asks; `None` for whoever only looks.
    """
    body = unseal(_SEALED_AS, data)
    if not isinstance(body, bytes):
        return body
    header, _, inner = body.partition(b"\n")
    manifest = decode_manifest(inner, number, job)
    if not isinstance(manifest, Manifest):
        return manifest
    try:
        said = json.loads(header)
        return Owned(said["epoch"], said["owner"], manifest, said["repeats"], said["empty"])
    except (ValueError, TypeError, LookupError) as error:
        return Broken(f"its header cannot be understood ({type(error).__name__}: {error})")


def repeated(before: Owned | None, number: int, epoch: int, owner: str, job: str) -> Owned:
    """What a new owner puts behind the highest manifest: the same state and no output.

    Args:
        before: the manifest to repeat; `None` if there is none.
        number: of the new manifest.
        epoch: of the new owner.
        owner: its name.
        job: the name of the job.
    """
    if before is None:
        manifest = Manifest(job, number, 0, None, {}, {}, None, (Output(number, {}),), (), ())
        return Owned(epoch, owner, manifest, repeats=True, empty=True)
    last = before.manifest
    # What the sinks must know of all output goes on; the files stay those that may still have to be published.
    notes = {name: Staged((), staged.note) for name, staged in last.output.staged.items()}
    history = next_history(last.history, Output(number, notes, at_us=last.output.at_us))
    manifest = replace(last, number=number, attempt=0, history=history)
    return Owned(epoch, owner, manifest, repeats=True, empty=before.empty)


def fact_of(found: Owned | Newer | Foreign | Broken) -> Fact:
    """What a manifest says for the decision."""
    return Sound(shown_by(found.manifest)) if isinstance(found, Owned) else found


def kept_from(repeats: Iterable[tuple[int, bool]], highest: int, kept: int) -> int:
    """The lowest number of the manifests that are kept: of the last few checkpoints, and all that repeat them.

    What is removed is always below this, and it only grows, so a request that comes late can bring nothing back above.

    Args:
        repeats: numbers, highest first and without a gap, and whether the manifest of each only repeats another.
        highest: the highest number of all.
        kept: how many checkpoints are kept.
    """
    lowest, left = highest, kept
    for number, is_repeat in repeats:
        if left == 0 or number <= highest - NUMBERS_MAX:
            break
        lowest = number
        left -= not is_repeat
    return lowest
