"""A process that ends at any step around a checkpoint is started again, and the output is as if nothing had happened."""

import os
from pathlib import Path

import polars as pl
import pytest

import streame as st
from streame.core.failpoints import EXIT_CODE, VARIABLE
from tests.durability.job import rows, windows
from tests.services.nursery import nursery

STEPS = [
    "S0.after",
    "S1.after",
    "S3.after",
    "S5.after",
    "S6.after",
    "S7.before",
    "S7.after",
    "S8.after",
    "S9.after",
]


def run(folder: Path, failpoints: str = "") -> int:
    """Run the job in a process; returns its exit code."""
    done = nursery().run(
        ["tests.durability.job", str(folder)], env={**os.environ, VARIABLE: failpoints}, timeout=100
    )
    assert done.returncode in {0, EXIT_CODE}, done.stderr
    return done.returncode


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_ends_at_a_step_is_as_if_it_had_not(tmp_path: Path, step: str) -> None:
    assert run(tmp_path, f"{step}:exit:2") == EXIT_CODE
    assert run(tmp_path, f"{step}:exit:1") == EXIT_CODE
    assert run(tmp_path) == 0
    expected = windows(rows())
    found = st.scan_parquet(tmp_path / "windows", schema=expected.schema).collect()
    assert found.sort("at", "key").equals(expected)
    lines = pl.read_csv(tmp_path / "rows.csv", try_parse_dates=True)
    assert lines["n"].to_list() == rows()["n"].to_list()
