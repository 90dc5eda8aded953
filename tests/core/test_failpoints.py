"""Failpoints: what they are told is what happens, and each one in the code has a test."""

import ast
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streame.core.failpoints import EXIT_CODE, NAMES, arm, arm_from, failpoint, torn
from streame.errors import PlanError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _disarmed() -> object:
    yield
    arm("")


def test_nothing_happens_unless_told() -> None:
    failpoint("A.after")
    parts = [b"x"]
    assert torn("A.write", parts) is parts
    arm("B.after:error")
    failpoint("A.after")
    assert list(torn("A.write", parts)) == parts


def test_errors_come_the_nth_time_and_once() -> None:
    arm("A.after:enospc:3,A.after:error:2,B.after:error")
    failpoint("A.after")
    with pytest.raises(OSError, match=r"failpoint A\.after") as broken:
        failpoint("A.after")
    assert broken.value.errno == errno.EIO
    with pytest.raises(OSError, match=r"failpoint A\.after") as full:
        failpoint("A.after")
    assert full.value.errno == errno.ENOSPC
    failpoint("A.after")
    with pytest.raises(OSError, match=r"failpoint B\.after"):
        list(torn("B.after", [b"x"]))
    failpoint("B.after")


def test_sleeping_goes_on_afterwards() -> None:
    arm("A.after:sleep:0.001,A.after:sleep:0:2")
    failpoint("A.after")
    failpoint("A.after")


def test_the_environment_is_read() -> None:
    arm_from({})
    failpoint("A.after")
    arm_from({"STREAME_FAILPOINT": "A.after:error"})
    with pytest.raises(OSError, match=r"failpoint A\.after"):
        failpoint("A.after")


@pytest.mark.parametrize(
    "text",
    [
        "A.after",
        "A.after:explode",
        "A.after:exit:x",
        "A.after:exit:1:1",
        "A.after:exit:0",
        "A.after:sleep:x",
        "A.after:sleep:-1",
    ],
)
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match=r"is no failpoint; write NAME:ACTION:TIMES"):
        arm(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("foo", "'foo' is no failpoint; write NAME:ACTION:TIMES"),
        (
            "S5.aftr:exit",
            r"no failpoint 'S5.aftr', so nothing would happen there; did you mean S5.after\? There are C0",
        ),
        ("S5.after:exit:0", "TIMES from 1 on"),
    ],
)
def test_a_variable_that_is_wrong_was_a_traceback_at_import_or_did_nothing(
    text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(
        "import polars as pl, streame as st\n"
        "job = st.scan_frames([pl.DataFrame({'n': [1]})], name='feed').sink_console()\n"
    )
    command = [sys.executable, "-m", "streame", "run", "shop.py:job"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "STREAME_FAILPOINT": text}
    done = subprocess.run(command, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.search(words, done.stderr)
    assert "Traceback" not in done.stderr


def test_the_names_are_those_in_the_code() -> None:
    assert sorted(names_in(ROOT / "src")) == list(NAMES)


CHILD = """
import sys
from pathlib import Path
from streame.core.failpoints import failpoint, torn
with Path(sys.argv[1]).open("wb", buffering=0) as file:
    for part in torn("A.write", [b"12", b"3456"]):
        file.write(part)
failpoint("A.after")
"""


@pytest.mark.parametrize(
    ("text", "left"), [("A.write:torn", b"123"), ("A.write:exit", b""), ("A.after:exit", b"123456"), ("A.after:torn", b"123456")]
)  # fmt: skip
def test_a_process_ends_where_it_is_told(text: str, left: bytes, tmp_path: Path) -> None:
    file = tmp_path / "file"
    environment = {"PYTHONPATH": str(ROOT / "src"), "STREAME_FAILPOINT": text}
    ended = subprocess.run([sys.executable, "-c", CHILD, str(file)], check=False, env=environment)
    assert ended.returncode == EXIT_CODE
    assert file.read_bytes() == left


def names_in(place: Path) -> dict[str, str]:
    """Every failpoint in the code, with the file it is in."""
    found: dict[str, str] = {}
    for path in sorted(place.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="failpoint" | "torn"), args=[first, *_]):
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    assert isinstance(first, ast.Constant), f"{where}: the name of a failpoint is a text"
                    assert isinstance(first.value, str)
                    assert first.value not in found, f"{where}: {first.value} is in {found[first.value]} too"
                    found[first.value] = where
    return found


def test_each_failpoint_has_a_test() -> None:
    """Its name stands as a text of its own in a test."""
    texts = {
        node.value
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    found = names_in(ROOT / "src" / "streame")
    assert "S5.after" in found
    assert not [f"{where}: no test lists {name}" for name, where in found.items() if name not in texts]
