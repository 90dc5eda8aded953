"""Joins over event time of many rows, in batches of awkward sizes and by several threads, against Polars."""

from random import Random
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streame as st
from streame.testing.strategies import SIZES
from tests.properties.running import collected

ROWS, KEYS, SPAN, DELAY = 80_000, 2_000, 20_000, 50


def rows(random: Random, time: str, value: str) -> pl.DataFrame:
    """Rows in a disorder within the delay."""
    came = sorted(
        (tick + random.randrange(DELAY), tick) for tick in (random.randrange(SPAN) for _ in range(ROWS))
    )
    keys = [f"key {random.randrange(KEYS)}" for _ in came]
    return pl.DataFrame({time: [tick for _, tick in came], "k": keys, value: range(ROWS)})


def stream(random: Random, frame: pl.DataFrame, name: str) -> st.StreamDataFrame:
    batches, at = [], 0
    while at < frame.height:
        batches.append(frame[at : at + random.choice(SIZES)])
        at += batches[-1].height
    return st.scan_frames(batches, name=name, event_time=frame.columns[0], watermark=DELAY)


def within(left: pl.DataFrame, right: pl.DataFrame, lower: int, upper: int) -> pl.DataFrame:
    return left.join(right, on="k").filter((pl.col("paid") - pl.col("at")).is_between(lower, upper))


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
def test_within_an_interval(how: Any, parallelism: int) -> None:
    random = Random(7)
    left, right = rows(random, "at", "v"), rows(random, "paid", "w")
    pairs = within(left, right, -20, 30)
    expected = {
        "inner": pairs,
        "left": left.join(pairs.drop("at", "k"), on="v", how="left").select(pairs.columns),
        "semi": left.join(pairs, on="v", how="semi"),
        "anti": left.join(pairs, on="v", how="anti"),
    }[how]
    sides = stream(random, left, "left"), stream(random, right, "right")
    joined = sides[0].join_interval(sides[1], on="k", lower=-20, upper=30, how=how)
    assert_frame_equal(collected(joined, parallelism=parallelism), expected, check_row_order=False)


@pytest.mark.parametrize("by", [None, "k"])
@pytest.mark.parametrize("strategy", ["backward", "forward", "nearest"])
@pytest.mark.parametrize("tolerance", [None, 200])
def test_as_of(strategy: Any, tolerance: int | None, by: str | None) -> None:
    random = Random(11)
    left, right = rows(random, "at", "v"), rows(random, "paid", "w")
    arguments: dict[str, Any] = {
        "left_on": "at",
        "right_on": "paid",
        "by": by,
        "strategy": strategy,
        "tolerance": tolerance,
    }
    expected = left.sort("at", maintain_order=True).join_asof(
        right.sort("paid", maintain_order=True), check_sortedness=False, **arguments
    )
    sides = stream(random, left, "left"), stream(random, right, "right")
    found = collected(sides[0].join_asof(sides[1], **arguments), parallelism=2)
    assert_frame_equal(found, expected, check_row_order=False)


def test_by_key_for_a_time() -> None:
    random = Random(13)
    left, right = rows(random, "at", "v"), rows(random, "paid", "w")
    sides = stream(random, left, "left"), stream(random, right, "right")
    found = collected(sides[0].join(sides[1], on="k", ttl=25), parallelism=2)
    assert_frame_equal(found, within(left, right, -25, 25), check_row_order=False)
