"""The latest rows by slot, their keys, and what is forgotten."""

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.core.metrics import StateSize
from streame.state.latest import LatestRows
from streame.state.shared_keys import SharedKeys
from streame.state.table import Table
from tests.examples import examples

SCHEMA = pl.Schema({"n": pl.Int64()})
KEYS = pl.Schema({"k": pl.Int64()})


def keys_of(keys: Any) -> pl.DataFrame:
    return pl.DataFrame({"k": keys}, schema=KEYS)


def test_keys_that_nobody_holds_are_forgotten() -> None:
    latest = LatestRows(SCHEMA)
    keys = SharedKeys(KEYS, [latest])
    sizes = []
    for start in range(0, 1_000_000, 10_000):
        numbers = np.arange(start, start + 10_000)
        slots = keys.slots(keys_of(numbers))
        latest.put(slots, pl.DataFrame({"n": numbers}), numbers)
        latest.expire(start)
        keys.settle()
        known = keys.find(keys_of(numbers[:2]))
        found, times = latest.lookup(known)
        assert latest.gather(found)["n"].to_list() == times.tolist() == [start, start + 1]
        sizes.append(keys.size)
    assert max(size.rows for size in sizes) <= 30_000
    assert max(size.bytes for size in sizes) < 4_000_000
    latest.remove(latest.live_slots())
    keys.settle()
    assert keys.size.rows == 0


def test_an_empty_store() -> None:
    latest = LatestRows(SCHEMA)
    assert latest.size.rows == 0
    assert latest.lookup(np.array([-1, 0, 7], np.int32))[0].tolist() == [-1, -1, -1]
    assert isinstance(latest.size, StateSize)


CHANGES = st.lists(
    st.lists(st.tuples(st.sampled_from([1, 1, -1]), st.integers(0, 2), st.integers(0, 2)), max_size=6),
    max_size=8,
)


@settings(max_examples=examples(200))
@given(CHANGES)
def test_a_row_that_is_taken_back_leaves_if_it_is_the_latest(
    batches: list[list[tuple[int, int, int]]],
) -> None:
    table, model = Table(KEYS, SCHEMA), dict[int, int]()
    for batch in batches:
        weights, keys, values = ([row[part] for row in batch] for part in range(3))
        table.change(keys_of(keys), pl.DataFrame({"n": values}, schema=SCHEMA), np.array(weights, np.int64))
        for weight, key, value in batch:
            if weight > 0:
                model[key] = value
            elif model.get(key) == value:
                del model[key]
        found = table.gather(table.lookup(keys_of(range(3))))["n"].to_list()
        assert found == [model.get(key) for key in range(3)]
        assert len(table) == len(model)
