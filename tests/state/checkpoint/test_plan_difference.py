"""Plans that differ: what becomes of the state of each operator, and what is refused."""

import pytest

from streame.errors import PlanChanged
from streame.state.checkpoint.plan_difference import (
    PlannedOperator,
    compare_plans,
    describe,
    kept_operators,
    plan_json,
    planned_operators,
    require_resumable,
)

COUNT = PlannedOperator("count", "group_by", "user: String; n: len")
BEST = PlannedOperator("best", "top_k", "3 by price")
ASOF = PlannedOperator("the prices", "join_asof", "item")
BEFORE = plan_json([COUNT, BEST, ASOF])


def test_a_plan_comes_back() -> None:
    assert planned_operators(BEFORE) == [COUNT, BEST, ASOF]


def test_each_operator_has_a_fate() -> None:
    wider = PlannedOperator("count", "group_by", "user: String; n: len, s: sum")
    late = PlannedOperator("late", "window", "1h")
    other = PlannedOperator("best", "unique", "item")
    found = compare_plans(BEFORE, plan_json([late, wider, other]))
    assert [(each.name, each.fate) for each in found] == [
        ("late", "new"), ("count", "changed"), ("best", "changed"), ("the prices", "dropped"),
    ]  # fmt: skip
    assert describe(found).splitlines() == [
        "  new     late (window)",
        "  changed count (group_by): was user: String; n: len, is user: String; n: len, s: sum",
        "  changed best: was top_k, is unique",
        "  dropped the prices (join_asof)",
    ]


def test_the_same_plan_in_another_order_is_kept() -> None:
    found = require_resumable(BEFORE, plan_json([ASOF, COUNT, BEST]))
    assert {each.fate for each in found} == {"kept"}
    assert kept_operators(found) == {"the prices": ASOF, "count": COUNT, "best": BEST}


def test_new_operators_begin_empty() -> None:
    new = PlannedOperator("new", "unique", "x")
    found = require_resumable(plan_json([COUNT]), plan_json([COUNT, new]))
    assert kept_operators(found) == {"count": COUNT}


def test_state_is_lost_only_if_that_is_allowed_by_name() -> None:
    now = plan_json([COUNT])
    with pytest.raises(PlanChanged) as error:
        require_resumable(BEFORE, now, ["best"])
    assert str(error.value).splitlines() == [
        "the checkpoint belongs to another plan; the state of 'the prices' would be lost:",
        "  kept    count (group_by)",
        "  dropped best (top_k)",
        "  dropped the prices (join_asof)",
        "Give the operators their old names and arguments, or allow it with --allow-dropped-state 'the prices'",
    ]
    assert len(require_resumable(BEFORE, now, ["best", "the prices"])) == 3
    with pytest.raises(PlanChanged, match="--allow-dropped-state best --allow-dropped-state 'the prices'"):
        require_resumable(BEFORE, now)


def test_what_was_allowed_once_does_no_harm_when_the_job_starts_again() -> None:
    now = plan_json([COUNT])
    require_resumable(BEFORE, now, ["best", "the prices"])
    assert [each.fate for each in require_resumable(now, now, ["best", "the prices"])] == ["kept"]
