"""A row that kills the process becomes a dead letter after a few deaths, and no other row is lost or doubled."""

import json
import os
import re
import signal
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from streame.core.failpoints import EXIT_CODE, VARIABLE
from streame.state.checkpoint.attempt import CRASHES_MAX
from tests.services.nursery import nursery

ROOT = Path(__file__).parent.parent.parent
KEYS = "abcde"
FIRST_DEATHS = 7
"""Three until a start is careful, two until few rows are at work at once, two of the row alone."""
MORE_DEATHS = 6
NIGHTLY = bool(os.environ.get("STREAME_NIGHTLY"))
KILLS = 60 if NIGHTLY else 10
PLACES = (
    "R1.write",
    "R1.written",
    "R1.after",
    "S0.after",
    "S4.write",
    "S5.after",
    "S6.after",
    "S7.after",
    "S9.after",
)
DEFAULTS = {"on_error": "dead_letter", "errors": True, "deadly": [], "interval": "5s"}

pytestmark = pytest.mark.timeout(1800 if NIGHTLY else 300)


Rows = list[dict[str, Any]]


def prepare(folder: Path, seed: int, rows: int, **settings: object) -> tuple[Rows, Rows]:
    """Write the files; returns their rows and those of the queue."""
    random = np.random.default_rng(seed)
    made: Rows = [{"id": number, "key": str(random.choice(list(KEYS)))} for number in range(2 * rows)]
    inside, queued = made[:rows], made[rows:]
    (folder / "in").mkdir()
    for number in range(3):
        part = inside[number * rows // 3 : (number + 1) * rows // 3]
        text = "".join(json.dumps(row) + "\n" for row in part)
        (folder / "in" / f"{number}.ndjson").write_text(text, "utf-8")
    change(folder, **{**DEFAULTS, "queued": queued, **settings})
    return inside, queued


def change(folder: Path, **settings: object) -> None:
    """Give the next process other settings."""
    file = folder / "settings.json"
    before = json.loads(file.read_text("utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**before, **settings}), "utf-8")


def run(folder: Path, failpoints: str = "") -> tuple[int, str]:
    """Run the job once; returns how it ended and what it said."""
    done = nursery().run(["tests.isolation.deadly_job", str(folder)], env={VARIABLE: failpoints})
    assert done.returncode in {0, 1, -signal.SIGKILL, EXIT_CODE}, done.stderr
    return done.returncode, done.stderr


def run_to_an_end(folder: Path, deaths_max: int) -> tuple[int, str]:
    """Start the job again until it is not killed; returns how many times it was, and the error that it ended with."""
    for deaths in range(deaths_max + 1):
        code, said = run(folder)
        if code >= 0:
            return deaths, said.strip().splitlines()[-1] if code else ""
    raise AssertionError(f"it has died {deaths_max + 1} times")


def letters(folder: Path) -> Rows:
    """The dead letters, with the row that each is about."""
    found = [
        json.loads(line)
        for part in sorted((folder / "errors").glob("*.ndjson"))
        for line in part.read_text("utf-8").splitlines()
    ]
    return [{**letter, **json.loads(letter["raw"])} for letter in found]


def check_output(folder: Path, inside: Rows, queued: Rows, aside: Collection[int] = ()) -> None:
    """The files hold all rows but those that were set aside, and the states are those without them."""
    schema = {"id": pl.Int64, "key": pl.String}
    assert sorted(letter["id"] for letter in letters(folder)) == sorted(aside)
    kept = pl.DataFrame([row for row in inside if row["id"] not in aside], schema)
    found = pl.read_parquet(folder / "files" / "part-*.parquet").sort("id")
    assert found.equals(kept.sort("id"))
    changes = pl.read_ndjson(folder / "counts.ndjson").group_by("key", "n", "sum").agg(pl.col("_diff").sum())
    counts = changes.filter(pl.col("_diff") != 0).select("key", "n", "sum").sort("key")
    assert counts.rows() == kept.group_by("key").agg(pl.len(), pl.col("id").sum()).sort("key").rows()
    kept = pl.DataFrame([row for row in queued if row["id"] not in aside], schema)
    totals = pl.read_parquet(folder / "totals" / "part-*.parquet").sort("id")
    assert totals.equals(kept.with_columns(total=pl.col("id").cum_sum().over("key")))


@pytest.mark.parametrize("rows", [300, *([6_000] if NIGHTLY else [])])
def test_rows_that_kill_become_dead_letters(tmp_path: Path, rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    one, other = (int(random.integers(0, rows - 1)) for _ in range(2))
    deadly = sorted({one, one + 1, rows + other})
    inside, queued = prepare(tmp_path, seed, rows, deadly=deadly)
    deaths, error = run_to_an_end(tmp_path, FIRST_DEATHS + MORE_DEATHS * (len(deadly) - 1))
    print(f"seed {seed}: {deaths} deaths for {deadly}")
    assert not error
    check_output(tmp_path, inside, queued, deadly)
    found = letters(tmp_path)
    assert {letter["kind"] for letter in found} == {"crash"}
    assert {letter["source"] for letter in found} == {"files", "queued"}
    assert not (tmp_path / "checkpoints" / "ATTEMPT").exists()


def test_a_row_that_nobody_would_keep_is_named_and_not_skipped(tmp_path: Path, seed: int) -> None:
    inside, queued = prepare(tmp_path, seed, 200, deadly=[77], errors=False)
    _, error = run_to_an_end(tmp_path, FIRST_DEATHS)
    assert error.startswith("streame.errors.DataError: source 'files', split ")
    assert re.search(
        r"1\.ndjson', offset \d+: the process died 2 times while only this row was at work", error
    )
    assert f'the row is \'{{"id":77,"key":"{inside[77]["key"]}"}}\'' in error
    assert "It was not skipped, because nobody keeps the dead letters of its source" in error
    assert run(tmp_path)[0] == 1, "the error stays"
    change(tmp_path, errors=True)
    assert run_to_an_end(tmp_path, 0) == (0, "")
    check_output(tmp_path, inside, queued, [77])


@pytest.mark.parametrize("deadly", [(), (31, 32, 250)])
def test_kills_at_any_time_lose_and_double_nothing(deadly: Sequence[int], tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    inside, queued = prepare(tmp_path, seed, 150, deadly=list(deadly), interval="1ms")
    run(tmp_path)
    drawn = [(str(place), int(random.integers(1, 6))) for place in random.choice(PLACES, KILLS)]
    for place, nth in [*[("S0.after", 1)] * CRASHES_MAX, *drawn]:
        failpoint = f"{place}:{'torn' if place.endswith('.write') else 'exit'}:{nth}"
        code, said = run(tmp_path, failpoint)
        print(failpoint, code)
        assert code != 1 or "no single row can be named" in said, said
        if code == 0:
            break
    deaths, error = run_to_an_end(tmp_path, FIRST_DEATHS + MORE_DEATHS * len(deadly))
    print(f"seed {seed}: {deaths} further deaths")
    assert not error
    # A healthy row may be among them, if the kills have hit it twice while it was alone at work; it is not lost.
    aside = [letter["id"] for letter in letters(tmp_path)]
    assert set(deadly) <= set(aside)
    check_output(tmp_path, inside, queued, aside)
