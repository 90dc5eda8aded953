"""Bad input of the verbs over time: a dead letter or one clear error each, and nothing else is lost."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.testing import Driver, batch

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
Frame = st.StreamDataFrame


def timed(rows: pl.DataFrame, name: str = "rows", **settings: Any) -> Frame:
    """A stream of rows with the event time `at`."""
    return st.scan_frames([rows], name=name, event_time="at", **settings)


def at(*seconds: float | None, zone: str = "UTC") -> pl.Series:
    """Times so many seconds after noon."""
    times = [None if each is None else NOON + timedelta(seconds=each) for each in seconds]
    return pl.Series("at", times, pl.Datetime("us", "UTC")).dt.convert_time_zone(zone)


VERBS: dict[str, Any] = {
    "group_by_dynamic": lambda rows: rows.group_by_dynamic("at", every="1m").agg(n=pl.len()),
    "hopping": lambda rows: rows.group_by_dynamic("at", every="1s", period="1h").agg(n=pl.len()),
    "group_by_session": lambda rows: rows.group_by_session("at", gap="1m").agg(n=pl.len()),
    "rolling": lambda rows: rows.rolling("at", period="1m").agg(n=pl.len()),
    "join_interval": lambda rows: rows.join_interval(rows, lower="0s", upper="1s"),
    "join_asof": lambda rows: rows.join_asof(rows, on="at"),
    "unique": lambda rows: rows.unique("at", within="1m"),
}


LINES = """{"at": "2024-05-01T12:00:01", "v": 1}
{"at": "noon", "v": 2}
{"at": null, "v": 3}
{"v": 4}
{"at": "2024-05-01T12:00:59.5", "v": 5}
{"at": 7, "v": 6}
{"at": "2024-13-01T00:00:00", "v": 7}
"""


def test_times_that_cannot_be_read_are_dead_letters_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "rows.ndjson").write_text(LINES)
    schema = {"at": pl.Datetime("us"), "v": pl.Int64}
    rows = st.scan_ndjson(
        tmp_path / "rows.ndjson", schema, event_time="at", required=["at"], on_error="dead_letter"
    )
    counts = rows.group_by_dynamic("at", every="1m").agg(v=pl.col("v").sum())
    assert counts.collect()["v"].to_list() == [6]
    kinds = rows.rejected.select("offset", "kind").collect()
    assert sorted(kinds["kind"]) == ["null", "null", "type", "type", "type"]


BY_KEY: dict[str, Any] = {
    "group_by_dynamic": lambda rows: rows.group_by_dynamic("at", every="1m", group_by="k").agg(n=pl.len()),
    "group_by_session": lambda rows: rows.group_by_session("at", gap="1m", group_by="k").agg(n=pl.len()),
    "rolling": lambda rows: rows.rolling("at", period="1m", group_by="k").agg(n=pl.len()),
    "unique": lambda rows: rows.unique(["k"], within="1m"),
}


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("verb", BY_KEY)
def test_a_null_time_is_a_dead_letter_with_its_place_however_many_instances_there_are(
    verb: str, parallelism: int, tmp_path: Path
) -> None:
    frames = [
        pl.DataFrame({"at": at(*times), "k": range(3)}) for times in ((1, None, 2), (None, 3, 4), (5, 6, 7))
    ]
    rows = st.scan_frames(frames, name="rows", event_time="at", on_error="dead_letter")
    job = st.job([BY_KEY[verb](rows).sink_ndjson(tmp_path / "out.ndjson", name="out")])
    job.run(errors=tmp_path / "errors", parallelism=parallelism)
    letters = pl.read_ndjson(tmp_path / "errors" / "*.ndjson")
    assert set(letters.select("source", "offset").rows()) == {("rows", 1), ("rows", 3)}


def test_a_null_time_is_a_dead_letter_of_the_verb_that_needs_one() -> None:
    rows = pl.DataFrame([at(1, None, 3), pl.Series("v", [1, 2, 3])])
    for verb in ("group_by_dynamic", "group_by_session", "rolling"):
        with Driver(VERBS[verb](timed(rows, on_error="dead_letter"))) as driver:
            driver.push(rows)
            assert driver.rejected().select("offset", "kind").rows() == [(1, "time")]
        assert sum(frame["n"].sum() for frame in driver.take()) > 0


@pytest.mark.parametrize("verb", VERBS)
def test_times_centuries_away_cost_nothing_and_take_nobody_with_them(verb: str) -> None:
    good = pl.DataFrame([at(*range(100)), pl.Series("v", range(100))])
    far = [datetime(1, 1, 1, tzinfo=UTC), datetime(1600, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), datetime(2190, 1, 1, tzinfo=UTC)]  # fmt: skip
    bad = pl.DataFrame({"at": pl.Series(far, dtype=pl.Datetime("us", "UTC")), "v": [-1] * 4})
    mixed = pl.concat([good[:1], bad, good[1:50], bad, good[50:]])
    expected = VERBS[verb](timed(good)).collect()
    began = time.perf_counter()
    stream = VERBS[verb](timed(mixed, on_error="dead_letter"))
    assert sorted(stream.collect().rows()) == sorted(expected.rows())
    assert time.perf_counter() - began < 10
    letters = timed(mixed, on_error="dead_letter").rejected.collect()
    assert letters["kind"].to_list() == ["time"] * 8
    assert letters["offset"].to_list() == [1, 2, 3, 4, 54, 55, 56, 57]
    with pytest.raises(
        st.DataError, match=r"the event time 0001-01-01 .* at source 'rows', split 'frames', offset 1"
    ):
        VERBS[verb](timed(mixed)).collect()


@pytest.mark.parametrize("emit", ["on_close", "changes"])
def test_integer_times_far_apart_open_no_windows_between_them(emit: str) -> None:
    ticks = [0, 5, 2**40, 2**61, 2**61 + 3]
    rows = pl.DataFrame({"at": ticks, "v": [1, 2, 3, 4, 5]})
    windows = (
        timed(rows).group_by_dynamic("at", every="10i", period="30i", emit=emit).agg(v=pl.col("v").sum())
    )
    began = time.perf_counter()
    assert windows.collect()["v"].sum() == 3 * 15
    assert time.perf_counter() - began < 5
    sessions = timed(rows).group_by_session("at", gap="10i", emit=emit).agg(v=pl.col("v").sum())
    assert sorted(sessions.collect()["v"]) == [3, 3, 9]


def test_too_many_windows_per_row_are_refused_when_the_pipeline_is_built() -> None:
    rows = pl.DataFrame([at(1)])
    with pytest.raises(st.PlanError, match=r"at most 10,000 are possible"):
        timed(rows).group_by_dynamic("at", every="1ms", period="1d")


ONE, OTHER = (
    pl.DataFrame([at(0, 10), pl.Series("v", [1, 2])]),
    pl.DataFrame([at(1, 11, zone="Asia/Tokyo"), pl.Series("w", [3, 4])]),
)


@pytest.mark.parametrize(
    "join",
    [
        lambda one, other: one.join_asof(other, left_on="at", right_on="at", strategy="forward"),
        lambda one, other: one.join_interval(other, lower="0s", upper="5s"),
    ],
    ids=["asof", "interval"],
)
def test_times_of_different_zones_meet_as_moments_or_are_refused(join: Any) -> None:
    """Tokyo's noon is not London's; either the moment counts, or the error says that zones differ."""
    try:
        joined = join(timed(ONE), timed(OTHER, "other"))
    except st.PlanError as error:
        assert "Asia/Tokyo" in str(error)  # noqa: PT017 - either is an answer
        return
    assert sorted(joined.collect().select("v", "w").rows()) == [(1, 3), (2, 4)]


def test_times_of_different_zones_are_not_concatenated() -> None:
    with pytest.raises(st.PlanError, match="Asia/Tokyo"):
        st.concat([timed(ONE), timed(OTHER.rename({"w": "v"}), "other")])


def test_a_time_with_a_zone_and_one_without_are_not_compared() -> None:
    naive = ONE.with_columns(pl.col("at").dt.replace_time_zone(None))
    with pytest.raises(st.PlanError, match=r"(?i)zone|dtype|Datetime"):
        timed(ONE).join_asof(timed(naive, "naive"), on="at")


KEYS = ["x" * 1_000_000, "y" * 1_000_000, "x" * 999_999 + "y", None]
LARGE = pl.DataFrame([at(*range(8)), pl.Series("k", KEYS * 2), pl.Series("v", range(8))])

KEYED: dict[str, Any] = {
    "group_by": lambda rows, other: rows.group_by("k").agg(pl.col("v").sum()),
    "group_by_dynamic": lambda rows, other: rows.group_by_dynamic("at", every="1h", group_by="k").agg(pl.col("v").sum()),
    "group_by_session": lambda rows, other: rows.group_by_session("at", gap="1h", group_by="k").agg(pl.col("v").sum()),
    "unique": lambda rows, other: rows.unique("k"),
    "top_k": lambda rows, other: rows.group_by("k").top_k(1, by="v"),
    "join": lambda rows, other: rows.join(other, on="k", ttl=None),
    "join_interval": lambda rows, other: rows.join_interval(other, on="k", lower="-1h", upper="1h"),
    "join_asof": lambda rows, other: rows.join_asof(other, on="at", by="k"),
}  # fmt: skip

ROWS = {"join": 12, "join_interval": 12, "join_asof": 8}


@pytest.mark.parametrize("verb", KEYED)
def test_keys_of_a_megabyte(verb: str) -> None:
    stream = KEYED[verb](timed(LARGE), timed(LARGE.rename({"v": "w"}), "other"))
    with Driver(stream, parallelism=2) as driver:
        driver.push(LARGE, to="rows")
        if len(driver._sources) > 1:
            driver.push(LARGE.rename({"v": "w"}), to="other")
    found = pl.concat(driver.take())
    assert found["k"].n_unique() == (3 if verb in {"join", "join_interval"} else 4)
    assert found.height == ROWS.get(verb, 4)


def raises(rows: pl.DataFrame, state: int, group: st.Group) -> tuple[pl.DataFrame, int]:
    if (rows["v"] == 2).any():
        raise ValueError("two is a crowd")
    return rows, state + 1


def returns_text(rows: pl.DataFrame, state: int, group: st.Group) -> tuple[pl.DataFrame, int]:
    return rows.with_columns(pl.col("v").cast(pl.String)), state


def returns_rows_only(rows: pl.DataFrame, state: int, group: st.Group) -> Any:
    return rows


GROUPED = batch("k:s v:i\n a 1\n b 2\n a 3\n c 4")


def with_state(function: Any, on_error: Any = "dead_letter") -> Frame:
    rows = st.scan_frames([], schema=GROUPED.schema, on_error=on_error)
    return rows.group_by("k").map_with_state(function, state=0, schema=GROUPED.schema, ttl=None)


def test_a_function_with_state_that_raises_loses_only_its_group() -> None:
    with Driver(with_state(raises)) as driver:
        driver.push(GROUPED)
        letters = driver.rejected()
        assert letters.select("kind", "offset").rows() == [("compute", 1)]
        assert "ValueError: two is a crowd" in letters["message"][0]
    assert sorted(pl.concat(driver.take())["v"]) == [1, 3, 4]


@pytest.mark.parametrize("function", [returns_text, returns_rows_only])
def test_a_function_that_returns_something_else_ends_the_job_with_its_name(function: Any) -> None:
    with (
        pytest.raises(st.StreameError, match="map_with_state") as error,
        Driver(with_state(function)) as driver,
    ):
        driver.push(GROUPED)
    assert "v" in str(error.value) or "pair" in str(error.value)


def test_a_function_of_batches_with_a_wrong_schema_is_one_clear_error() -> None:
    stream = timed(pl.DataFrame([at(1), pl.Series("v", [1])])).map_batches(lambda rows: rows.drop("v"))
    with pytest.raises(st.DataError, match="map_batches"):
        stream.with_event_time("at").group_by_dynamic("at", every="1m").agg(n=pl.len()).collect()
