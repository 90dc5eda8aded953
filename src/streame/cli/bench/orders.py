"""The orders that the benchmarks read: the same rows in every run."""

import numpy as np
import polars as pl

START_US = 1_700_000_000_000_000
USERS = 10_000
MANY_USERS = 1_000_000
ITEMS = 1_000
SEED = 20_130_101

SCHEMA = pl.Schema(
    {
        "ts": pl.Datetime("us"),
        "user_id": pl.Int64(),
        "item": pl.String(),
        "price": pl.Float64(),
        "qty": pl.Int64(),
    }
)


def orders(rows: int, users: int = USERS, seed: int = SEED) -> pl.DataFrame:
    """That many orders, 100 microseconds apart.

    Args:
        rows: how many.
        users: how many different users place them.
        seed: another one gives other orders at the same times.
    """
    random = np.random.default_rng(seed)
    items = pl.Series([f"item-{number:04}" for number in range(ITEMS)])
    return pl.DataFrame(
        {
            "ts": pl.Series(START_US + 100 * np.arange(rows, dtype=np.int64)).cast(pl.Datetime("us")),
            "user_id": random.integers(0, users, rows),
            "item": items.gather(random.integers(0, ITEMS, rows)),
            "price": random.integers(100, 100_000, rows) / 100,
            "qty": random.integers(1, 10, rows),
        },
        schema=SCHEMA,
    )


def cut(frame: pl.DataFrame, batch_rows: int) -> list[pl.DataFrame]:
    """The frame in batches."""
    return list(frame.iter_slices(batch_rows))
