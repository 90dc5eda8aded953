"""Rows go to the target that owns their key group, in their order."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.core.hashing import key_group, stable_hash
from streame.runtime.partition import Partitioner
from tests.examples import examples

KEY = pl.Schema({"k": pl.String(), "j": pl.Int64()})
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.text("abc", max_size=3)),
        st.one_of(st.none(), st.integers(0, 5)),
        st.integers(),
    )
)


@settings(max_examples=examples(60))
@given(st.lists(ROWS, max_size=5), st.sampled_from([1, 2, 3, 7, 128]), st.sampled_from([1, 5, 1_000_000]))
def test_every_row_goes_where_its_group_belongs(
    batches: list[list[tuple[str | None, int | None, int]]], targets: int, remembered: int
) -> None:
    partitioner = Partitioner(KEY, targets, remembered)
    for batch in batches:
        numbered = [(*key, number) for number, (*key, _) in enumerate(batch)]
        frame = pl.DataFrame(numbered, schema={**KEY, "n": pl.Int64()}, orient="row")
        parts = partitioner.split(frame)
        groups = key_group(stable_hash(frame.select("k", "j"))).astype(int)
        assert len(parts) == targets
        for target, part in enumerate(parts):
            assert part.rows() == frame.filter(pl.Series(groups * targets // 128 == target)).rows()


@pytest.mark.parametrize("targets", [1, 2, 3, 8, 9, 16, 128])
def test_rows_of_one_target_keep_their_order(targets: int) -> None:
    random = np.random.default_rng(5)
    frame = pl.DataFrame({"k": random.integers(0, 700, 40_000), "n": range(40_000)})
    parts = Partitioner(pl.Schema({"k": pl.Int64()}), targets).split(frame)
    groups = key_group(stable_hash(frame.select("k"))).astype(int)
    rows: list[list[tuple[int, int]]] = [[] for _ in range(targets)]
    for group, row in zip(groups.tolist(), frame.rows(), strict=True):
        rows[group * targets // 128].append(row)
    assert [part.rows() for part in parts] == rows


def test_rows_that_lie_in_the_order_of_their_targets_are_shared_out() -> None:
    frame = pl.concat(
        Partitioner(KEY, 5).split(pl.DataFrame({"k": ["a", "b", "c"] * 9, "j": range(27)}, KEY))
    )
    partitioner = Partitioner(KEY, 5)
    for some in (frame, frame[:1], frame[-1:], frame[:0]):
        parts = partitioner.split(some)
        assert len(parts) == 5
        assert pl.concat(parts).equals(some)
        assert all(
            part.equals(found) for part, found in zip(parts, partitioner.split(some[::-1][::-1]), strict=True)
        )


def test_a_key_goes_to_the_same_target_however_it_is_stored() -> None:
    names = [f"user {n}" for n in range(500)]
    plain = pl.DataFrame({"k": names})
    dictionary = plain.cast(pl.Categorical)
    parts = Partitioner(plain.schema, 3).split(plain)
    others = Partitioner(dictionary.schema, 3).split(dictionary)
    assert [part["k"].to_list() for part in parts] == [part["k"].cast(pl.String).to_list() for part in others]
    assert all(100 < part.height < 230 for part in parts)


def test_remembering_stops_at_its_limit() -> None:
    partitioner = Partitioner(pl.Schema({"k": pl.Int64()}), 2, remembered_keys=100)
    random = np.random.default_rng(3)
    for _ in range(20):
        parts = partitioner.split(pl.DataFrame({"k": random.integers(0, 10_000, 64)}))
        assert sum(part.height for part in parts) == 64
    assert 100 <= len(partitioner._index) < 164


@pytest.mark.parametrize("targets", [0, 129])
def test_no_more_targets_than_groups(targets: int) -> None:
    with pytest.raises(AssertionError):
        Partitioner(KEY, targets)
