"""`streame run` and `streame explain`, as a shell sees them."""

import json
import os
import pty
import re
import signal
from pathlib import Path

import pytest

from tests.cli.process import TIMEOUT_S, start, streame

ORDERS = """
import polars as pl
import streame as st

SCHEMA = {"item": pl.String, "qty": pl.Int64}
orders = st.scan_ndjson("orders.ndjson", SCHEMA, on_error="dead_letter")
job = orders.filter(pl.col("qty") > 1).sink_ndjson("big.ndjson")
frame = orders


def strict():
    return st.scan_ndjson("orders.ndjson", SCHEMA).sink_ndjson("big.ndjson")


def wrong():
    return orders.filter(pl.col("price") > 1).sink_ndjson("big.ndjson")


def broken():
    return orders.map_batches(lambda frame: 1 / 0).sink_ndjson("big.ndjson")


def followed():
    rows = st.scan_ndjson("orders.ndjson", SCHEMA, follow=True, on_error="drop")
    return st.job([rows.sink_console(), rows.sink_ndjson("copy")], name="followed")
"""
GOOD = '{"item":"a","qty":1}\n{"item":"b","qty":3}\n'
BAD = '{"item":"c","qty":"many"}\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a pipeline and the file that it reads."""
    (tmp_path / "shop.py").write_text(ORDERS)
    (tmp_path / "orders.ndjson").write_text(GOOD + BAD)
    return tmp_path


def test_a_job_of_a_file_runs_and_says_what_it_did(project: Path) -> None:
    done = streame("run", "shop.py:job", "--errors", "errors", cwd=project)
    assert done.returncode == 0, done.stderr
    assert re.search(r"finished: 3 rows in, 1 out, 1 rejected in [\d.]+ s \(.* rows/s\)", done.stderr)
    assert done.stdout == ""
    assert (project / "big.ndjson").read_text() == '{"item":"b","qty":3}\n'
    (letters,) = (project / "errors").glob("*.ndjson")
    assert json.loads(letters.read_text())["raw"] == BAD.strip()


def test_a_function_of_a_module_makes_a_job_and_its_failure_is_told(project: Path) -> None:
    done = streame("run", "shop:strict", "--json", cwd=project)
    assert done.returncode == 1
    status = json.loads(done.stdout)
    assert (status["state"], status["rows_out"]) == ("failed", 0)
    assert status["error"] in done.stderr
    assert done.stderr.startswith("error: source 'orders'")
    assert 'give the source on_error="dead_letter"' in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_of_the_users_own_code_names_the_operator(project: Path) -> None:
    done = streame("run", "shop:broken", "--traceback", cwd=project)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "in operator map_batches" in done.stderr
    assert "Traceback (most recent call last)" in done.stderr


@pytest.mark.parametrize("command", ["run", "explain"])
def test_a_wrong_pipeline_is_told_before_anything_runs(project: Path, command: str) -> None:
    done = streame(command, "shop:wrong", cwd=project)
    assert done.returncode == 2
    assert "column 'price' does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_has_its_own_exit_code(project: Path) -> None:
    assert streame("run", cwd=project).returncode == 2
    done = streame("run", "shop.py:nothing", cwd=project)
    assert (done.returncode, done.stderr) == (
        2,
        "error: shop.py has no 'nothing'; its jobs and functions are: job, strict, wrong, broken, followed\n",
    )


def test_a_plan_is_explained(project: Path) -> None:
    done = streame("explain", "shop:job", cwd=project)
    assert done.returncode == 0
    assert "source orders" in done.stdout
    as_json = json.loads(streame("explain", "shop:job", "--json", cwd=project).stdout)
    assert (as_json["name"], as_json["plan"] + "\n") == ("big.ndjson", done.stdout)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_job_that_would_never_end(project: Path, number: signal.Signals) -> None:
    process = start("run", "shop.py:followed", "--json", cwd=project)
    assert process.stderr is not None
    while process.stderr.readline().split() != ["b", "3"]:
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    status = json.loads(out)
    assert (status["state"], status["rows_in"], status["rejected"]) == ("finished", 3, 1)
    (part,) = (project / "copy").glob("*.ndjson")
    assert part.read_text() == GOOD


def test_a_terminal_shows_where_a_running_job_stands(project: Path) -> None:
    terminal, its_end = pty.openpty()
    process = start("run", "shop.py:followed", cwd=project, stderr=its_end)
    os.close(its_end)
    shown = b""
    while b"3 rows in, 4 out, 1 rejected" not in shown:
        shown += os.read(terminal, 4096)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    os.close(terminal)
