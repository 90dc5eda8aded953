"""The rows that the pipelines read: made from a seed, with bad ones, late ones, and a number per key."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

BEGIN = datetime(2024, 5, 1, 12)  # noqa: DTZ001 - event time has no zone here
KEYS = 40


def write_rows(folder: Path, seed: int, *, files: int = 30, rows: int = 200) -> None:
    """Write `orders/` (NDJSON with bad rows), `views/` (Parquet), `users.csv` and `more/` (Parquet that ends early).

    Args:
        folder: where.
        seed: of everything.
        files: how many files `orders` has; `views` has half as many.
        rows: how many rows a file has.
    """
    random = np.random.default_rng(seed)
    (folder / "orders").mkdir()
    counts = [0] * KEYS
    for number in range(files):
        lines = [_order(random, counts, number * rows + row) for row in range(rows)]
        (folder / "orders" / f"{number:03}.ndjson").write_text("".join(f"{line}\n" for line in lines))
    for name, parts in (("views", files // 2), ("more", 2)):
        (folder / name).mkdir()
        for number in range(parts):
            _views(random, number, rows).write_parquet(folder / name / f"{number:03}.parquet")
    users = pl.DataFrame({"key": range(KEYS), "name": [f"user {key}" for key in range(KEYS)]})
    users.sample(fraction=0.9, seed=seed).write_csv(folder / "users.csv")


def _order(random: np.random.Generator, counts: list[int], number: int) -> str:
    if random.random() < 0.01:
        return str(random.choice(['{"key": "none"}', "no json", '{"key": 3, "seq": 2, "at": "noon"}']))
    key = int(random.integers(KEYS)) if random.random() < 0.7 else int(random.integers(3))
    counts[key] += 1
    at = BEGIN + timedelta(seconds=number / 10 - float(random.exponential(1.0)) * 2)
    row = {"key": key, "seq": counts[key], "at": at.isoformat(timespec="milliseconds")}
    return json.dumps({**row, "cents": int(random.integers(1, 10_000)), "share": float(random.random())})


def _views(random: np.random.Generator, part: int, rows: int) -> pl.DataFrame:
    first = part * rows
    return pl.DataFrame(
        {
            "key": random.integers(0, KEYS, rows),
            "view": np.arange(first, first + rows),
            "seen": [BEGIN + timedelta(seconds=(first + row) / 5) for row in range(rows)],
        }
    )
