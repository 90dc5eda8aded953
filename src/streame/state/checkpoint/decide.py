"""Which checkpoint a job goes on from, decided from what is found: pure, and the same for every kind of store."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from streame.state.checkpoint.manifest import Foreign, Manifest
from streame.state.checkpoint.sealed import Broken, Newer


@dataclass(frozen=True, slots=True)
class Shown:
    """What is known of the checkpoints that the world may have seen something of.

    Args:
        since: the first checkpoint of which it is known.
        until: the last one.
        numbers: those of which something may have been published, or acknowledged to a source.
    """

    since: int
    until: int
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Sound:
    """A manifest that is as it was written.

    Args:
        shown: what it knows of checkpoints up to its own.
        damaged: what is wrong with the files that it refers to, each in a few words; `None` before they were looked at.
    """

    shown: Shown
    damaged: tuple[str, ...] | None = None


Fact: TypeAlias = Sound | Broken | Newer | Foreign


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found in a store.

    Args:
        manifests: by the number of the checkpoint.
        ever_shown: whether anything of any checkpoint of this store may have been published or acknowledged.
    """

    manifests: dict[int, Fact]
    ever_shown: bool


@dataclass(frozen=True, slots=True)
class Fresh:
    """There is no checkpoint: the job begins."""


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no checkpoint, but there was one: something of it may have been seen."""


@dataclass(frozen=True, slots=True)
class LookAt:
    """The files of a checkpoint must be looked at before more can be said."""

    number: int


@dataclass(frozen=True, slots=True)
class Resume:
    """The job goes on from a checkpoint.

    Args:
        number: of the checkpoint.
        behind: damaged ones after it, of which nobody has seen anything; they are put aside.
    """

    number: int
    behind: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Damaged:
    """The newest checkpoint is damaged, and nobody knows how to go on.

    Args:
        number: of the checkpoint.
        why: what was found.
        because: why an older one will not do.
    """

    number: int
    why: str
    because: str


@dataclass(frozen=True, slots=True)
class NewerFormat:
    """The newest checkpoint was written by a newer version of Streame."""

    number: int
    version: int


@dataclass(frozen=True, slots=True)
class ForeignJob:
    """The newest checkpoint is one of another job."""

    number: int
    job: str


Decision: TypeAlias = Fresh | Lost | LookAt | Resume | Damaged | NewerFormat | ForeignJob


def decide(facts: Facts) -> Decision:
    """From which checkpoint to go on.

    The newest one whose every byte is there. A crash cannot damage a file under its final name, so one that does not
    hold up was damaged by something else; the job goes back behind it only if nobody has seen anything of it. What
    may have been seen is told by manifests that are sound, each about itself and those right before it.

    That anything may have been seen is said when the first checkpoint with output has been decided and lasts, and before
    that output is let out. The last checkpoint is never deleted, so where it is said and there is none, it was lost.
    """
    first: tuple[int, str] | None = None
    for number in sorted(facts.manifests, reverse=True):
        match facts.manifests[number]:
            case Newer(version):
                return NewerFormat(number, version)
            case Foreign(job):
                return ForeignJob(number, job)
            case Broken(why):
                first = first or (number, f"its manifest is damaged: {why}")
            case Sound(damaged=None):
                return LookAt(number)
            case Sound(damaged=()):
                return Resume(number) if first is None else _back_to(number, first, facts)
            case found:
                first = first or (number, "; ".join(found.damaged or ()))
    if first is None:
        return Lost() if facts.ever_shown else Fresh()
    return Damaged(*first, "there is no older valid one")


def _back_to(number: int, first: tuple[int, str], facts: Facts) -> Resume | Damaged:
    """Go back from damaged checkpoints to an older one, if that harms nobody."""
    highest, why = first
    behind = range(number + 1, highest + 1)
    told = [fact.shown for fact in facts.manifests.values() if isinstance(fact, Sound)]
    seen = [each for each in behind if may_have_shown(each, told, ever=facts.ever_shown)]
    if seen:
        return Damaged(
            highest,
            why,
            f"output of checkpoint {seen[-1]} may have been published, or its rows acknowledged to their source, so "
            f"going on from checkpoint {number} could lose or double it",
        )
    return Resume(number, tuple(each for each in behind if each in facts.manifests))


def may_have_shown(number: int, told: Iterable[Shown], *, ever: bool) -> bool:
    """Whether the world may have seen something of a checkpoint.

    Args:
        number: of the checkpoint.
        told: what the manifests that are sound know.
        ever: whether anything of any checkpoint may have been seen; asked where no manifest knows.
    """
    about = [shown for shown in told if shown.since <= number <= shown.until]
    return any(number in shown.numbers for shown in about) if about else ever


def shown_by(manifest: Manifest) -> Shown:
    """What a manifest knows of the checkpoints up to its own."""
    numbers = frozenset(output.checkpoint for output in manifest.history if output.shows)
    return Shown(manifest.history[0].checkpoint, manifest.number, numbers)
