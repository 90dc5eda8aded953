"""Nothing goes past the disk: what the kernel sees of a job's checkpoints is what the disk was told, in the same order."""

import ast
import sys
from pathlib import Path

import pytest

from tests.storage.kernel_log import expected, trace, why_not

ROOT = Path(__file__).parent.parent.parent.parent


def test_the_kernel_sees_what_the_disk_was_told(tmp_path: Path) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    folder, logs, log = tmp_path / "checkpoints", tmp_path / "logs", tmp_path / "log"
    folder.mkdir()
    logs.mkdir()
    command = [sys.executable, "-m", "tests.state.checkpoint.child", str(folder), "6", str(log)]
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    seen = trace(command, folder, logs, environment)
    told = expected(ast.literal_eval(log.read_text(encoding="utf-8")))
    assert len(told) > 150
    for number, (by_kernel, by_disk) in enumerate(zip(seen, told, strict=False)):
        assert by_kernel == by_disk, f"operation {number}: {seen[number - 3 : number + 3]}"
    assert len(seen) == len(told)


def test_what_goes_past_the_disk_is_seen(tmp_path: Path) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    folder, logs = tmp_path / "checkpoints", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    command = [sys.executable, "-c", f"open({str(folder / 'x')!r}, 'wb').write(b'123')"]
    assert trace(command, folder, logs, {}) == [("open", "x"), ("write", "x", "3")]
