"""Simulations in processes of their own, for nothing else may be running where the clock is not the real one."""

import json
import os
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

WORKERS = 2
BATCH = 8
"""So many seeds are handed to a worker at a time."""

ENVIRONMENT = {"PYTHONHASHSEED": "0", "POLARS_MAX_THREADS": "1"}
"""Without these the same seed may not give the same run."""


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


class Workers:
    """Some processes that run seeds; they stay, since starting one takes as long as many seeds.

    Args:
        count: how many.
    """

    def __init__(self, count: int = WORKERS) -> None:
        self._processes = [_begin() for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def simulate(self, seeds: Sequence[int], mutant: str | None = None) -> Report:
        """Run seeds; with a mutant, until one of them fails.

        Args:
            seeds: which.
            mutant: the rule that is taken out of the code.
        """
        report = Report()
        left = deque(seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH))

        def work(process: "subprocess.Popen[str]") -> None:
            while left and not (mutant and report.failed):
                report.add(_ask(process, left.popleft(), mutant))

        with ThreadPoolExecutor(len(self._processes)) as pool:
            for done in [pool.submit(work, process) for process in self._processes]:
                done.result()
        return report


def _begin() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.simulation", "--serve"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip


def _ask(process: "subprocess.Popen[str]", seeds: Sequence[int], mutant: str | None) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"seeds": list(seeds), "mutant": mutant}) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, f"a worker has ended while it ran {seeds} with {mutant}; it has said why above"
    found: dict[str, Any] = json.loads(answer)
    return found
