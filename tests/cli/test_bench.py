"""`streame bench`: that it measures, compares and judges; never how fast anything is."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from streame.cli.bench import command, profiles, runner
from streame.cli.bench.case import AGAINST_PEER, Bar, Case, Outcome, Work
from streame.cli.bench.catalog import CASES, find
from streame.cli.bench.keeping import digest
from streame.cli.bench.report import as_data, closing, lines, missed_bars
from streame.cli.bench.runner import Result, Spread, run_case
from streame.cli.failure import UsageError
from tests.cli.process import streame


def test_a_smoke_run_of_one_benchmark(tmp_path: Path) -> None:
    done = streame("bench", "--smoke", "--json", "--only", "chain-8k", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "chain-8k" in done.stderr
    assert "both sides of each gave the same" in done.stderr
    told = json.loads(done.stdout)
    (result,) = told["results"]
    assert (told["smoke"], result["name"], result["rows"], result["rounds"]) == (True, "chain-8k", 200_000, 1)
    assert {"rows_per_s", "cpu_s", "peak_rss_mb"} <= result["streame"].keys() & result["peer"].keys()
    assert result["streame"]["ratio"]["median"] > 0
    assert result["bars"][0]["holds"] is None


def test_an_unknown_name_is_wrong_usage(tmp_path: Path) -> None:
    done = streame("bench", "--only", "chain-9k", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no benchmark 'chain-9k'; there are: chain-8k" in done.stderr


def test_a_profiler_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "TOOLS", ("no-such-profiler",))
    with pytest.raises(UsageError, match=r"--profile needs no-such-profiler; pip install 'streame\[dev\]'"):
        command._check_profilers(tmp_path / "profiles")
    assert not (tmp_path / "profiles").exists()


def test_names_are_unique_and_every_bar_is_measured() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert all(find(name).name == name for name in names)
    assert all(case.peer is not None for case in CASES for bar in case.bars if bar.measure in AGAINST_PEER)


def _work(rows: int, folder: Path) -> Work:
    return lambda: Outcome(rows, dict)


MEASURES = {"seconds": 1.0, "peak_rss_mb": 100.0}

CASE = Case(
    "join-strings",
    "a title",
    _work,
    rows=1_000,
    smoke_rows=1_000,
    bars=(Bar("ratio", 0.8), Bar("ms", 5, "at most")),
)


def test_bars_are_judged() -> None:
    measures = {name: Spread(value, value, value) for name, value in {
        "rows_per_s": 1e7, "cpu_s": 1.0, "peak_rss_mb": 100.0, "ratio": 0.5, "ms": 4.0,
    }.items()}  # fmt: skip
    result = Result(CASE, 1_000, 1, measures)
    assert missed_bars([result]) == ["join-strings: 0.5 instead of ratio at least 0.8"]
    text = "\n".join(line.plain for line in lines(result, judged=True))
    assert "bar: ratio at least 0.8, is 0.5 (0.5 to 0.5): missed" in text
    assert "bar: ms at most 5, is 4 (4 to 4): holds" in text
    assert "Bars: 1 of 2 hold" in "\n".join(line.plain for line in closing([result], judged=True))


def test_a_side_that_fails_is_told_with_its_error(tmp_path: Path) -> None:
    absent = replace(find("ndjson"), files=None)
    result = run_case(absent, smoke=True, folder=tmp_path, tell=lambda text: None)
    assert result.error is not None
    assert "Streame ended with exit code 1" in result.error
    assert "nothing is there to read" in result.error or "clean.ndjson" in result.error


def test_a_peer_that_is_not_installed_is_named_and_only_what_it_is_for_is_not_judged(tmp_path: Path) -> None:
    bars = (Bar("ratio", 0.8), Bar("rows_per_s", 1))
    without = replace(find("join-strings"), peer_needs="no_such_module", bars=bars)
    result = run_case(without, smoke=True, folder=tmp_path, tell=lambda text: None)
    assert (result.error, result.missing, result.peer) == (None, "no_such_module", {})
    assert [bar.measure for bar, _ in result.bars()] == ["rows_per_s"]
    text = "\n".join(line.plain for line in (*lines(result, judged=True), *closing([result], judged=True)))
    reason = "no_such_module is not installed; pip install 'streame[dev]'"
    assert f"Polars, lazy did not run: {reason}" in text
    assert "bar: ratio at least 0.8, not judged without the other side" in text
    assert "Benchmarks: 0 ran, and both sides of each gave the same." in text
    assert f"1 ran without the other side: {reason}" in text
    assert "Bars: 1 of 1 hold" in text
    assert as_data([result], smoke=False)["results"][0]["missing"] == "no_such_module"


def test_sides_that_differ_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"streame": {"rows": 1.0}, "peer": {"rows": 2.0}}
    monkeypatch.setattr(
        runner, "run_side", lambda case, side, *_: {"measures": MEASURES, "digest": answers[side]}
    )
    result = run_case(find("chain-8k"), smoke=True, folder=tmp_path, tell=lambda text: None)
    assert result.error == "Polars, eager gave {'rows': 2.0}, expected {'rows': 1.0}"


def test_sums_of_floats_may_differ_in_the_last_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"streame": {"sum": 0.1 + 0.2}, "peer": {"sum": 0.3}}
    monkeypatch.setattr(
        runner, "run_side", lambda case, side, *_: {"measures": MEASURES, "digest": answers[side]}
    )
    result = run_case(find("chain-8k"), smoke=True, folder=tmp_path, tell=lambda text: None)
    assert result.error is None
    assert result.streame["ratio"].median == 1.0


def test_a_digest_knows_rows_but_neither_their_order_nor_the_width_of_a_column() -> None:
    frame = pl.DataFrame({"user": [1, 2, 3], "item": ["a", "b", "c"], "spent": [0.1, 0.2, 0.3]})
    narrow = frame.reverse().select("spent", "item", pl.col("user").cast(pl.UInt8))
    told = digest([frame])
    assert digest([narrow[:1], narrow[1:]]) == pytest.approx(told)
    assert told["spent"] == pytest.approx(0.6)
    others = (
        frame.with_columns(pl.col("item").reverse()),
        frame.with_columns(pl.col("user") + 1),
        frame.with_columns(pl.col("spent") * 2),
        frame.head(2),
        frame.drop("user"),
    )
    assert all(digest([other]) != told for other in others)
