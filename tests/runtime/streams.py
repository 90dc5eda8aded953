"""Random rows of a few users, with what happens between them, for operators that are stepped by hand."""

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import polars as pl

import streame as st
from streame.core.hidden import BEHIND, POSITION, WEIGHT
from streame.core.positions import POSITION_DTYPE
from streame.core.time import WATERMARK_MAX
from tests.runtime.steps import End, Mark, Pass, Push, Step

SCHEMA = pl.Schema(
    {
        "at": pl.Int64(), "user": pl.String(), "odd": pl.Boolean(), "qty": pl.Int64(), "price": pl.Float64(),
        "item": pl.String(), "tags": pl.List(pl.Int64()),
    }
)  # fmt: skip


class Numbers(st.Aggregate):
    """All numbers of a column in order; the state is a list that is changed in place."""

    dtype = pl.List(pl.Int64)

    def create(self) -> list[int]:
        return []

    def add(self, state: list[int], column: pl.Series) -> list[int]:
        state += column.drop_nulls().to_list()
        return state

    def retract(self, state: list[int], column: pl.Series) -> list[int]:
        """Take rows back."""
        for value in column.drop_nulls().to_list():
            state.remove(value)
        return state

    def merge(self, state: list[int], other: list[int]) -> list[int]:
        return state + other

    def finish(self, state: list[int]) -> list[int]:
        return sorted(state)


def rows(random: Random, height: int, *, since: int = 0, spread: int = 20) -> pl.DataFrame:
    """Some rows, at times that lie close to each other."""

    def some(values: Sequence[Any], null: float = 0.1) -> list[Any]:
        return [None if random.random() < null else random.choice(values) for _ in range(height)]

    prices = [0.1, 0.25, 1e16, -1e16, 3.0, float("nan"), float("inf"), -0.0]
    return pl.DataFrame(
        {
            "at": [since + random.randrange(spread) for _ in range(height)],
            "user": some([f"user {number}" for number in range(random.choice([3, 30]))]),
            "odd": some([True, False]),
            "qty": some([1, 2, 3, -5, 2**62, 2**40]),
            "price": some(prices[: random.choice([2, 5, 8])]),
            "item": some(["tea", "mug", "a pot that is longer than the texts that lie in a view"]),
            "tags": some([[], [1], [1, 2]]),
        },
        SCHEMA,
    )


def with_behind(random: Random, frame: pl.DataFrame, watermark: int) -> pl.DataFrame:
    """Some rows are behind what their own split had reached."""
    marks = [
        random.randrange(at + 1, at + 30) if random.random() < 0.2 or at < watermark else None
        for at in frame["at"].to_list()
    ]
    return frame.with_columns(pl.Series(BEHIND, marks, dtype=pl.Int64))


def with_positions(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    """Rows of two splits."""
    offsets = np.arange(first, first + frame.height)
    positions = [{"source": "s", "split": f"part {each % 2}", "offset": each} for each in offsets.tolist()]
    return frame.with_columns(pl.Series(POSITION, positions, dtype=POSITION_DTYPE))


def weighted(random: Random, frame: pl.DataFrame, there: list[pl.DataFrame]) -> pl.DataFrame:
    """Rows that come, and some of those that are there taken back; none of those that came too late for something."""
    came = frame.with_columns(pl.lit(1, pl.Int64).alias(WEIGHT))
    counted = came.filter(pl.col(BEHIND).is_null()).drop(BEHIND) if BEHIND in came.columns else came
    held = pl.concat([*there, counted])
    gone = pl.Series([random.random() < 0.3 for _ in range(held.height)], dtype=pl.Boolean)
    there[:] = [held.filter(~gone)]
    taken_back = held.filter(gone).with_columns(pl.lit(-1, pl.Int64).alias(WEIGHT))
    return pl.concat([came, taken_back], how="diagonal")


def stream(
    random: Random,
    *,
    timed: bool = True,
    behind: bool = False,
    positions: bool = False,
    weights: bool = False,
) -> list[Step]:
    """What happens to an operator with one input, from its first rows to its end.

    Args:
        random: decides everything.
        timed: whether event time goes on, or only ends.
        behind: whether rows may be behind their own split.
        positions: whether rows carry their positions.
        weights: whether rows are taken back.
    """
    steps: list[Step] = []
    there: list[pl.DataFrame] = []
    now = offset = 0
    watermark = -100
    for _ in range(random.randrange(6, 25)):
        what = random.random()
        if what < 0.6:
            frame = rows(random, random.choice([1, 2, 8, 40]), since=now)
            if behind and random.random() < 0.5:
                frame = with_behind(random, frame, watermark)
            if positions:
                frame, offset = with_positions(frame, offset), offset + frame.height
            steps.append(Push(weighted(random, frame, there) if weights else frame))
            now += random.randrange(8)
        elif what < 0.85 and timed:
            watermark = max(watermark, now - random.randrange(15))
            steps.append(Mark(watermark))
        else:
            steps.append(Pass(random.choice([1, 4, 10])))
    return [*steps, Mark(WATERMARK_MAX), End()]
