"""A join of two streams is Polars' join of all their rows, whatever the keys, the cuts and the order."""

from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst

from streame.core.changes import DIFF
from streame.testing import Driver, strategies
from tests.examples import examples
from tests.properties import two_streams
from tests.properties.running import collected, scanned
from tests.properties.test_interval_joins import in_polars

pytestmark = pytest.mark.timeout(600)

HOWS = ("inner", "left", "right", "full", "semi", "anti")
S = 10**9


@hst.composite
def arguments_of_joins(draw: hst.DrawFn, keys: int) -> dict[str, Any]:
    """Arguments of `join`, without `ttl`."""
    names = [f"k{number}" for number in range(keys)]
    renamed = draw(hst.booleans())
    return {
        "left_on": names,
        "right_on": [f"{name}_t" if renamed else name for name in names],
        "how": draw(hst.sampled_from(HOWS)),
        "nulls_equal": draw(hst.booleans()),
        "suffix": draw(hst.sampled_from(["_right", "!"])),
        "coalesce": draw(hst.sampled_from([None, True, False])),
    }


@given(hst.data())
@settings(max_examples=examples(60))
def test_a_join_of_two_streams_gives_what_polars_gives(data: hst.DataObject) -> None:
    dtypes = data.draw(
        hst.lists(hst.sampled_from(list(strategies.KEYS)), min_size=1, max_size=3), label="keys"
    )
    arguments = data.draw(arguments_of_joins(len(dtypes)), label="arguments")
    left = data.draw(
        strategies.keyed_frames(dict(zip(arguments["left_on"], dtypes, strict=True)), {"v": pl.Int64()})
    )
    right = data.draw(
        strategies.keyed_frames(
            dict(zip(arguments["right_on"], dtypes, strict=True)), {"v": pl.String(), "w": pl.Int8()}
        )
    )
    expected = left.join(right, **arguments)
    sides = two_streams.source(left, "left", None), two_streams.source(right, "right", None)
    joined = sides[0].join(sides[1], ttl=None, **arguments)
    assert joined.schema == expected.schema
    batches = data.draw(two_streams.givens(left, right), label="batches")
    order = data.draw(two_streams.orders(batches), label="order")
    for parallelism in (1, 3):
        note(f"{parallelism=}")
        found = two_streams.played(joined, batches, order, parallelism=parallelism)
        assert two_streams.rows_of(found) == two_streams.rows_of(expected)


WIDTHS = [(pl.Int8, pl.Int64), (pl.UInt64, pl.Int64), (pl.Float32, pl.Float64), (pl.Int32, pl.UInt8)]


@pytest.mark.parametrize(("one", "other"), [*WIDTHS, *((other, one) for one, other in WIDTHS)])
@pytest.mark.parametrize("how", HOWS)
def test_keys_of_other_widths(one: Any, other: Any, how: Any) -> None:
    values = [0, 1, 2, 2, 3, 100, None]
    left = pl.DataFrame({"k": pl.Series(values).cast(one), "v": range(7)})
    right = pl.DataFrame(
        {"k": pl.Series([2, 3, 3, 100, None, 7]).cast(other), "w": [["x"], [], None, ["y"], [], []]}
    )
    expected = left.join(right, on="k", how=how)
    joined = scanned([left], "left").join(scanned([right], "right"), on="k", how=how, ttl=None)
    assert joined.schema == expected.schema
    assert two_streams.rows_of(collected(joined, parallelism=3)) == two_streams.rows_of(expected)


def test_changes_with_nested_columns() -> None:
    rows = pl.DataFrame({"k": [1, 2, 1, 1], "v": [1.5, None, 2.5, 3.5]})
    lists = scanned([rows[:2], rows[2:]]).group_by("k").agg("v", s=pl.struct(a=pl.len(), b=pl.col("v").max()))
    others = scanned([rows.select("k")], "others")
    found = collected(others.join(lists, on="k", how="left", ttl=None))
    expected = rows.group_by("k").agg("v", s=pl.struct(a=pl.len(), b=pl.col("v").max()))
    assert two_streams.rows_of(found) == two_streams.rows_of(
        rows.select("k").join(expected, on="k", how="left")
    )


@given(hst.data())
@settings(max_examples=examples(40))
def test_a_time_to_live_is_a_bound_on_how_far_times_are_apart(data: hst.DataObject) -> None:
    arguments = data.draw(arguments_of_joins(1), label="arguments")
    (left_key,), (right_key,) = arguments["left_on"], arguments["right_on"]
    left = data.draw(strategies.timed_frames({left_key: pl.String()}, {"v": pl.Int64()}, steps=12))
    right = data.draw(
        strategies.timed_frames({right_key: pl.String()}, {"v": pl.String()}, time="when", steps=12)
    )
    left, right = data.draw(two_streams.untimely(left, "at")), data.draw(two_streams.untimely(right, "when"))
    seconds = data.draw(hst.sampled_from([0, 1, 5]), label="ttl")
    expected = in_polars(left, right, lower=-seconds * S, upper=seconds * S, **arguments)
    sides = two_streams.source(left, "left", "at"), two_streams.source(right, "right", "when")
    joined = sides[0].join(sides[1], ttl=f"{seconds}s", **arguments)
    batches = data.draw(two_streams.givens(left, right), label="batches")
    order = data.draw(two_streams.orders(batches), label="order")
    for parallelism in (1, 2):
        note(f"{parallelism=}")
        found = two_streams.played(joined, batches, order, parallelism=parallelism)
        assert two_streams.rows_of(found) == two_streams.rows_of(expected.select(found.columns))


@given(hst.data())
@settings(max_examples=examples(40))
def test_event_time_among_the_keys_bounds_a_join(data: hst.DataObject) -> None:
    arguments = data.draw(arguments_of_joins(data.draw(hst.integers(0, 1))), label="arguments")
    key = dict.fromkeys(arguments["left_on"], pl.String()), dict.fromkeys(arguments["right_on"], pl.String())
    left = data.draw(strategies.timed_frames(key[0], {"v": pl.Int64()}, steps=5))
    right = data.draw(strategies.timed_frames(key[1], {"v": pl.String()}, time="when", steps=5))
    left, right = data.draw(two_streams.untimely(left, "at")), data.draw(two_streams.untimely(right, "when"))
    place = data.draw(hst.integers(0, len(key[0])))
    for names, time in ((arguments["left_on"], "at"), (arguments["right_on"], "when")):
        names.insert(place, time)
    arguments["nulls_equal"] = False
    expected = left.join(right, **arguments)
    sides = two_streams.source(left, "left", "at"), two_streams.source(right, "right", "when")
    joined = sides[0].join(sides[1], **arguments)
    assert joined.schema == expected.schema
    assert not joined.node.is_changes
    batches = data.draw(two_streams.givens(left, right), label="batches")
    order = data.draw(two_streams.orders(batches), label="order")
    found = two_streams.played(joined, batches, order, parallelism=data.draw(hst.sampled_from([1, 3])))
    assert two_streams.rows_of(found) == two_streams.rows_of(expected)


AGGS = {"n": pl.len(), "v": pl.col("v").sum(), "top": pl.col("v").max()}


@given(hst.data())
@settings(max_examples=examples(40))
def test_changes_streams_join_as_the_tables_that_they_lead_to(data: hst.DataObject) -> None:
    arguments = data.draw(arguments_of_joins(1), label="arguments")
    (left_key,), (right_key,) = arguments["left_on"], arguments["right_on"]
    values = {"g": pl.Boolean(), "v": pl.Int8()}
    left = data.draw(strategies.keyed_frames({left_key: pl.String()}, values))
    right = data.draw(strategies.keyed_frames({right_key: pl.String()}, values))
    grouped = data.draw(hst.sampled_from([(True, True), (True, False), (False, True)]), label="grouped")
    tables = [
        frame.group_by(key, "g").agg(**AGGS) if is_grouped else frame
        for frame, key, is_grouped in zip((left, right), (left_key, right_key), grouped, strict=True)
    ]
    streams = [
        source.group_by(key, "g", name=f"group {place}").agg(**AGGS) if is_grouped else source
        for place, source, key, is_grouped in zip(
            ("left", "right"),
            (two_streams.source(left, "left", None), two_streams.source(right, "right", None)),
            (left_key, right_key),
            grouped,
            strict=True,
        )
    ]
    expected = tables[0].join(tables[1], **arguments)
    joined = streams[0].join(streams[1], ttl=None, **arguments)
    assert joined.node.is_changes
    batches = data.draw(two_streams.givens(left, right), label="batches")
    order = data.draw(two_streams.orders(batches), label="order")
    for parallelism in (1, 3):
        note(f"{parallelism=}")
        kept_max = sum(table.height for table, is_grouped in zip(tables, grouped, strict=True) if is_grouped)
        found = two_streams.played(joined, batches, order, parallelism=parallelism, kept_max=kept_max)
        assert two_streams.rows_of(found) == two_streams.rows_of(expected)


@given(hst.data())
@settings(max_examples=examples(12))
def test_a_second_join_on_top_of_a_join_that_takes_back(data: hst.DataObject) -> None:
    frames = [
        data.draw(strategies.keyed_frames({"k": pl.String()}, {f"v{number}": pl.Int8()}, max_size=8))
        for number in range(3)
    ]
    hows = data.draw(hst.tuples(*[hst.sampled_from(HOWS)] * 2))
    streams = [
        scanned(data.draw(strategies.batch_cuts(frame)), f"source {number}")
        for number, frame in enumerate(frames)
    ]
    if hows[0] == "full":
        return
    expected = frames[0].join(frames[1], on="k", how=hows[0]).join(frames[2], on="k", how=hows[1])
    first = streams[0].join(streams[1], on="k", how=hows[0], ttl=None)
    found = collected(first.join(streams[2], on="k", how=hows[1], ttl=None), parallelism=3)
    assert two_streams.rows_of(found) == two_streams.rows_of(expected)


@given(hst.data())
@settings(max_examples=examples(16))
def test_verbs_around_a_join_change_nothing(data: hst.DataObject) -> None:
    left, right = (
        data.draw(strategies.keyed_frames({"k": pl.Int64()}, {"v": pl.Int64(), "u": pl.String()}))
        for _ in "lr"
    )
    how: Any = data.draw(hst.sampled_from(HOWS[:4]), label="how")
    predicate = data.draw(
        hst.sampled_from(
            [
                pl.col("v") > 0,
                pl.col("u_right").is_null(),
                pl.col("v_right") < pl.col("v"),
                pl.col("k").is_null(),
            ]
        ),
        label="filter",
    )
    outputs = data.draw(
        hst.lists(hst.sampled_from(["k", "v", "u", "v_right", "u_right"]), min_size=1, unique=True)
    )
    expected = left.join(right, on="k", how=how).filter(predicate).select(outputs)
    streams = [
        scanned(data.draw(strategies.batch_cuts(frame)), name)
        for frame, name in ((left, "left"), (right, "right"))
    ]
    joined = streams[0].join(streams[1], on="k", how=how, ttl=None).filter(predicate).select(outputs)
    for optimized, parallelism in ((True, 1), (False, 1), (True, 3)):
        note(f"{optimized=} {parallelism=}")
        found = collected(joined, optimized=optimized, parallelism=parallelism)
        assert two_streams.rows_of(found) == two_streams.rows_of(expected)


@given(hst.data())
@settings(max_examples=examples(16))
def test_windows_are_joined_on_window_and_key(data: hst.DataObject) -> None:
    key: dict[str, Any] = {"k": pl.String()}
    left, right = (data.draw(strategies.timed_frames(key, {"v": pl.Int8()}, steps=12)) for _ in "lr")
    left, right = (data.draw(strategies.disordered(frame, "at", "4s")) for frame in (left, right))
    how: Any = data.draw(hst.sampled_from(HOWS), label="how")
    said: Any = data.draw(hst.sampled_from(["on_close", "on_close", "changes"]), label="emit")
    windows = [
        source.group_by_dynamic("at", every="3s", group_by="k", name=f"windows of {name}", emit=emit).agg(
            **AGGS
        )
        for name, source, emit in (
            ("left", two_streams.source(left, "left", "at"), said),
            ("right", two_streams.source(right, "right", "at"), "on_close"),
        )
    ]
    tables = [
        frame.sort("at").group_by_dynamic("at", every="3s", group_by="k").agg(**AGGS)
        for frame in (left, right)
    ]
    joined = windows[0].join(windows[1], on=["k", "at"], how=how, nulls_equal=True)
    assert joined.node.is_changes == (said == "changes")
    batches = data.draw(two_streams.givens(left, right), label="batches")
    order = data.draw(two_streams.orders(batches), label="order")
    found = two_streams.played(joined, batches, order, parallelism=data.draw(hst.sampled_from([1, 2])))
    expected = tables[0].join(tables[1], on=["k", "at"], how=how, nulls_equal=True)
    assert two_streams.rows_of(found) == two_streams.rows_of(expected)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_stream_joined_with_itself(how: Any, parallelism: int) -> None:
    rows = pl.DataFrame({"k": [n % 700 for n in range(2_000)], "v": range(2_000)})
    stream = scanned([rows[:900], rows[900:]])
    joined = stream.join(stream, left_on="k", right_on="v", how=how, ttl=None)
    found = collected(joined, parallelism=parallelism, channel_rows=1_000)
    expected = rows.join(rows, left_on="k", right_on="v", how=how)
    assert two_streams.rows_of(found) == two_streams.rows_of(expected)


Event = tuple[str, Any]
ROWS = hst.lists(hst.tuples(hst.sampled_from([None, 1, 2]), hst.integers(0, 9)), min_size=1, max_size=3)
EVENTS: hst.SearchStrategy[list[Event]] = hst.lists(
    hst.one_of(
        hst.tuples(hst.just("left"), ROWS),
        hst.tuples(hst.just("right"), ROWS),
        hst.tuples(hst.just("advance"), hst.integers(1, 6)),
    ),
    max_size=12,
)


@given(EVENTS, hst.sampled_from(HOWS), hst.sampled_from([1, 3]))
@settings(max_examples=examples(40))
def test_without_event_time_rows_live_by_the_wall_clock(
    events: list[Event], how: Any, parallelism: int
) -> None:
    ttl_s = 5
    schema = {"k": pl.Int64(), "v": pl.Int64()}
    empty = pl.DataFrame(schema=schema)
    sides = two_streams.source(empty, "left", None), two_streams.source(empty, "right", None)
    driver = Driver(sides[0].join(sides[1], on="k", how=how, ttl=f"{ttl_s}s"), parallelism=parallelism)
    came: dict[str, list[tuple[int, Any, int]]] = {"left": [], "right": []}
    now_s = 0
    for name, value in events:
        if name == "advance":
            now_s += value
            driver.advance(f"{value}s")
            continue
        driver.push(pl.DataFrame(value, schema=schema, orient="row"), to=name)
        came[name] += [(now_s, *row) for row in value]
    found: Counter[Any] = Counter()
    for frame in driver.take():
        for *row, weight in frame.rows() if DIFF in frame.columns else [(*row, 1) for row in frame.rows()]:
            found[tuple(row)] += weight
    pairs = [
        (one, other)
        for one in came["left"]
        for other in came["right"]
        if one[1] is not None and one[1] == other[1] and abs(one[0] - other[0]) <= ttl_s
    ]
    assert +found == _expected(how, came, pairs)
    driver.advance(f"{ttl_s + 1}s")
    assert sum(stage.operator.state_size().rows for stage in two_streams.joining(driver)) == 0
    driver.close()


def _expected(how: str, came: Any, pairs: Any) -> Counter[Any]:
    """What is said in the end. Rows are told apart by when they came, as equal ones may have other partners."""
    met = {id(row) for pair in pairs for row in pair}
    left = [row for row in came["left"] if id(row) not in met]
    right = [row for row in came["right"] if id(row) not in met]
    both = [(key, one, other) for (_, key, one), (_, _, other) in pairs]
    rows: list[tuple[Any, ...]]
    match how:
        case "inner":
            rows = both
        case "left":
            rows = [*both, *((key, value, None) for _, key, value in left)]
        case "right":
            # The left side's columns without the key, then the right side's.
            rows = [(one, key, other) for key, one, other in both]
            rows += [(None, key, value) for _, key, value in right]
        case "full":
            rows = [(key, one, key, other) for key, one, other in both]
            rows += [(key, value, None, None) for _, key, value in left]
            rows += [(None, None, key, value) for _, key, value in right]
        case "semi":
            rows = [row[1:] for row in came["left"] if id(row) in met]
        case _:
            rows = [(key, value) for _, key, value in left]
    return Counter(rows)
