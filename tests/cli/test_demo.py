"""`streame demo`, as a newcomer runs it."""

import json
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import streame as st
from streame.cli.demo import pipeline, plain
from streame.cli.demo.folder import DemoFolder
from streame.cli.demo.summary import folded
from streame.cli.failure import UsageError
from streame.cli.main import app
from tests.cli.process import streame


def test_it_runs_twice_and_says_what_it_did(tmp_path: Path) -> None:
    first = streame("demo", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    lines = {" ".join(line.split()) for line in first.stdout.splitlines()}
    assert {
        "United Air Lines Inc. 57,979 12.1 min 8 h 03 min",
        "rain or snow 18,477 30.2 min 39%",
        "EWR to TYS 314 41.8 min",
    } <= lines
    for count in ("336,776 flights", "328,521 departures", "19,434 hours", "5,743 flights", "2,512 flights"):
        assert count in first.stdout
    assert "the numbers are those of plain Polars over the whole files" in first.stdout

    second = json.loads(streame("demo", "--json", cwd=tmp_path).stdout)
    assert [second[name] for name in ("read", "written", "cancelled", "refused")] == [
        336_776,
        328_521,
        5_743,
        2_512,
    ]
    assert [len(second[name]) for name in ("airlines", "weather", "worst_routes")] == [16, 5, 10]
    assert second["equals_plain_polars"] is True
    written = pl.read_parquet(tmp_path / second["flights"])
    assert written.height == 328_521
    letters = pl.concat([pl.read_ndjson(path) for path in (tmp_path / second["errors"]).glob("*.ndjson")])
    assert letters.height == 2_512
    assert letters["kind"].unique().to_list() == ["null"]


def test_the_rows_are_those_that_polars_gives() -> None:
    flights = pl.scan_parquet(pipeline.DATA / "flights.parquet").filter(
        pl.col("tailnum").is_not_null(), pl.col("dep_time").is_not_null()
    )
    airlines = pl.scan_csv(pipeline.DATA / "airlines.csv").select("carrier", airline="name")
    expected = (
        flights.join(airlines, on="carrier", how="left", maintain_order="left")
        .select("flight", "airline", "dep_delay")
        .collect()
    )
    rows = pipeline.departures().select("flight", "airline", dep_delay="departure_delay").collect()
    assert rows.equals(expected)


@pytest.mark.parametrize("parallelism", [1, 3])
def test_the_numbers_are_those_of_plain_polars(parallelism: int) -> None:
    rows = pipeline.departures()
    hours = pipeline.hours(rows).collect(parallelism=parallelism)
    assert_frame_equal(hours, plain.hours(), check_row_order=False)
    routes = pipeline.worst_routes(rows).collect(parallelism=parallelism)
    assert_frame_equal(routes, plain.worst_routes(), check_row_order=False)


def test_wrong_numbers_are_told_and_end_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = plain.worst_routes()
    monkeypatch.setattr(plain, "worst_routes", lambda: right.with_columns(pl.col("flights") + 1))
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "out")])
    assert result.exit_code == 1, result.output
    assert "the numbers are not those of plain Polars" in result.stdout


def test_changes_fold_to_the_rows_that_hold(tmp_path: Path) -> None:
    changes = pl.DataFrame(
        {"origin": ["JFK", "JFK", "EWR"], "mean_delay": [1.0, 1.0, 2.0], "_diff": [1, -1, 1]}
    )
    changes[:1].write_parquet(tmp_path / "1.parquet")
    changes[1:].write_parquet(tmp_path / "2.parquet")
    assert folded(tmp_path).rows() == [("EWR", 2.0)]


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "flights").mkdir()
    with pytest.raises(UsageError, match="was not made by the demo"):
        DemoFolder(tmp_path).clear()
    assert (tmp_path / "flights").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="name another folder with --out"):
        DemoFolder(tmp_path / "file").clear()


def test_only_its_own_output_is_cleared(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path / "new" / "out")
    folder.clear()
    for part in folder.parts().values():
        part.mkdir()
    (folder.path / "notes.txt").touch()
    folder.clear()
    assert not any(part.exists() for part in folder.parts().values())
    assert (folder.path / "notes.txt").exists()


def test_its_pipeline_is_a_job_like_any_other() -> None:
    assert isinstance(pipeline.job(), st.Job)
