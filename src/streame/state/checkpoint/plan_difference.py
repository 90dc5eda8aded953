"""How the plan of a job differs from the one a checkpoint was made with: what is kept, new, dropped and changed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from streame.core.staging import Json
from streame.errors import PlanChanged

Fate: TypeAlias = Literal["kept", "new", "dropped", "changed"]


@dataclass(frozen=True, slots=True)
class PlannedOperator:
    """An operator that keeps state, as far as its state depends on the plan.

    Args:
        name: by which its state is found.
        kind: what it is, in a word.
        signature: what its state depends on; equal signatures can go on from each other's state.
    """

    name: str
    kind: str
    signature: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What becomes of the state of one operator.

    Args:
        name: of the operator.
        fate: what becomes of it.
        before: the operator in the checkpoint.
        now: the operator in the job.
    """

    name: str
    fate: Fate
    before: PlannedOperator | None
    now: PlannedOperator | None

    def __str__(self) -> str:
        """One line for people."""
        one = self.now or self.before
        assert one is not None
        if self.fate != "changed" or self.before is None or self.now is None:
            return f"{self.fate:<8}{self.name} ({one.kind})"
        if self.before.kind != self.now.kind:
            return f"{self.fate:<8}{self.name}: was {self.before.kind}, is {self.now.kind}"
        return f"{self.fate:<8}{self.name} ({one.kind}): was {self.before.signature}, is {self.now.signature}"


def plan_json(operators: Sequence[PlannedOperator]) -> Json:
    """The operators of a plan as the JSON value that a checkpoint keeps."""
    return {
        "operators": [
            {"name": each.name, "kind": each.kind, "signature": each.signature} for each in operators
        ]
    }


def planned_operators(plan: Json) -> list[PlannedOperator]:
    """The operators of a plan of its JSON value."""
    return [PlannedOperator(each["name"], each["kind"], each["signature"]) for each in plan["operators"]]


def compare_plans(before: Json, now: Json) -> list[Difference]:
    """What becomes of the state of each operator: first those of the job, in its order, then those that are dropped.

    Args:
        before: the plan that the checkpoint was made with.
        now: the plan of the job.
    """
    old = {each.name: each for each in planned_operators(before)}
    new = {each.name: each for each in planned_operators(now)}
    found = [Difference(name, _fate(old.get(name), each), old.get(name), each) for name, each in new.items()]
    dropped: Fate = "dropped"
    return found + [Difference(name, dropped, each, None) for name, each in old.items() if name not in new]


def describe(differences: Sequence[Difference]) -> str:
    """The differences as lines of text."""
    return "\n".join(f"  {each}" for each in differences)


def require_resumable(before: Json, now: Json, allow_dropped: Collection[str] = ()) -> list[Difference]:
    """Check that a job can go on from a checkpoint; returns the differences.

    Args:
        before: the plan that the checkpoint was made with.
        now: the plan of the job.
        allow_dropped: the operators whose state may be lost: those that are dropped, and those that changed and
            begin anew. Other names do no harm: the same command must do when the job is started again.

    Raises:
        PlanChanged: when state would be lost that nobody gave up.
    """
    differences = compare_plans(before, now)
    lost = [each.name for each in differences if each.fate in {"dropped", "changed"}]
    refused = [name for name in lost if name not in allow_dropped]
    if refused:
        raise PlanChanged(
            f"the checkpoint belongs to another plan; the state of {_listed(refused)} would be lost:\n"
            f"{describe(differences)}\n"
            "Give the operators their old names and arguments, or allow it with "
            + " ".join(f"--allow-dropped-state {_quoted(name)}" for name in refused)
        )
    return differences


def kept_operators(differences: Sequence[Difference]) -> Mapping[str, PlannedOperator]:
    """The operators that go on from their state."""
    return {each.name: each.now for each in differences if each.fate == "kept" and each.now is not None}


def _fate(before: PlannedOperator | None, now: PlannedOperator) -> Fate:
    if before is None:
        return "new"
    return "kept" if before == now else "changed"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _quoted(name: str) -> str:
    return repr(name) if not name.isidentifier() else name
