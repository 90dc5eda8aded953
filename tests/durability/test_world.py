"""A job that crashes at any checkpoint gives what it would have given."""

import polars as pl
import pytest

import streame as st
from tests.durability.world import World
from tests.jobs.fakes import Numbers


def numbers(count: int) -> st.StreamDataFrame:
    return st.scan(Numbers(count, size=10), name="numbers")


@pytest.mark.parametrize("crash", [-1, 1, 2, -2, 3])
def test_rows_are_neither_lost_nor_doubled(crash: int) -> None:
    world = World()
    frames = {"out": numbers(1_000).filter(pl.col("n") % 2 == 0)}
    ended = world.run(frames, parallelism=1, crash_at=lambda number: number == crash)
    while not ended:
        frames = {"out": numbers(1_000).filter(pl.col("n") % 2 == 0)}
        ended = world.run(frames, parallelism=1)
    rows = world.shelves["out"].rows(pl.Schema({"n": pl.Int64}), folds=False)
    assert rows["n"].to_list() == list(range(0, 1_000, 2))
