"""`streame demo`, as a newcomer runs it."""

import json
from pathlib import Path

import polars as pl
import pytest

import streame as st
from streame.cli.demo import pipeline
from streame.cli.demo.folder import DemoFolder
from streame.cli.failure import UsageError
from tests.cli.process import streame


def test_it_runs_twice_and_says_what_it_did(tmp_path: Path) -> None:
    first = streame("demo", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "United Air Lines Inc.          57,979     12.1 min    8 h 03 min" in first.stdout
    for count in ("336,776 flights", "328,521 departures", "5,743 flights", "2,512 flights"):
        assert count in first.stdout

    second = json.loads(streame("demo", "--json", cwd=tmp_path).stdout)
    assert [second[name] for name in ("read", "written", "cancelled", "refused")] == [
        336_776,
        328_521,
        5_743,
        2_512,
    ]
    assert len(second["airlines"]) == 16
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
    folder.flights.mkdir()
    (folder.path / "notes.txt").touch()
    folder.clear()
    assert not folder.flights.exists()
    assert (folder.path / "notes.txt").exists()


def test_its_pipeline_is_a_job_like_any_other() -> None:
    assert isinstance(pipeline.job(), st.Job)
