"""A join with a table is Polars' join with the last row of every key, whatever the keys and the cuts."""

import polars as pl
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst

import streame as st
from streame.testing import strategies
from tests.examples import examples
from tests.properties.running import collected, rows_of, scanned

pytestmark = pytest.mark.timeout(600)


@given(hst.data())
@settings(max_examples=examples(80))
def test_a_join_gives_what_polars_gives(data: hst.DataObject) -> None:
    dtypes = data.draw(hst.lists(hst.sampled_from(list(strategies.KEYS)), min_size=1, max_size=3))
    left_key = {f"k{number}": dtype for number, dtype in enumerate(dtypes)}
    renamed = data.draw(hst.booleans())
    right_key = {f"{name}_t" if renamed else name: dtype for name, dtype in left_key.items()}
    left = data.draw(strategies.keyed_frames(left_key, {"v": pl.Int64()}), label="stream")
    right = data.draw(strategies.keyed_frames(right_key, {"v": pl.String(), "w": pl.Int8()}), label="table")
    settings_of = {
        "left_on": list(left_key),
        "right_on": list(right_key),
        "how": data.draw(hst.sampled_from(["inner", "left"]), label="how"),
        "nulls_equal": data.draw(hst.booleans(), label="nulls_equal"),
        "suffix": data.draw(hst.sampled_from(["_right", "!"])),
        "coalesce": data.draw(hst.sampled_from([None, True, False]), label="coalesce"),
    }
    last = right.unique(list(right_key), keep="last", maintain_order=True)
    expected = left.join(last, **settings_of)  # type: ignore[arg-type]
    order = data.draw(hst.permutations(list(right_key)))
    stream = scanned(data.draw(strategies.batch_cuts(left)), "stream")
    table = scanned(data.draw(strategies.batch_cuts(right)), "table").as_table(order)
    joined = stream.join(table, **settings_of)  # type: ignore[arg-type]
    assert joined.schema == expected.schema
    for optimized, parallelism in ((True, 1), (False, 3)):
        note(f"{optimized=} {parallelism=}")
        found = collected(joined, optimized=optimized, parallelism=parallelism)
        assert found.schema == expected.schema
        assert rows_of(found) == rows_of(expected)


@given(hst.data())
@settings(max_examples=examples(16))
def test_verbs_around_a_join_change_nothing(data: hst.DataObject) -> None:
    key = {"k": pl.Int64()}
    left = data.draw(strategies.keyed_frames(key, {"v": pl.Int64(), "u": pl.String()}), label="stream")
    right = data.draw(strategies.keyed_frames(key, {"v": pl.Int64(), "w": pl.Int64()}), label="table")
    how = data.draw(hst.sampled_from(["inner", "left"]), label="how")
    predicate = data.draw(hst.sampled_from([pl.col("v") > 0, pl.col("w").is_null(), pl.col("v_right") < pl.col("v"),
                                            pl.col("k").is_null(), pl.col("k") == 1]), label="filter")  # fmt: skip
    outputs = data.draw(hst.lists(hst.sampled_from(["k", "v", "u", "w", "v_right"]), min_size=1, unique=True))
    last = right.unique("k", keep="last", maintain_order=True)
    expected = left.join(last, on="k", how=how).filter(predicate).select(outputs)  # type: ignore[arg-type]
    stream = scanned(data.draw(strategies.batch_cuts(left)), "stream")
    table = scanned(data.draw(strategies.batch_cuts(right)), "table").as_table("k")
    joined = stream.join(table, on="k", how=how).filter(predicate).select(outputs)  # type: ignore[arg-type]
    for optimized, parallelism in ((True, 1), (False, 1), (True, 3)):
        note(f"{optimized=} {parallelism=}")
        found = collected(joined, optimized=optimized, parallelism=parallelism)
        assert found.schema == expected.schema
        assert rows_of(found) == rows_of(expected)


def test_a_stream_joined_with_itself() -> None:
    rows = pl.DataFrame({"k": [n % 100 for n in range(200_000)], "v": range(200_000)})
    stream = scanned([rows])
    last = rows.unique("k", keep="last", maintain_order=True)
    found = collected(stream.join(stream.as_table("k"), on="k"), channel_rows=1_000)
    assert rows_of(found) == rows_of(rows.join(last, on="k"))


def test_two_streams_that_are_each_others_table() -> None:
    a = pl.DataFrame({"k": range(100_000), "v": range(100_000)})
    b = pl.DataFrame({"k": range(0, 100_000, 2), "w": range(50_000)})
    left, right = scanned([a], "a"), scanned([b], "b")
    one = left.join(right.as_table("k"), on="k").select("k", "v", "w")
    other = right.join(left.as_table("k"), on="k", name="the other").select("k", "v", "w")
    both = st.concat([one, other])
    found = collected(both, channel_rows=1_000)
    assert rows_of(found) == rows_of(pl.concat([a.join(b, on="k")] * 2))
