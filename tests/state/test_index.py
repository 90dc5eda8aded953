"""The key index against a dictionary, with and without collisions."""

import math
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.state.index import Hashes, KeyIndex
from tests.examples import examples

Row = tuple[Any, ...]

SCHEMAS: dict[str, tuple[pl.Schema, Callable[[], st.SearchStrategy[Any]]]] = {
    "integer": (
        pl.Schema({"k": pl.Int64()}),
        lambda: st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)),
    ),
    "unsigned": (
        pl.Schema({"k": pl.UInt64()}),
        lambda: st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1)),
    ),
    "byte": (pl.Schema({"k": pl.Int8()}), lambda: st.integers(-128, 127)),
    "huge": (
        pl.Schema({"k": pl.Int128()}),
        lambda: st.sampled_from([0, 1, 1 << 64, (1 << 64) + 1, -(1 << 100)]),
    ),
    "date": (pl.Schema({"k": pl.Date()}), lambda: st.dates(date(2020, 1, 1), date(2020, 3, 1))),
    "boolean": (pl.Schema({"k": pl.Boolean()}), st.booleans),
    "float": (
        pl.Schema({"k": pl.Float64()}),
        lambda: st.sampled_from([0.0, -0.0, math.nan, -math.nan, math.inf, 1.5]),
    ),
    "text": (pl.Schema({"k": pl.String()}), lambda: st.text("ab\u00e9", max_size=20)),
    "dictionary": (pl.Schema({"k": pl.Categorical()}), lambda: st.text("ab", max_size=4)),
    "binary": (pl.Schema({"k": pl.Binary()}), lambda: st.binary(max_size=2)),
    "decimal": (pl.Schema({"k": pl.Decimal(10, 2)}), lambda: st.decimals(-2, 2, places=2)),
}
HASHES = {
    "one": lambda keys: np.zeros(keys.height, np.uint64),
    "eight": lambda keys: keys.hash_rows().to_numpy() % 8,
    "65536": lambda keys: keys.hash_rows().to_numpy() % 65536 << np.uint64(48),
    "upper bits alike": lambda keys: keys.hash_rows().to_numpy() >> np.uint64(32),
}


def canonical(row: Row) -> Row:
    """A key as a Python dictionary compares it: one NaN, and Python's own -0.0 == 0.0."""
    return tuple("NaN" if isinstance(value, float) and math.isnan(value) else value for value in row)


class Model:
    """The index as a dictionary."""

    def __init__(self) -> None:
        self.known: dict[Row, int] = {}

    def slots(self, keys: pl.DataFrame) -> list[int]:
        return [self.known.setdefault(canonical(row), len(self.known)) for row in keys.rows()]

    def find(self, keys: pl.DataFrame) -> list[int]:
        return [self.known.get(canonical(row), -1) for row in keys.rows()]


def check(index: KeyIndex, model: Model, keys: pl.DataFrame) -> None:
    assert index.find(keys).tolist() == model.find(keys)
    slots = index.slots(keys)
    assert slots.tolist() == model.slots(keys)
    assert index.find(keys).tolist() == slots.tolist()
    assert len(index) == len(model.known)
    stored = index.keys(slots)
    assert [canonical(row) for row in stored.rows()] == [canonical(row) for row in keys.rows()]


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("hashed", [None, "one"])
@settings(max_examples=examples(15))
@given(data=st.data())
def test_like_a_dictionary(name: str, hashed: str | None, data: st.DataObject) -> None:
    schema, values = SCHEMAS[name]
    index, model = KeyIndex(schema, HASHES[hashed] if hashed else None), Model()
    batch = st.lists(st.tuples(st.one_of(st.none(), values())), max_size=30)
    for rows in data.draw(st.lists(batch, max_size=5)):
        check(index, model, pl.DataFrame(rows, schema=schema, orient="row"))


@pytest.mark.parametrize("hashed", [None, *HASHES])
def test_composite_keys_with_collisions_and_growth(hashed: str | None) -> None:
    schema = pl.Schema({"a": pl.String(), "b": pl.Int32(), "c": pl.Float64()})
    index, model = KeyIndex(schema, HASHES[hashed] if hashed else None), Model()
    keys_most = 150 if hashed in {"one", "eight"} else 5000
    random = np.random.default_rng(1)
    for rows in (1, 0, 1023, 1024, 1025, 3000):
        numbers = pl.DataFrame({"n": random.integers(0, keys_most, rows)})
        check(
            index,
            model,
            numbers.select(
                a=pl.when(pl.col("n") % 7 > 0).then(pl.format("key-{}", pl.col("n"))),
                b=pl.when(pl.col("n") % 5 > 0).then((pl.col("n") % 11).cast(pl.Int32)),
                c=pl.when(pl.col("n") % 3 > 0).then(pl.col("n") / 0.0 * (pl.col("n") % 2)).otherwise(-0.0),
            ),
        )


def test_one_batch_that_overfills_the_first_table() -> None:
    keys = pl.DataFrame({"k": np.random.default_rng(2).permutation(50_000)})
    index = KeyIndex(keys.schema)
    assert index.slots(keys).tolist() == list(range(50_000))
    assert index.find(keys[::-1]).tolist() == list(range(50_000))[::-1]


def test_slices_and_chunks() -> None:
    keys = pl.DataFrame({"k": [f"a rather long key {n % 40}" for n in range(200)]})
    chunked = pl.concat([keys[:33], keys[33:34], keys[34:]], rechunk=False)
    index, model = KeyIndex(keys.schema), Model()
    check(index, model, keys[150:])
    check(index, model, chunked)
    check(index, model, chunked[30:40])


def test_null_is_not_zero() -> None:
    index = KeyIndex(pl.Schema({"k": pl.Int64()}))
    zero, null = (pl.DataFrame({"k": [value]}, schema={"k": pl.Int64()}) for value in (0, None))
    assert index.slots(zero).tolist() == [0]
    assert index.find(null).tolist() == [-1]
    assert index.slots(null).tolist() == [1]
    assert index.slots(zero).tolist() == [0]


def test_names_of_asked_columns_do_not_matter() -> None:
    index = KeyIndex(pl.Schema({"k": pl.String()}))
    index.slots(pl.DataFrame({"other": ["x"]}))
    assert index.keys(np.array([0, -1])).to_dict(as_series=False) == {"k": ["x", None]}


def test_memory_grows_with_the_keys() -> None:
    index = KeyIndex(pl.Schema({"k": pl.Int64()}))
    before = index.memory_bytes
    index.slots(pl.DataFrame({"k": range(100_000)}))
    assert 1_000_000 < index.memory_bytes - before < 5_000_000


def equal_hashes(keys: pl.DataFrame) -> Hashes:
    return np.full(keys.height, 2**64 - 1, np.uint64)


def test_search_goes_round_the_end_of_the_table() -> None:
    keys = pl.DataFrame({"k": range(100)})
    index = KeyIndex(keys.schema, equal_hashes)
    index.slots(keys)
    assert index.find(keys).tolist() == list(range(100))
