"""`streame bench`: Streame and its peers on the same rows."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from streame.cli.bench.case import Case
from streame.cli.bench.catalog import CASES
from streame.cli.bench.profiles import missing_tools, write_profiles
from streame.cli.bench.report import HEADER, as_data, closing, lines, missed_bars
from streame.cli.bench.runner import Result, run_case
from streame.cli.failure import ExitCode, UsageError, told


def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Run only this benchmark; may be given several times, and NAME* is a prefix."
        ),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Few rows, one round: only whether everything runs.")
    ] = False,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write a CPU flame graph and a memory profile of each benchmark there."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 if a bar is missed.")] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the results as JSON on standard output, the text on standard error."
        ),
    ] = False,
) -> None:
    """Compare Streame with Polars on the same rows: speed, processor time, memory, latency.

    Every side of every benchmark runs in a process of its own, by turns with the other side. Both must give the same;
    if they do not, or one fails, this ends with 1.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    with told():
        cases = [case for case in _chosen(only or []) if case.smoke_rows or not smoke]
        if profile is not None:
            _check_profilers(profile)
        console.print(Text(HEADER, "dim"))
        with tempfile.TemporaryDirectory(prefix="streame-bench-") as folder:
            results = [_run(case, console, Path(folder), smoke=smoke, profile=profile) for case in cases]
    for line in closing(results, judged=not smoke):
        console.print(line)
    if as_json:
        print(json.dumps(as_data(results, smoke=smoke), indent=2))
    failed = any(result.error is not None for result in results)
    missed = strict and not smoke and bool(missed_bars(results))
    raise typer.Exit(ExitCode.FAILED if failed or missed else ExitCode.DONE)


def _run(case: Case, console: Console, folder: Path, *, smoke: bool, profile: Path | None) -> Result:
    with console.status(case.name) as status:
        result = run_case(case, smoke=smoke, folder=folder, tell=status.update)
        for line in lines(result, judged=not smoke):
            console.print(line)
        if profile is not None and result.error is None and case.program is None:
            status.update(f"{case.name}: profiling")
            for path in write_profiles(case, result.rows, folder, profile):
                console.print(Text(f"  profile: {path}", "dim"))
    return result


def _chosen(names: list[str]) -> list[Case]:
    if not names:
        return list(CASES)
    chosen = [case for case in CASES if any(_matches(case, name) for name in names)]
    for name in names:
        if not any(_matches(case, name) for case in CASES):
            raise UsageError(
                f"there is no benchmark {name!r}; there are: {', '.join(case.name for case in CASES)}"
            )
    return chosen


def _matches(case: Case, name: str) -> bool:
    return case.name.startswith(name[:-1]) if name.endswith("*") else case.name == name


def _check_profilers(folder: Path) -> None:
    if missing := missing_tools():
        raise UsageError(f"--profile needs {' and '.join(missing)}; pip install 'streame[dev]'")
    folder.mkdir(parents=True, exist_ok=True)
