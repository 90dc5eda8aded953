"""`streame demo --cluster`, small: three nodes, the leader killed, the output exact; and what is decided and shown on the way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from streame.cli.demo.cluster.compare import Comparison, compare
from streame.cli.demo.cluster.node import NodeReport
from streame.cli.demo.cluster.screen import closing, event_line, plain_line
from streame.cli.demo.cluster.story import Facts, Story
from streame.cli.main import app
from streame.testing.etcd_members import until
from tests.cluster.conftest import etcd_or_skip

LIMIT_S = 100
SMALL = ("demo", "--cluster", "--rows", "60000", "--seconds", "5")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables with etcd on the path, and a folder for temporary files."""
    path = f"{etcd_or_skip().parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "TMPDIR": str(tmp_path), "COLUMNS": "120"}


def processes_of(folder: Path) -> list[str]:
    """The commands of processes that have a folder among their arguments."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


def test_the_leader_is_killed_and_the_output_is_exact(tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streame", *SMALL, "--json"],
        env=environment, check=False, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["exact"] is True
    assert told["killed"].startswith("node-")
    assert 0 < told["leader_after_s"] <= told["output_after_s"]
    assert {each["name"]: each["rows"] > 0 for each in told["outputs"]} == dict.fromkeys(
        ("departures", "hours", "routes", "errors"), True
    )
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def test_a_signal_ends_everything(tmp_path: Path, environment: dict[str, str]) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "streame", *SMALL],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert until(
            lambda: len([c for c in processes_of(tmp_path) if "demo.cluster.node" in c]) == 3, LIMIT_S
        )
        demo.send_signal(signal.SIGTERM)
        _, said = demo.communicate(timeout=LIMIT_S)
    finally:
        demo.kill()
    assert demo.returncode == 130, said
    assert until(lambda: processes_of(tmp_path) == [], 10)
    assert list(tmp_path.iterdir()) == []


def test_without_etcd_it_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, ["demo", "--cluster"])
    assert done.exit_code == 2
    assert "`etcd` is not on PATH" in done.stderr
    assert "make cluster" in done.stderr


def test_the_leader_is_killed_once_all_take_part_and_output_is_there() -> None:
    story = Story(1000)
    for facts in (
        Facts(0.1, "a", 3, 1, ("a", "a"), 1, published=900),
        Facts(0.2, "a", 3, None, (), 0, published=900),
        Facts(0.3, "a", 3, 2, ("b", "c"), 3, published=399),
    ):
        story.advance(facts)
        assert story.to_kill(facts) is None
    assert story.to_kill(Facts(0.4, "a", 3, 2, ("b", "c"), 3, published=400)) == "a"
    assert story.was_killed("a", 1.0).text == "a, which leads, is killed (SIGKILL)"
    assert story.to_kill(Facts(1.1, "b", 9, 1, ("c", "c"), 3, published=400)) is None


def test_the_times_after_the_kill_are_those_of_the_next_leader() -> None:
    story = Story(1000)
    story.advance(
        Facts(0.5, "a", 3, 2, ("b", "c"), 3, checkpoint=7, checkpoint_epoch=3, published_checkpoint=7)
    )
    story.was_killed("a", 1.0)
    events = [
        *story.advance(Facts(2.0, "a", 3, 2, ("b", "c"), 3, 0, 7, 3, 500, 7)),
        *story.advance(Facts(3.0, "b", 9, None, (), 0, 0, 7, 3, 500, 7)),
        *story.advance(Facts(3.1, "b", 9, 1, ("c", "c"), 2, 7, 7, 3, 500, 7)),
        *story.advance(Facts(3.5, "b", 9, 1, ("c", "c"), 2, 7, 8, 9, 500, 7)),  # decided, not published yet
        *story.advance(Facts(4.0, "b", 9, 1, ("c", "c"), 2, 7, 8, 9, 600, 8)),
        *story.advance(Facts(5.0, None, 9, None, (), 0, 7, 9, 9, 1000, 9, ended=True)),
    ]
    assert [str(event_line(event)) for event in events] == [
        "  3.0 s  b leads, epoch 9, 2.0 s after the kill",
        "  3.1 s  attempt 9.1 from checkpoint 7: c has the instances 0, 1",
        "  4.0 s  new output can be seen, 3.0 s after the kill",
        "  5.0 s  the job has ended",
    ]
    assert (story.leader_after_s, story.output_after_s) == (2.0, 3.0)


def test_a_line_says_where_the_rows_went() -> None:
    reports = {"a": NodeReport(5000, {}), "b": NodeReport(0, {1: 10, 0: 2000})}
    facts = Facts(1.0, "a", 3, 2, ("b", "b"), 2, checkpoint=4, published=4000, reports=reports)
    assert plain_line(facts) == (
        "checkpoint 4, 4,000 departures written; a leads, has read 5,000; b 0:2,000 1:10"
    )


def test_rows_are_compared_as_a_bag() -> None:
    one = pl.DataFrame({"n": [1, 1, 2, None]})
    assert compare("x", one.reverse(), one).exact
    found = compare("x", pl.DataFrame({"n": [1, 2, 2, None, 3]}), one)
    assert (found.missing, found.more, found.exact) == (1, 2, False)


def test_the_end_says_what_is_different() -> None:
    story = Story(10)
    lines = [str(line) for line in closing(story, [Comparison("hours", 5, 1, 0, "{'n': 1}")])]
    assert lines[1].startswith("no leader was killed in the middle")
    assert lines[2:] == ["     hours  1 of 5 rows are missing, 0 are too many, such as {'n': 1}", "DIFFERENT"]
