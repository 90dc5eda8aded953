"""From the words of the command line to a job."""

import sys
from pathlib import Path

import pytest

import streame as st
from streame.cli.failure import UsageError
from streame.cli.load import load_job
from streame.errors import PlanError

PIPELINE = """
import polars as pl
import streame as st

frame = st.scan_frames([pl.DataFrame({"a": [1]})])
job = frame.sink_console(name="console")
number = 5


def made():
    return job


def with_argument(size):
    return job


def no_job():
    return frame


def wrong():
    return frame.filter("nothing")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with modules, whose imports are forgotten afterwards."""
    (tmp_path / "my_pipeline.py").write_text(PIPELINE)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "my_other.py").write_text("from my_neighbour import job\n")
    (tmp_path / "below" / "my_neighbour.py").write_text(PIPELINE)
    (tmp_path / "my_broken.py").write_text("1 / 0\n")
    (tmp_path / "my_needy.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


@pytest.mark.parametrize(
    "target", ["my_pipeline:job", "my_pipeline.py:job", "my_pipeline:made", "below/my_other.py:job"]
)
def test_found(target: str) -> None:
    assert isinstance(load_job(target), st.Job)


def test_an_absolute_path(folder: Path) -> None:
    assert isinstance(load_job(f"{folder}/my_pipeline.py:job"), st.Job)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("my_pipeline", "write module:job"),
        (":job", "write module:job"),
        ("my_pipeline:", "write module:job"),
        ("no_such_module:job", "there is no module 'no_such_module'"),
        ("my_pipeline.below:job", "there is no module 'my_pipeline.below'"),
        ("no_such_file.py:job", "there is no file no_such_file.py"),
        ("my_pipeline:nothing", "its jobs and functions are: job"),
        ("my_broken:job", "my_broken could not be loaded: ZeroDivisionError"),
        ("my_needy:job", "No module named 'no_such_package'"),
        ("my_pipeline:number", "is a int, not a job"),
        ("my_pipeline:frame", "say where its rows go"),
        ("my_pipeline:no_job", "returned a StreamDataFrame, not a job; say where its rows go"),
        ("my_pipeline:with_argument", "raised TypeError"),
    ],
)
def test_not_found(target: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_job(target)
    assert message in str(raised.value)


def test_a_wrong_pipeline_stays_a_plan_error() -> None:
    with pytest.raises(PlanError, match="nothing"):
        load_job("my_pipeline:wrong")
