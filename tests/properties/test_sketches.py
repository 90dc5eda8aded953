"""Sketches: exact where groups are small, near where they are large, and the same however their rows came."""

from math import isnan
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.api.sketches import ApproxNUnique, ApproxQuantile
from streame.core.user_aggregates import Aggregate
from streame.errors import PlanError
from streame.testing import strategies
from tests.examples import examples
from tests.properties.running import collected, scanned

ROWS = 200_000


def state_of(aggregate: Aggregate, *parts: pl.Series) -> Any:
    """The state after all parts, each of them added by itself and then merged."""
    state = aggregate.create()
    for part in parts:
        state = aggregate.merge(state, aggregate.add(aggregate.create(), part))
    return state


def finished(aggregate: Aggregate, state: Any) -> Any:
    """The result of a state."""
    return aggregate.finish(state)


@given(hst.data())
@settings(max_examples=examples(24))
def test_few_values_are_counted_exactly(data: hst.DataObject) -> None:
    dtype = data.draw(
        hst.sampled_from([*strategies.KEYS, pl.Decimal(10, 2), pl.Int128(), pl.UInt64(), pl.Time()])
    )
    if dtype in strategies.KEYS:
        rows = data.draw(strategies.keyed_frames({"v": dtype, "k": pl.Boolean()}, {"x": pl.Int8()}))
    else:
        rows = data.draw(strategies.frames({"v": dtype, "k": pl.Boolean()}))
    stream = scanned(data.draw(strategies.batch_cuts(rows)))
    both = stream.group_by("k").agg(near=st.approx_n_unique("v"), n=pl.col("v").n_unique())
    assert both.schema["near"] == both.schema["n"] == pl.UInt32
    for parallelism in (1, 3):
        found = collected(both, parallelism=parallelism)
        assert found["near"].to_list() == found["n"].to_list()


@pytest.mark.parametrize("count", [2_000, 20_000, 200_000])
@pytest.mark.parametrize("precision", [10, 12, 14])
def test_many_values_are_counted_nearly(count: int, precision: int) -> None:
    aggregate = ApproxNUnique("v", precision)
    error = 1.04 / np.sqrt(2**precision)
    values = pl.Series(range(count)).cast(pl.String)
    found = finished(aggregate, aggregate.add(aggregate.create(), values))
    assert abs(found / count - 1) < 3 * error


@given(hst.data())
@settings(max_examples=examples(8))
def test_a_count_depends_on_the_set_of_values_alone(data: hst.DataObject) -> None:
    rng = np.random.default_rng(data.draw(hst.integers(0, 9)))
    values = pl.Series(rng.integers(0, data.draw(hst.sampled_from([50, 3_000, 10**6])), 20_000))
    aggregate = ApproxNUnique("v", data.draw(hst.sampled_from([7, 12])))
    whole = finished(aggregate, aggregate.add(aggregate.create(), values))
    mixed = values.sample(fraction=1.0, shuffle=True, seed=1)
    ends = sorted(data.draw(hst.lists(hst.integers(0, 20_000), max_size=4)))
    parts = [mixed[start:end] for start, end in zip([0, *ends], [*ends, 20_000], strict=True)]
    state = state_of(aggregate, *parts)
    assert finished(aggregate, state) == whole
    assert finished(aggregate, aggregate.decode(aggregate.encode(state))) == whole


def test_null_and_the_empty_text_are_values() -> None:
    rows = pl.DataFrame({"v": ["", None, "a", "", None], "k": [1, 1, 1, 2, 3]})
    found = st.scan_frames([rows]).group_by("k").agg(n=st.approx_n_unique("v")).collect()
    assert sorted(found.rows()) == [(1, 3), (2, 1), (3, 1)]


SHAPES: dict[str, Any] = {
    "uniform": lambda rng: rng.random(ROWS),
    "lognormal": lambda rng: rng.lognormal(size=ROWS),
    "rising": lambda rng: np.arange(ROWS, dtype=float),
    "falling": lambda rng: -np.arange(ROWS, dtype=float),
    "few values": lambda rng: rng.integers(0, 20, ROWS).astype(float),
    "two hills": lambda rng: np.where(
        rng.random(ROWS) < 0.5, rng.normal(0, 1, ROWS), rng.normal(1000, 1, ROWS)
    ),
    "far tails": lambda rng: np.exp(rng.normal(0, 20, ROWS)),
    "from both ends": lambda rng: np.where(
        np.arange(ROWS) % 2, np.arange(ROWS) / 2, ROWS - np.arange(ROWS) / 2
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("merged", [1, 50])
def test_a_quantile_is_near(shape: str, merged: int) -> None:
    values = SHAPES[shape](np.random.default_rng(7))
    ordered = np.sort(values)
    parts = [pl.Series(part) for part in np.array_split(values, merged)]
    for quantile in (0.0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0):
        aggregate = ApproxQuantile("v", quantile, 500)
        found = finished(aggregate, state_of(aggregate, *parts))
        low, high = (np.searchsorted(ordered, found, side) / ROWS for side in ("left", "right"))
        bound = 0.001 if min(quantile, 1 - quantile) <= 0.011 else 0.01
        assert low - bound <= quantile <= high + bound, (quantile, found)


@given(hst.lists(hst.floats() | hst.none(), max_size=40), hst.floats(0, 1))
@settings(max_examples=examples(40))
def test_a_quantile_of_few_values_is_one_of_them(values: list[float | None], quantile: float) -> None:
    aggregate = ApproxQuantile("v", quantile, 500)
    column = pl.Series(values, dtype=pl.Float64)
    found = (
        finished(aggregate, aggregate.add(aggregate.create(), column))
        if values
        else finished(aggregate, aggregate.create())
    )
    kept = sorted(value for value in values if value is not None and not isnan(value))
    if not kept:
        assert found is None
        return
    low, high = (np.searchsorted(kept, found, side) / len(kept) for side in ("left", "right"))
    assert low - 1e-9 <= quantile + 1 / len(kept)
    assert quantile - 1 / len(kept) <= high + 1e-9
    assert found in kept


def test_asking_early_changes_nothing() -> None:
    values = np.random.default_rng(3).lognormal(size=30_000)
    aggregate = ApproxQuantile("v", 0.5, 100)
    quiet, asked = aggregate.create(), aggregate.create()
    for part in np.array_split(values, 77):
        column = pl.Series(part)
        quiet, asked = aggregate.add(quiet, column), aggregate.add(asked, column)
        finished(aggregate, asked)
        aggregate.encode(asked)
        aggregate.merge(aggregate.create(), asked)
    assert finished(aggregate, quiet) == finished(aggregate, asked)
    again = aggregate.decode(aggregate.encode(asked))
    assert abs((values < finished(aggregate, again)).mean() - 0.5) < 0.05


@given(hst.data())
@settings(max_examples=examples(8))
def test_the_cut_of_batches_does_not_matter(data: hst.DataObject) -> None:
    rows = pl.DataFrame({"k": [n % 3 for n in range(5_000)], "v": [(n * 7919) % 5_003 for n in range(5_000)]})
    near = [st.approx_quantile("v", q).alias(f"q{q}") for q in (0.1, 0.5, 0.99)]
    whole = collected(scanned([rows]).group_by("k").agg(*near)).sort("k")
    cut = scanned(data.draw(strategies.batch_cuts(rows))).group_by("k").agg(*near)
    for parallelism in (1, 3):
        assert collected(cut, parallelism=parallelism).sort("k").equals(whole)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: st.approx_n_unique("v", precision=3), "approx_n_unique: precision=3 is not possible"),
        (lambda: st.approx_quantile("v", 1.5), "approx_quantile: quantile=1.5 is not possible"),
        (lambda: st.approx_quantile("v", float("nan")), "quantile=nan is not possible"),
        (lambda: st.approx_quantile("v", 0.5, size=1), "size=1 is not possible"),
    ],
)
def test_wrong_arguments_are_refused(make: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make()


def test_columns_that_do_not_fit_are_refused() -> None:
    rows = st.scan_frames([pl.DataFrame({"k": [1], "s": ["a"], "l": [[1]]})])
    with pytest.raises(
        PlanError, match="ApproxQuantile: the quantile of a column of dtype String is not possible"
    ):
        rows.group_by("k").agg(st.approx_quantile("s", 0.5))
    with pytest.raises(PlanError, match=r"ApproxNUnique: values of dtype List\(Int64\) cannot be counted"):
        rows.group_by("k").agg(st.approx_n_unique("l"))


def test_without_the_library_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streame.api.sketches.datasketches", None)
    with pytest.raises(PlanError, match=r"pip install 'streame\[sketches\]'"):
        st.approx_n_unique("v")
