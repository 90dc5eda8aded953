"""`streame doctor`."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from streame.cli import doctor
from tests.cli.process import streame


def test_a_healthy_machine(tmp_path: Path) -> None:
    done = streame("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "Everything that is needed is here." in done.stdout
    told = json.loads(streame("doctor", "--json", cwd=tmp_path).stdout)
    found = {finding["what"]: finding for finding in told["findings"]}
    assert told["healthy"]
    assert found["polars"]["found"] == version("polars")
    assert {"python", "streame", "numpy", "cores", "memory", "extra kafka", "temporary files"} <= found.keys()


@pytest.mark.parametrize(("name", "least"), [("no-such-package", "1"), ("polars", "99.0")])
def test_what_is_missing_or_too_old(name: str, least: str) -> None:
    finding = doctor.package(name, least)
    assert finding.verdict == "missing"
    assert finding.advice == f"pip install '{name}>={least}'"


def test_versions_are_compared_as_numbers() -> None:
    assert doctor.package("polars", "2.0.99").verdict == "ok"
