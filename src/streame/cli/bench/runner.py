"""Runs both sides of a benchmark by turns, every time in a fresh process, and compares what they say."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from streame.cli.bench.case import AGAINST_PEER, Bar, Case
from streame.cli.bench.child import arguments

TIMEOUT_S = 600
ERROR_LINES = 15


class BenchmarkError(Exception):
    """A side did not run to its end, or the two sides did not give the same."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What the rounds gave for one measure."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(median(values), min(values), max(values))


Measures = Mapping[str, Spread]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one benchmark.

    Args:
        case: the benchmark.
        rows: how many rows it was run with.
        rounds: how often each side ran.
        streame: the measures of Streame.
        peer: those of the other side.
        error: why there are none.
        missing: the module without which the other side could not run.
        absent: the command without which neither side could.
    """

    case: Case
    rows: int
    rounds: int
    streame: Measures = field(default_factory=dict)
    peer: Measures = field(default_factory=dict)
    error: str | None = None
    missing: str | None = None
    absent: str | None = None

    def bars(self) -> list[tuple[Bar, float]]:
        """Each bar that can be judged, with the value that is held against it."""
        if not self.streame:
            return []
        judged = (bar for bar in self.case.bars if not (self.missing and bar.measure in AGAINST_PEER))
        return [(bar, self.streame[bar.measure].median) for bar in judged]


def run_case(case: Case, *, smoke: bool, folder: Path, tell: Callable[[str], None]) -> Result:
    """Run all rounds of a benchmark.

    Args:
        case: the benchmark.
        smoke: one round with few rows.
        folder: where its files are.
        tell: gets a word about what is going on.
    """
    rows, rounds = (case.smoke_rows, 1) if smoke else (case.rows, case.rounds)
    if case.program is not None and shutil.which(case.program) is None:
        return Result(case, rows, 0, absent=case.program)
    missing = _missing(case)
    try:
        if case.files is not None:
            tell(f"{case.name}: writing its files")
            _run(case, "files", rows, folder)
        sides = ["streame"] if case.peer is None or missing else ["streame", "peer"]
        # Of a smoke run nothing is judged, so both sides may run at once.
        at_once = len(sides) if smoke else 1
        mine, others = _rounds(case, sides, rows, rounds, folder, tell, at_once)
    except BenchmarkError as error:
        return Result(case, rows, rounds, error=str(error))
    streame = _spreads(mine)
    if others:
        pairs = list(zip(mine, others, strict=True))
        streame["ratio"] = Spread.of([b["seconds"] / a["seconds"] for a, b in pairs])
        streame["peak_ratio"] = Spread.of([a["peak_rss_mb"] / b["peak_rss_mb"] for a, b in pairs])
    return Result(case, rows, rounds, streame, _spreads(others), missing=missing)


def run_side(case: Case, side: str, rows: int, folder: Path) -> dict[str, dict[str, float]]:
    """Run one side in a process of its own and return what it measured."""
    found: dict[str, dict[str, float]] = json.loads(_run(case, side, rows, folder))
    return found


def _missing(case: Case) -> str | None:
    """The module that the other side needs, if it is not installed."""
    return case.peer_needs if case.peer_needs and find_spec(case.peer_needs) is None else None


def _rounds(
    case: Case,
    sides: Sequence[str],
    rows: int,
    rounds: int,
    folder: Path,
    tell: Callable[[str], None],
    at_once: int,
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    measures: dict[str, list[dict[str, float]]] = {"streame": [], "peer": []}
    expected: dict[str, float] | None = None
    with ThreadPoolExecutor(at_once) as pool:
        for number in range(rounds):
            tell(f"{case.name}: round {number + 1} of {rounds}")
            # The other side begins every second round, so that neither always finds the machine warm.
            order = sides if number % 2 == 0 else sides[::-1]
            running = [pool.submit(run_side, case, side, rows, folder) for side in order]
            for side, run in zip(order, running, strict=True):
                found = run.result()
                measures[side].append(found["measures"])
                expected = expected or found["digest"]
                if not _equal(found["digest"], expected):
                    raise BenchmarkError(
                        f"{_side_name(case, side)} gave {found['digest']}, expected {expected}"
                    )
    return measures["streame"], measures["peer"]


def _run(case: Case, side: str, rows: int, folder: Path) -> str:
    # -P: a file in the current folder must not stand in for a module.
    command = [sys.executable, "-P", *arguments(case, side, rows, folder)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{_side_name(case, side)} did not end within {TIMEOUT_S} s") from None
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-ERROR_LINES:])
        raise BenchmarkError(f"{_side_name(case, side)} ended with exit code {done.returncode}:\n{last}")
    return done.stdout


def _side_name(case: Case, side: str) -> str:
    return case.peer_name if side == "peer" else "Streame"


def _spreads(rounds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    names = rounds[0] if rounds else ()
    return {name: Spread.of([measures[name] for measures in rounds]) for name in names}


def _equal(left: Mapping[str, float], right: Mapping[str, float]) -> bool:
    """Sums of floats may differ in the last digits, because they are added up in another order."""
    return left.keys() == right.keys() and all(
        math.isclose(left[name], right[name], rel_tol=1e-9) for name in left
    )
