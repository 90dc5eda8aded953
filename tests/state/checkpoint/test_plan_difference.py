"""Plans that differ: what becomes of the state of each operator, and what is refused."""

from typing import Any

import pytest

from streame.errors import PlanChanged
from streame.state.checkpoint.plan_difference import check_plan, compare_plans, describe, unknown


def plan(**operators: tuple[str, str]) -> Any:
    return {
        "operators": {
            name.replace("_", " "): {"kind": kind, "does": does} for name, (kind, does) in operators.items()
        }
    }


COUNT = ("GroupBy", "keys: [user]; aggs: [len()]; input 0: {user: String}")
BEST = ("TopK", "k: 3")
ASOF = ("AsofJoin", "by: [item]")
BEFORE = plan(count=COUNT, best=BEST, the_prices=ASOF)


def test_each_operator_has_a_fate() -> None:
    wider = ("GroupBy", "keys: [user]; aggs: [len(), sum(n)]; input 0: {user: String}")
    found = compare_plans(BEFORE, plan(late=("Window", "1h"), count=wider, best=("Unique", "")))
    assert [(each.name, each.fate) for each in found] == [
        ("late", "new"), ("count", "changed"), ("best", "changed"), ("the prices", "dropped"),
    ]  # fmt: skip
    assert describe(found).splitlines() == [
        "  new     late (Window)",
        "  changed count (GroupBy): was aggs: [len()], is aggs: [len(), sum(n)]",
        "  changed best: was TopK, is Unique",
        "  dropped the prices (AsofJoin)",
    ]


def test_arguments_that_came_or_went_are_named() -> None:
    with_offset = ("TopK", "k: 3; offset: 2")
    (came,) = compare_plans(plan(best=BEST), plan(best=with_offset))
    (went,) = compare_plans(plan(best=with_offset), plan(best=BEST))
    assert str(came) == "changed best (TopK): was without that, is offset: 2"
    assert str(went) == "changed best (TopK): was offset: 2, is without that"


def test_only_aggregates_that_differ_are_told_and_dtypes_only_where_those_do_not() -> None:
    does = 'keys: [user]; n = len(); s = col("x").sum(); results: {n: UInt32, s: Int64}'
    mean = does.replace("sum", "mean").replace("Int64", "Float64")
    (other,) = compare_plans(plan(count=("GroupBy", does)), plan(count=("GroupBy", mean)))
    assert str(other) == 'changed count (GroupBy): was s = col("x").sum(), is s = col("x").mean()'
    (other,) = compare_plans(plan(a=("GroupBy", does)), plan(a=("GroupBy", does.replace("Int64", "Int32"))))
    assert str(other) == (
        "changed a (GroupBy): was results: {n: UInt32, s: Int64}, is results: {n: UInt32, s: Int32}"
    )
    (other,) = compare_plans(plan(a=("GroupBy", "n = 1; s = 2")), plan(a=("GroupBy", "s = 2; n = 1")))
    assert str(other) == "changed a (GroupBy): the same in another order: was n = 1; s = 2, is s = 2; n = 1"


def test_the_same_plan_in_another_order_is_kept() -> None:
    found = check_plan(BEFORE, plan(the_prices=ASOF, count=COUNT, best=BEST))
    assert [(each.name, each.fate) for each in found] == [
        ("the prices", "kept"),
        ("count", "kept"),
        ("best", "kept"),
    ]
    assert str(found[1]) == "kept    count (GroupBy)"


def test_names_that_are_no_operators_were_not_told() -> None:
    same = check_plan(BEFORE, BEFORE, ["bset"])
    (line,) = unknown(same, ["bset", "best"])
    assert line.startswith("allow_dropped_state names 'bset', which is no operator")
    assert "did you mean 'best'?" in line
    with pytest.raises(PlanChanged, match="names 'bset', which is no operator"):
        check_plan(BEFORE, plan(count=COUNT, the_prices=ASOF), ["bset"])


def test_new_operators_begin_empty() -> None:
    found = check_plan(plan(count=COUNT), plan(count=COUNT, new=("Unique", "x")))
    assert [each.fate for each in found] == ["kept", "new"]


def test_state_is_lost_only_if_that_is_allowed_by_name() -> None:
    now = plan(count=COUNT)
    with pytest.raises(PlanChanged) as error:
        check_plan(BEFORE, now, ["best"])
    assert str(error.value).splitlines() == [
        "the checkpoint belongs to another plan; the state of 'the prices' would be lost:",
        "  kept    count (GroupBy)",
        "  dropped best (TopK)",
        "  dropped the prices (AsofJoin)",
        "Give the operators their old names and arguments, or allow it with --allow-dropped-state 'the prices'",
    ]
    assert len(check_plan(BEFORE, now, ["best", "the prices"])) == 3
    with pytest.raises(PlanChanged, match="--allow-dropped-state best --allow-dropped-state 'the prices'"):
        check_plan(BEFORE, now)
    with pytest.raises(PlanChanged, match="the state of 'best' would be lost"):
        check_plan(plan(best=BEST), plan(best=("TopK", "k: 4")), ["other"])


def test_what_was_allowed_once_does_no_harm_when_the_job_starts_again() -> None:
    now = plan(count=COUNT)
    check_plan(BEFORE, now, ["best", "the prices"])
    assert [each.fate for each in check_plan(now, now, ["best", "the prices"])] == ["kept"]
