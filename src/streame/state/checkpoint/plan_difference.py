"""How the plan of a job differs from the one a checkpoint was made with: what is kept, new, dropped and changed."""

import difflib
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from streame.core.staging import Json
from streame.errors import PlanChanged

Fate: TypeAlias = Literal["kept", "new", "dropped", "changed"]

_LOST = ("dropped", "changed")


@dataclass(frozen=True, slots=True)
class PlannedOperator:
    """An operator of which a checkpoint has something.

    Args:
        kind: what it is, in a word or two.
        does: what its state depends on; with equal texts one can go on with the other's state.
    """

    kind: str
    does: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What becomes of the state of one operator.

    Args:
        name: of the operator.
        before: the operator in the checkpoint.
        now: the operator in the job.
    """

    name: str
    before: PlannedOperator | None
    now: PlannedOperator | None

    @property
    def fate(self) -> Fate:
        """What becomes of its state."""
        if self.before is None:
            return "new"
        if self.now is None:
            return "dropped"
        return "kept" if self.before == self.now else "changed"

    def __str__(self) -> str:
        """One line for people."""
        begin, before, now = f"{self.fate:<8}{self.name}", self.before, self.now
        if before is None or now is None or before == now:
            return f"{begin} ({', '.join(each.kind for each in {before, now} if each)})"
        if before.kind != now.kind:
            return f"{begin}: was {before.kind}, is {now.kind}"
        return f"{begin} ({now.kind}): {_changed_parts(before.does, now.does)}"


def compare_plans(before: Json, now: Json) -> list[Difference]:
    """What becomes of the state of each operator: first those of the job, in its order, then those that are dropped.

    Args:
        before: the plan that the checkpoint was made with: `{"operators": {name: {"kind": ..., "does": ...}}}`.
        now: the plan of the job.
    """
    old, new = _operators(before), _operators(now)
    return [Difference(name, old.get(name), new.get(name)) for name in {**new, **old}]


def describe(differences: Sequence[Difference]) -> str:
    """The differences as lines of text."""
    return "\n".join(f"  {each}" for each in differences)


def check_plan(before: Json, now: Json, allow_dropped: Collection[str] = ()) -> list[Difference]:
    """Check that a job can go on from a checkpoint; returns the differences.

    Args:
        before: the plan that the checkpoint was made with.
        now: the plan of the job.
        allow_dropped: the operators whose state may be lost: those that are dropped, and those that changed and
            begin anew. Other names do no harm: the same command must do when the job is started again (see `unknown`).

    Raises:
        PlanChanged: when state would be lost that nobody gave up.
    """
    differences = compare_plans(before, now)
    refused = [each.name for each in differences if each.fate in _LOST and each.name not in allow_dropped]
    if refused:
        raise PlanChanged(
            f"the checkpoint belongs to another plan; the state of {', '.join(map(repr, refused))} would be lost:\n"
            f"{describe(differences)}\n"
            "Give the operators their old names and arguments, or allow it with "
            + " ".join(f"--allow-dropped-state {shlex.quote(name)}" for name in refused)
            + "".join(f"\n{line}" for line in unknown(differences, allow_dropped))
        )
    return differences


def unknown(differences: Sequence[Difference], allow_dropped: Collection[str]) -> list[str]:
    """What to say of names whose state may be lost, but that are neither in the checkpoint nor in the job.

    Args:
        differences: what becomes of the state of each operator.
        allow_dropped: the names.
    """
    known = [each.name for each in differences]
    lines = []
    for name in sorted(set(allow_dropped) - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        lines.append(
            f"allow_dropped_state names {name!r}, which is no operator of the checkpoint or of the job{hint} "
            "(if its state was given up in an earlier run, the name can be left out now)"
        )
    return lines


def _operators(plan: Json) -> dict[str, PlannedOperator]:
    return {name: PlannedOperator(each["kind"], each["does"]) for name, each in plan["operators"].items()}


def _changed_parts(before: str, now: str) -> str:
    """Of two texts of parts with a semicolon between them, those that are not in both."""
    old, new = before.split("; "), now.split("; ")
    gone, come = [each for each in old if each not in new], [each for each in new if each not in old]
    if not gone and not come:
        return f"the same in another order: was {before}, is {now}"
    # The dtypes of results follow from the aggregates; they say something only where those are the same.
    told = [[each for each in parts if not each.startswith("results: ")] for parts in (gone, come)]
    gone, come = told if any(told) else [gone, come]
    return f"was {'; '.join(gone) or 'without that'}, is {'; '.join(come) or 'without that'}"
