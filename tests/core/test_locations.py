"""Where checkpoints and savepoints are: folders and buckets are told apart in one place, and other URLs refused."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import streame as st
from streame.cli.main import app
from streame.core.config import load_config
from streame.core.locations import folder_or_objects, local_folder
from streame.errors import PlanError

URLS = ["gs://b/x", "az://b/x", "abfss://c@a/x", "file:///tmp/x", "S3://b/x", "https://h/x"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which nothing may appear."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_and_buckets_are_told_apart() -> None:
    assert folder_or_objects("s3://b/x", where="here") == "s3://b/x"
    for folder in ("kept", "/kept/x", "./gs:/b", "a:b", "C:/x"):
        assert folder_or_objects(folder, where="here") == Path(folder) == local_folder(folder, where="here")
    assert folder_or_objects(Path("kept"), where="here") == Path("kept")


@pytest.mark.parametrize("url", URLS)
def test_other_urls_were_taken_for_folders(url: str, empty_folder: Path) -> None:
    job = st.scan_frames([pl.DataFrame({"n": [1]})], name="feed").sink_console()
    given: list[str | Path] = [url, Path(url)]
    for place in given:
        with pytest.raises(PlanError, match=r"the setting 'checkpoints' as an argument is '.*'.*s3://bucket"):
            job.run(checkpoints=place)
        with pytest.raises(PlanError, match=r"savepoint is '.*'.*folder of this machine"):
            job.run(checkpoints="kept", savepoint=place)
    with pytest.raises(PlanError, match="in the environment"):
        load_config({}, {"STREAME_CHECKPOINTS": url})
    assert not list(empty_folder.iterdir())


@pytest.mark.parametrize("command", ["list", "show", "verify"])
def test_the_command_line_took_other_urls_for_folders(command: str) -> None:
    done = CliRunner().invoke(app, ["checkpoints", command, "gs://b/x"])
    assert done.exit_code == 2
    assert "DIR is 'gs://b/x'" in done.output + done.stderr


def test_a_savepoint_is_made_in_a_folder_only(empty_folder: Path) -> None:
    done = CliRunner().invoke(app, ["savepoint", "kept", "s3://b/x"])
    assert done.exit_code == 2
    assert "NEW_DIR is 's3://b/x'" in done.output + done.stderr
    assert not list(empty_folder.iterdir())
