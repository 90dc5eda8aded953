"""What is lost, doubled, changed or out of order between two outputs."""

from dataclasses import replace

import polars as pl
import pytest

from streame.cli.chaos.compare import Difference, Expectation, compare
from streame.cli.chaos.proof import Row, nothing_resumed
from streame.core.changes import DIFF

ROWS = pl.DataFrame({"key": [1, 2, 1, 3], "seq": [1, 1, 2, 1], "tags": [["a"], [], None, ["b", "c"]]})
CHANGES = pl.DataFrame({"key": [1, 1, 1, 2], "n": [1, 1, 2, 1], DIFF: [1, -1, 1, 1]})


def counts(difference: Difference) -> tuple[int, int, int, int]:
    return difference.lost, difference.doubled, difference.changed, difference.reordered


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (ROWS, (0, 0, 0, 0)),
        (ROWS[::-1], (0, 0, 0, 0)),
        (ROWS[1:], (1, 0, 0, 0)),
        (pl.concat([ROWS, ROWS[:2]]), (0, 2, 0, 0)),
        (pl.concat([ROWS[1:], ROWS[:1].with_columns(seq=pl.lit(9, pl.Int64))]), (1, 0, 1, 0)),
        (ROWS.clear(), (4, 0, 0, 0)),
    ],
)
def test_rows_are_counted_as_often_as_they_are_there(
    found: pl.DataFrame, expected: tuple[int, int, int, int]
) -> None:
    assert counts(compare(ROWS, found, Expectation())) == expected


def test_rows_that_are_lost_and_doubled_are_told() -> None:
    difference = compare(ROWS, pl.concat([ROWS[1:], ROWS[3:]]), Expectation())
    assert str(difference) == "1 lost, 1 doubled; lost: (1, 1, ['a']); doubled: (3, 1, ['b', 'c'])"
    assert str(Difference()) == "no difference"
    assert not Difference()


def test_the_order_counts_where_it_is_the_same_every_time() -> None:
    swapped = ROWS[[1, 0, 2, 3]]
    assert counts(compare(ROWS, swapped, Expectation(in_order=True))) == (0, 0, 0, 2)
    assert not compare(ROWS, swapped, Expectation(keys=("key",)))
    assert counts(compare(ROWS, ROWS[[2, 1, 0, 3]], Expectation(keys=("key",)))) == (0, 0, 0, 2)


def test_an_output_that_ended_too_early_may_lack_rows_but_has_no_others() -> None:
    assert not compare(ROWS, ROWS[:2], Expectation(in_order=True), partial=True)
    assert counts(compare(ROWS, ROWS[[0, 0]], Expectation(), partial=True)) == (0, 1, 0, 0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (CHANGES, (0, 0, 0, 0)),
        (CHANGES[2:], (0, 0, 0, 0)),
        (CHANGES[[3, 2]], (0, 0, 0, 0)),
        (CHANGES[[1, 0, 2, 3]], (0, 0, 0, 1)),
        (CHANGES[[0, 2, 3]], (0, 0, 1, 0)),
        (CHANGES[[0, 1, 2, 2, 3]], (0, 1, 0, 0)),
        (CHANGES[:3], (1, 0, 0, 0)),
    ],
)
def test_of_changes_counts_what_they_come_to(
    found: pl.DataFrame, expected: tuple[int, int, int, int]
) -> None:
    assert counts(compare(CHANGES, found, Expectation(is_changes=True))) == expected


def test_changes_that_ended_too_early_are_in_order() -> None:
    expectation = Expectation(is_changes=True)
    assert not compare(CHANGES, CHANGES[:2], expectation, partial=True)
    assert counts(compare(CHANGES, CHANGES[1:2], expectation, partial=True)) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("rows", "others"),
    [
        (pl.DataFrame({"k": [1], "f": [0.1 + 0.2]}), pl.DataFrame({"k": [1], "f": [0.3]})),
        (pl.DataFrame({"line": ['{"k":1,"f":0.3}']}), pl.DataFrame({"line": ['{"k":1,"f":0.30000000000000004}']})),
        (pl.DataFrame({"k": ["1"], "f": ["0.3"]}), pl.DataFrame({"k": ["1"], "f": ["0.30000000000000004"]})),
    ],
)  # fmt: skip
def test_the_last_digits_of_floats_do_not_count(rows: pl.DataFrame, others: pl.DataFrame) -> None:
    assert not compare(rows, others, Expectation())
    assert compare(rows, others.with_columns(pl.lit("x")), Expectation())


def test_floats_that_differ_do_count() -> None:
    rows = pl.DataFrame({"k": [1, 1], "f": [0.3, float("nan")]})
    assert not compare(rows, rows, Expectation())
    assert counts(compare(rows, rows.with_columns(f=pl.Series([0.31, float("nan")])), Expectation())) == (
        1,
        0,
        1,
        0,
    )


def test_that_nothing_was_resumed_was_not_told() -> None:
    never = Row("SIGKILL at random", 2, 3, 3, 0, *[0] * 7)
    assert nothing_resumed([]) is nothing_resumed([replace(never, restarts=0)]) is None
    assert nothing_resumed([never, replace(never, resumed=1)]) is None
    assert "none of 6 restarts went on from a checkpoint" in str(nothing_resumed([never, never]))
