"""Simulations in processes of their own, for nothing else may be running where the clock is not the real one."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

WORKERS = 2


@dataclass
class Report:
    """What some seeds have come to.

    Args:
        failed: what was wrong with a seed.
        counts: how often each rare event has happened.
        digests: of all that has happened in a seed.
    """

    failed: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    digests: dict[str, str] = field(default_factory=dict)

    def add(self, other: dict[str, Any]) -> None:
        """Count in what a worker has found."""
        self.failed |= other["failed"]
        self.counts.update(other["counts"])
        self.digests |= other["digests"]


def simulate(seeds: Sequence[int], mutant: str | None = None, workers: int = WORKERS) -> Report:
    """Run seeds in some processes."""
    shares = [seeds[number::workers] for number in range(workers)]
    report = Report()
    running = [_begin(share, mutant) for share in shares if share]
    for worker in running:
        out, error = worker.communicate()
        assert worker.returncode == 0, error[-4000:]
        report.add(json.loads(out))
    return report


def _begin(seeds: Sequence[int], mutant: str | None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.simulation", ",".join(map(str, seeds)), "--json"]
    return subprocess.Popen(
        [*command, "--mutant", mutant] if mutant else command,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
