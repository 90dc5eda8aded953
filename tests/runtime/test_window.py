"""Windows stepped by hand: when they close, what is late, what is said before and after, and what is given up."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.aggregates import split_aggregates
from streame.core.deadletters import OnError
from streame.core.expressions import parse_exprs
from streame.core.hidden import BEHIND
from streame.core.time import WATERMARK_MAX, EventTime
from streame.core.windows import window_rule
from streame.errors import DataError, PlanError
from streame.runtime.letters import RefusalPolicy
from streame.runtime.operators.window import WindowOperator
from streame.runtime.window_results import WindowSetup
from streame.testing import Driver, batch
from tests.runtime.recorder import OperatorBench

SCHEMA = pl.Schema({"at": pl.Int64(), "user": pl.String(), "qty": pl.Int64()})


class Bench(OperatorBench):
    """The windows over an integer column, with a count and a sum."""

    def __init__(
        self,
        every: str = "10i",
        period: str | None = None,
        *,
        by: Sequence[str] = ("user",),
        emit: Any = "on_close",
        lateness: int = 0,
        on_error: OnError = "fail",
        **windows: Any,
    ) -> None:
        time = EventTime("at", pl.Int64())
        exprs = parse_exprs([], {"n": pl.len(), "qty": pl.col("qty").sum()}, SCHEMA, where="agg")
        setup = WindowSetup(
            rule=window_rule(time, every=every, period=period, where="windows", **windows),
            key=pl.Schema({name: SCHEMA[name] for name in by}),
            key_columns=tuple(by),
            aggregation=split_aggregates(exprs, SCHEMA, where="agg"),
            emission=emit,
            lateness=lateness,
        )
        super().__init__(WindowOperator(setup, RefusalPolicy(on_error, ["s"])))

    def rows(self, *rows: tuple[int | None, str, int], behind: Sequence[int | None] | None = None) -> None:
        """Take rows of (at, user, qty), some of them behind their split's watermark."""
        frame = pl.DataFrame(rows, SCHEMA, orient="row")
        if behind is not None:
            frame = frame.with_columns(pl.Series(BEHIND, behind, dtype=pl.Int64))
        self.push(frame)

    def said(self) -> list[tuple[Any, ...]]:
        """What came out since the last time."""
        rows = self.out.rows
        self.out.batches.clear()
        return rows

    @property
    def late(self) -> list[tuple[Any, ...]]:
        return [row for frame in self.out.lates for row in frame.rows()]


def test_a_window_closes_when_the_watermark_reaches_its_end() -> None:
    bench = Bench()
    bench.rows((3, "ann", 1), (9, "bob", 2), (4, "ann", 3))
    bench.watermark(9)
    assert bench.said() == []
    bench.watermark(10)
    assert bench.said() == [("ann", 0, 2, 4), ("bob", 0, 1, 2)]
    assert bench.out.watermarks == [0, 10]


def test_a_window_closed_on_the_right_waits_for_the_row_at_its_end() -> None:
    bench = Bench(closed="right", label="right")
    bench.rows((3, "ann", 1))
    bench.watermark(10)
    bench.rows((10, "ann", 5), (11, "ann", 7))
    assert bench.said() == []
    bench.watermark(11)
    assert bench.said() == [("ann", 10, 2, 6)]
    assert bench.out.watermarks == [10, 20]


def test_windows_without_rows_are_not_said() -> None:
    bench = Bench()
    bench.rows((3, "ann", 1), (45, "ann", 2))
    bench.watermark(45)
    assert bench.said() == [("ann", 0, 1, 1)]
    bench.watermark(WATERMARK_MAX)
    assert bench.said() == [("ann", 40, 1, 2)]


def test_many_windows_that_close_at_once_come_in_their_order() -> None:
    bench = Bench("1i")
    bench.rows(*((at, "ann", at) for at in (5, 3, 4, 1, 2)), (0, "bob", 0), (3, "bob", 7))
    bench.watermark(WATERMARK_MAX)
    assert bench.said() == [
        ("bob", 0, 1, 0), ("ann", 1, 1, 1), ("ann", 2, 1, 2), ("ann", 3, 1, 3), ("bob", 3, 1, 7), ("ann", 4, 1, 4),
        ("ann", 5, 1, 5)
    ]  # fmt: skip


def test_overlapping_windows_share_their_slices() -> None:
    bench = Bench("5i", "10i")
    bench.rows((3, "ann", 1), (7, "ann", 2), (12, "bob", 4))
    bench.watermark(WATERMARK_MAX)
    assert sorted(bench.said()) == [
        ("ann", -5, 1, 1), ("ann", 0, 2, 3), ("ann", 5, 1, 2), ("bob", 5, 1, 4), ("bob", 10, 1, 4)
    ]  # fmt: skip


def test_without_keys_a_window_is_one_group() -> None:
    bench = Bench(by=())
    bench.rows((3, "ann", 1), (7, "bob", 2))
    bench.watermark(10)
    assert bench.said() == [(0, 2, 3)]


def test_rows_in_gaps_between_windows_are_counted_and_not_late() -> None:
    bench = Bench("10i", "4i")
    bench.rows((3, "ann", 1), (5, "ann", 2), (9, "ann", 3))
    bench.rows((6, "ann", 2))
    bench.watermark(WATERMARK_MAX)
    bench.rows((5, "ann", 2))
    assert bench.said() == [("ann", 0, 1, 1)]
    assert (bench.out.gaps, bench.late) == (4, [])


def test_a_row_behind_its_own_split_is_late_though_the_window_is_open() -> None:
    bench = Bench()
    bench.rows((3, "ann", 1))
    bench.rows((4, "ann", 5), (5, "bob", 6), (19, "bob", 7), behind=[10, 9, 12])
    bench.watermark(20)
    assert bench.late == [(4, "ann", 5)]
    assert bench.said() == [("ann", 0, 1, 1), ("bob", 0, 1, 6), ("bob", 10, 1, 7)]


def test_a_row_of_a_split_that_was_idle_is_late_when_the_window_has_closed() -> None:
    bench = Bench()
    bench.watermark(10)
    bench.rows((4, "ann", 5), (10, "bob", 6))
    assert bench.late == [(4, "ann", 5)]
    bench.rows((4, "ann", 7))
    assert bench.late == [(4, "ann", 5), (4, "ann", 7)]


def test_a_row_that_is_late_for_one_window_counts_in_the_next() -> None:
    bench = Bench("5i", "10i")
    bench.rows((3, "ann", 1))
    bench.rows((4, "ann", 10), behind=[5])  # too late for [-5, 5)
    bench.rows((4, "ann", 100), behind=[10])  # too late for both
    bench.watermark(WATERMARK_MAX)
    assert bench.said() == [("ann", -5, 1, 1), ("ann", 0, 2, 11)]
    assert bench.late == [(4, "ann", 100)]


def test_a_window_that_is_kept_for_late_rows_says_what_they_change() -> None:
    bench = Bench(lateness=10)
    bench.rows((3, "ann", 1), (4, "bob", 2))
    bench.watermark(10)
    assert bench.said() == [("ann", 0, 1, 1, 1), ("bob", 0, 1, 2, 1)]
    bench.rows((5, "ann", 3), (12, "ann", 9), behind=[10, None])
    assert bench.said() == [("ann", 0, 1, 1, -1), ("ann", 0, 2, 4, 1)]
    bench.watermark(19)
    bench.rows((5, "cid", 3), behind=[19])
    assert bench.said() == [("cid", 0, 1, 3, 1)]
    bench.watermark(20)
    assert bench.said() == [("ann", 10, 1, 9, 1)]
    bench.rows((5, "ann", 3), behind=[20])
    assert (bench.said(), bench.late) == ([], [(5, "ann", 3)])
    assert bench.out.watermarks == [0, 0, 10]


def test_changes_are_said_with_every_batch() -> None:
    bench = Bench(emit="changes")
    bench.rows((3, "ann", 1), (4, "bob", 2))
    assert bench.said() == [("ann", 0, 1, 1, 1), ("bob", 0, 1, 2, 1)]
    bench.rows((5, "bob", 3))
    assert bench.said() == [("bob", 0, 1, 2, -1), ("bob", 0, 2, 5, 1)]
    bench.rows((25, "bob", 3))
    assert bench.said() == [("bob", 20, 1, 3, 1)]
    bench.watermark(WATERMARK_MAX)
    assert bench.said() == []


def test_early_results_are_said_by_the_wall_clock_if_they_have_changed() -> None:
    bench = Bench(emit=10_000_000)
    bench.rows((3, "ann", 1), (4, "bob", 2))
    bench.advance(4)
    bench.rows((5, "ann", 3))
    bench.fire()
    assert bench.said() == []
    bench.advance(6)
    bench.fire()
    assert bench.said() == [("ann", 0, 2, 4, 1), ("bob", 0, 1, 2, 1)]
    assert bench.timer_us is None
    bench.rows((6, "bob", 5))
    bench.watermark(10)
    assert bench.said() == [("bob", 0, 1, 2, -1), ("bob", 0, 2, 7, 1)]
    bench.advance(10)
    bench.fire()
    assert bench.said() == []


def test_what_late_rows_changed_since_the_clock_was_asked_is_said_before_a_window_is_given_up() -> None:
    bench = Bench(emit=10_000_000, lateness=5)
    bench.rows((3, "ann", 1))
    bench.watermark(10)
    assert bench.said() == [("ann", 0, 1, 1, 1)]
    bench.rows((3, "ann", 2), behind=[12])
    assert bench.said() == []
    bench.watermark(15)
    assert bench.said() == [("ann", 0, 1, 1, -1), ("ann", 0, 2, 3, 1)]


def test_a_row_without_time_is_refused() -> None:
    bench = Bench(on_error="dead_letter")
    bench.rows((None, "ann", 1), (3, "bob", 2), (2**62, "cid", 3))
    bench.watermark(10)
    assert bench.said() == [("bob", 0, 1, 2)]
    (letters,) = bench.out.letters
    assert letters["kind"].to_list() == ["time", "time"]
    assert letters["message"].to_list() == ["the event time at is null", f"the event time at is {2**62}"]
    with pytest.raises(DataError, match="the event time at is null"):
        Bench().rows((None, "ann", 1))
    bench.rows((None, "ann", 1))
    assert bench.said() == []


def test_a_time_whose_window_does_not_fit_the_column_is_refused() -> None:
    least, most = -(2**31), 2**31 - 1
    rows = pl.DataFrame({"at": pl.Series([least, 0, most], dtype=pl.Int32)})
    stream = st.scan_frames([rows], event_time="at", on_error="drop").group_by_dynamic("at", every="10i")
    assert stream.agg(n=pl.len()).collect().rows() == [(0, 1)]


def test_state_is_given_up_with_its_windows() -> None:
    bench = Bench("10i", "20i", emit="changes", lateness=10)
    sizes = []
    for window in range(200):
        rows = ((10 * window + offset, f"user {(window * 1000 + offset) % 307}", 1) for offset in range(10))
        bench.rows(*rows)
        bench.watermark(10 * window)
        sizes.append(bench.operator.state_size())
    assert max(size.rows for size in sizes[50:]) <= max(size.rows for size in sizes[:50])
    assert max(size.bytes for size in sizes[50:]) <= 1.5 * max(size.bytes for size in sizes[:50])
    bench.watermark(WATERMARK_MAX)
    assert bench.operator.state_size().rows == 0


def test_keys_are_forgotten_when_no_window_has_them_any_more() -> None:
    bench = Bench()
    for window in range(10):
        frame = pl.DataFrame({"at": [10 * window] * 50_000, "user": range(50_000), "qty": [1] * 50_000})
        bench.push(frame.with_columns(pl.col("user").cast(pl.String) + f"-{window}"))
        bench.rows((10 * window, "always", window), (10 * window + 10, "always", 1))
        bench.watermark(10 * window + 10)
        said = {row[0]: row[2:] for row in bench.said()}
        assert len(said) == 50_001
        assert said["always"] == ((1, 0) if not window else (2, window + 1))
    assert bench.operator.state_size().bytes < 60_000_000


def test_large_results_come_in_batches_of_the_usual_size() -> None:
    bench = Bench()
    rows = 150_000
    bench.push(pl.DataFrame({"at": [1] * rows, "user": range(rows), "qty": [1] * rows}).cast(SCHEMA))
    bench.watermark(10)
    assert [each.frame.height for each in bench.out.batches] == [65_536, 65_536, 18_928]


def test_a_slice_far_in_the_future_does_not_keep_the_others() -> None:
    bench = Bench()
    bench.rows((1, "ann", 1), (1_000_000, "ann", 1), (12, "ann", 1))
    bench.watermark(20)
    assert bench.operator.state_size().rows <= 3
    assert bench.said() == [("ann", 0, 1, 1), ("ann", 10, 1, 1)]


CLICKS = st.scan_rows(
    [], {"at": pl.Int64, "user": pl.String, "qty": pl.Int64}, event_time="at", name="clicks"
)


def test_golden_steps_through_the_whole_engine() -> None:
    counts = CLICKS.group_by_dynamic("at", every="10i", group_by="user").agg(n=pl.len())
    with Driver(counts) as pipeline:
        pipeline.push(batch("at:i user:s qty:i\n 3 ann 1\n 9 bob 1\n 12 ann 1"))
        (closed,) = pipeline.take()
        assert closed.equals(batch("user:s at:i n:[UInt32]\n ann 0 1\n bob 0 1"))
        pipeline.push(batch("at:i user:s qty:i\n 4 ann 1\n 15 ann 1"))
        assert pipeline.take() == []
    assert [frame.rows() for frame in pipeline.take()] == [[("ann", 10, 2)]]


def test_a_split_that_is_idle_holds_no_window_open() -> None:
    counts = CLICKS.group_by_dynamic("at", every="10i").agg(n=pl.len())
    with Driver(counts, splits={"clicks": ["a", "b"]}) as pipeline:
        pipeline.push(batch("at:i user:s qty:i\n 3 ann 1"), split="a")
        pipeline.advance("20s")
        pipeline.push(batch("at:i user:s qty:i\n 12 ann 1"), split="a")
        assert pipeline.take() == []
        pipeline.advance("20s")
        assert [frame.rows() for frame in pipeline.take()] == [[(0, 1)]]


@pytest.mark.parametrize(
    ("settings_of", "message"),
    [
        ({"index_column": "user"}, "windows close by event time, and that is 'at'; declare 'user' before"),
        ({"index_column": "nothing"}, "column 'nothing' does not exist"),
        ({"index_column": pl.col("at") + 1}, "index_column must be a column"),
        ({"start_by": "datapoint"}, "start_by='datapoint' is not possible"),
        ({"every": "10s"}, "does not fit at, a column of Int64"),
        ({"cumulate": "30i"}, "have the same left end"),
        ({"emit": "never"}, "emit"),
        ({"lateness": "1h"}, "lateness"),
        ({"group_by": "at"}, "the key 'at' has the name of a window's column"),
        ({"group_by": pl.col("qty").sum()}, "group_by"),
        ({"group_by": pl.concat_list("qty")}, "cannot be a key"),
    ],
)
def test_wrong_arguments_are_refused_when_the_verb_is_called(
    settings_of: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        CLICKS.group_by_dynamic(**({"index_column": "at", "every": "10i"} | settings_of))


def test_wrong_aggregates_are_refused() -> None:
    groups = CLICKS.group_by_dynamic("at", every="10i", group_by="user", include_boundaries=True)
    with pytest.raises(PlanError, match="an aggregate is named 'at'"):
        groups.agg(pl.col("at").max())
    with pytest.raises(PlanError, match="an aggregate is named '_lower_boundary'"):
        groups.agg(pl.len().alias("_lower_boundary"))
    with pytest.raises(PlanError, match="give at least one aggregate"):
        groups.agg()
    with pytest.raises(PlanError, match=r"head of a group_by_dynamic is refused: .* use top_k"):
        groups.head()
    with pytest.raises(AttributeError, match="WindowGroups has no method 'sort'"):
        groups.sort()


def test_an_unsigned_event_time_is_to_be_cast() -> None:
    stream = st.scan_rows([], {"at": pl.UInt32}, event_time="at")
    with pytest.raises(PlanError, match="'at' is of dtype UInt32; cast it to Int64 before"):
        stream.group_by_dynamic("at", every="10i")


def test_undeclared_event_time_is_asked_for() -> None:
    stream = st.scan_rows([], {"at": pl.Int64})
    with pytest.raises(PlanError, match=r"the stream has none; declare 'at' before with .with_event_time"):
        stream.group_by_dynamic("at", every="10i")


def test_explain_says_what_bounds_the_state() -> None:
    windows: dict[str, Any] = {
        "every": "10i",
        "period": "20i",
        "group_by": ["user", (pl.col("qty") % 2).alias("odd")],
    }
    text = CLICKS.group_by_dynamic("at", **windows).agg(n=pl.len()).explain()
    assert "group_by_dynamic at, every 10i, period 20i by user, odd (windows over at by user, odd)" in text
    assert "state: one row of values per key and slice of time until the windows over it close" in text
    assert "said when the window closes" in text
    late = CLICKS.group_by_dynamic("at", **windows, lateness=5, emit="10s").agg(pl.col("qty").median())
    assert "all rows, for qty, until the windows over it have been closed for 5 ticks" in late.explain()
    assert "late rows change a window for 5 ticks more" in late.explain()


def test_late_rows_have_the_columns_that_the_user_gave() -> None:
    counts = CLICKS.group_by_dynamic("at", every="10i", group_by=pl.col("qty") % 2).agg(n=pl.len())
    assert counts.late.schema == CLICKS.schema
    with Driver(counts.late) as pipeline:
        pipeline.push(batch("at:i user:s qty:i\n 30 ann 1\n 3 bob 1"))
        assert [frame.rows() for frame in pipeline.take()] == [[(3, "bob", 1)]]
