"""The strategies give what they promise, and importing `streame.testing` does not need Hypothesis."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import find, given, settings
from hypothesis import strategies as hst
from polars.testing import assert_frame_equal

from streame.core.durations import duration_ticks
from streame.core.time import EventTime
from streame.testing import strategies
from tests.examples import examples
from tests.properties.running import rows_of


@given(hst.data())
@settings(max_examples=examples(40))
def test_cuts_are_the_frame_again(data: hst.DataObject) -> None:
    schema = data.draw(strategies.schemas())
    frame = data.draw(strategies.frames(schema))
    assert frame.schema == schema
    cuts = data.draw(strategies.batch_cuts(frame))
    assert_frame_equal(pl.concat(cuts), frame)


@given(hst.data())
@settings(max_examples=examples(20))
def test_keys_meet(data: hst.DataObject) -> None:
    key = {f"k{number}": dtype for number, dtype in enumerate(strategies.KEYS)}
    frame = data.draw(strategies.keyed_frames(key, {"v": pl.Int64()}))
    assert frame.schema == pl.Schema({**key, "v": pl.Int64()})


@given(hst.data())
@settings(max_examples=examples(40))
def test_disorder_stays_within_its_bound(data: hst.DataObject) -> None:
    dtype = data.draw(hst.sampled_from(strategies.TIMES))
    delay = 7 if dtype.is_integer() else "3d" if dtype == pl.Date else "2s500ms"
    ordered = data.draw(strategies.timed_frames({"k": pl.String()}, {"v": pl.Int64()}, dtype=dtype))
    assert ordered.schema == pl.Schema({"at": dtype, "k": pl.String(), "v": pl.Int64()})
    assert ordered["at"].is_sorted()
    mixed = data.draw(strategies.disordered(ordered, "at", delay))
    time = EventTime("at", dtype)
    reached = mixed["at"].to_physical().cum_max() - duration_ticks(delay, time, where="test")
    assert (mixed["at"].to_physical() >= reached).all()
    assert rows_of(mixed) == rows_of(ordered)
    assert rows_of(pl.concat(data.draw(strategies.dealt(mixed, 3)))) == rows_of(ordered)


def test_rows_change_places_even_when_their_times_are_equal() -> None:
    rows = pl.DataFrame({"at": [0, 4, 5, 5], "n": [0, 1, 2, 3]})
    find(strategies.disordered(rows, "at", 4), lambda frame: frame["n"].to_list() == [1, 0, 3, 2])


def test_times_begin_where_they_are_told_to() -> None:
    dtype = pl.Datetime("us", "UTC")
    start = datetime(2024, 3, 31, 1, tzinfo=UTC)
    drawn = strategies.timed_frames({}, {"v": pl.Int64()}, dtype=dtype, start=start, step="1h", steps=2)
    frame = find(
        drawn, lambda frame: frame["at"].n_unique() == 3 and frame["at"].max() == start + timedelta(hours=2)
    )
    assert frame["at"].min() >= start  # type: ignore[operator]


def _has_height(size: int) -> Callable[[list[pl.DataFrame]], bool]:
    return lambda cuts: any(cut.height == size for cut in cuts)


def test_large_frames_are_cut_at_their_edges() -> None:
    frame = strategies.tiled(pl.DataFrame({"n": [1, 2, 3]}), 70_000)
    assert frame["n"].head(4).to_list() == [1, 2, 3, 1]
    for size in (1023, 65_537):
        cuts = find(strategies.batch_cuts(frame), _has_height(size))
        assert sum(cut.height for cut in cuts) == frame.height


def test_hypothesis_is_not_needed_to_drive_a_pipeline() -> None:
    program = "import sys, streame.testing; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
