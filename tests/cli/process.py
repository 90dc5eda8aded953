"""The command line in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from tests.services.nursery import nursery

TIMEOUT_S = 60
ENVIRONMENT = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}


def streame(*arguments: str, cwd: Path, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Run `streame` to its end."""
    return nursery().run(["streame", *arguments], env=ENVIRONMENT, cwd=cwd, timeout=timeout_s)


def start(*arguments: str, cwd: Path, stderr: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start `streame` and go on."""
    return subprocess.Popen(
        [sys.executable, "-m", "streame", *arguments],
        cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=stderr, text=True,
    )  # fmt: skip
