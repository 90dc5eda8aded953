"""`streame chaos`, as a shell sees it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streame.cli.main import app
from tests.cli.process import streame

SHOP = """
import polars as pl
import streame as st

SCHEMA = {"item": pl.Int64, "qty": pl.Int64}
seen = 0


def numbered(frame):
    global seen
    seen += frame.height
    return frame.with_columns(number=pl.Series(range(seen - frame.height, seen), dtype=pl.Int64))


def orders(follow=False):
    return st.scan_csv("orders/", SCHEMA, name="orders", follow=follow)


def good():
    return orders().group_by("item").agg(n=pl.len()).sink_console(name="shown")


def forgetful():
    with_numbers = orders().map_batches(numbered, schema={**SCHEMA, "number": pl.Int64}, row_wise=False)
    return with_numbers.sink_parquet("numbers/", name="numbers")


def endless():
    return orders(follow=True).sink_parquet("copy/")


def once():
    return st.scan_rows(iter([{"item": 1, "qty": 2}]), SCHEMA, name="given").sink_parquet("copy/")
"""
LONG_S = 300
QUICK = ("--stops", "0", "--damages", "0", "--no-failpoints", "--seed", "3")

pytestmark = pytest.mark.timeout(LONG_S)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with jobs and the files that they read."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "orders").mkdir()
    for part in range(4):
        rows = "".join(f"{number % 7},{number}\n" for number in range(2_000))
        (tmp_path / "orders" / f"{part}.csv").write_text("item,qty\n" + rows)
    return tmp_path


def chaos(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end, and leave what it writes in the project."""
    return streame("chaos", *arguments, "--keep", "kept", cwd=project, timeout_s=LONG_S)


def test_a_good_job_gets_a_table_of_proof(project: Path) -> None:
    done = chaos(project, "shop.py:good", "--kills", "1", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    proof = json.loads(done.stdout)
    assert (proof["seed"], proof["good"]) == (3, True)
    (row,) = proof["rows"]
    assert row["kind"] == "SIGKILL at random"
    assert row["happened"] >= 1
    assert row["lost"] == row["doubled"] == row["changed"] == row["reordered"] == row["stuck"] == 0
    assert "sink shown: written as NDJSON parts instead" in done.stderr
    assert "all again: streame chaos shop.py:good --kills 1" in done.stderr
    assert list((project / "kept").glob("kill/*/0-queue/part-*.ndjson"))
    assert not (project / "numbers").exists()


def test_a_job_that_keeps_something_outside_of_its_state_is_found_out(project: Path) -> None:
    killed_twice = "failpoint/S8.after:exit"
    arguments = ("--only", killed_twice, "--seed", "3", "--interval", "1ms")
    done = chaos(project, "shop.py:forgetful", *arguments)
    assert done.returncode == 1, done.stderr
    assert "1 of 1 runs went wrong" in done.stdout
    assert "sink numbers: lost: " in done.stdout
    assert f"again: streame chaos shop.py:forgetful --only {killed_twice} --seed 3" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("shop.py:endless",), "source 'orders' (CsvFiles) never ends by itself"),
        (("shop.py:once",), "source 'given' (RowsSource) cannot be read twice"),
        (("shop.py:good", "--parallelism", "0"), "--parallelism 0: give whole numbers from 1"),
        (("shop.py:good", "--key", "item"), "--key item: give the name of a sink, a colon and columns"),
        (("shop.py:good", "--keep", "orders"), "orders is not empty; give a new folder to --keep"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", [*sys.path])  # a project is looked for in the current folder
    done = CliRunner().invoke(app, ["chaos", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr.replace("\n", " ")
