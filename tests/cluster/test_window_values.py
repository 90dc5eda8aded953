"""Windows of rows that were put together before they went to another node give what they give of all rows."""

from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

import streame as st
from tests.cluster.test_plans_on_nodes import rows_of
from tests.plans.prelude import difference, run

ROWS, BATCH = 3_000, 500
CASES = 8


class Orders(st.Source):
    """Splits of rows that are more or less in order, in batches with few keys."""

    bounded = True
    together = True

    def __init__(self, frames: dict[str, pl.DataFrame]) -> None:
        self.frames = frames

    def schema(self) -> pl.Schema:
        return next(iter(self.frames.values())).schema

    def splits(self) -> list[str]:
        return list(self.frames)

    def read(self, split: str, offset: Any) -> Iterator[st.Chunk]:
        for number, part in enumerate(self.frames[split].iter_slices(BATCH), 1):
            yield st.Chunk(part, number)


def orders(random: Random) -> Orders:
    draw = np.random.default_rng(random.randrange(2**32))
    frames = {}
    for split in ("a", "b")[: random.choice((1, 2))]:
        at = np.sort(draw.integers(0, 60_000, ROWS)) + draw.integers(0, random.choice((1, 500, 8_000)), ROWS)
        frames[split] = pl.DataFrame(
            {
                "at": pl.Series(at).cast(pl.Datetime("ms")),
                "user": draw.integers(0, random.choice((3, 40, 400)), ROWS),
                "price": draw.random(ROWS).round(3),
                "qty": pl.Series([random.choice((None, 1, 2, -5)) for _ in range(ROWS)], dtype=pl.Int32),
            }
        )
    return Orders(frames)


def windows(random: Random, source: Orders) -> st.StreamDataFrame:
    stream = st.scan(source, name="orders", event_time="at", watermark=random.choice(("0s", "1s", "10s")))
    how: dict[str, Any] = {
        "every": "10s",
        "period": random.choice((None, "30s", "4s")),
        "group_by": random.choice(("user", ["user", "qty"])),
        "closed": random.choice(("left", "right")),
        "emit": random.choice(("on_close", "on_close", "changes")),
        "lateness": random.choice(("0s", "0s", "5s")),
    }
    grouped = stream.group_by_dynamic("at", **how)
    return grouped.agg(
        n=pl.len(), spent=(pl.col("price") * pl.col("qty")).sum(), least=pl.col("qty").min(), mean=pl.col("price").mean(),
        kinds=pl.col("qty").n_unique(),
    )  # fmt: skip


@pytest.mark.parametrize("number", range(CASES))
def test_values_of_groups_come_to_what_their_rows_come_to(number: int, seed: int) -> None:
    random = Random(seed + number)
    stream = windows(random, orders(random))
    for frame, name in ((stream, "results"), (stream.late, "late rows")):
        differs = difference(rows_of(frame, [1, 2, 1]), run(frame, 1, optimized=True))
        assert not differs, f"seed {seed + number}: {name}: {differs}"
