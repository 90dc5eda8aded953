"""What `streame bench` says: a few lines per benchmark, a closing line, and the same as data."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from rich.text import Text

from streame.cli.bench.case import Bar
from streame.cli.bench.runner import Measures, Result, Spread

HEADER = f"{'':32}{'rows/s':>12}{'spread':>8}{'CPU s':>9}{'peak MB':>9}{'ratio':>8}"
IN_COLUMNS = {"seconds", "rows_per_s", "cpu_s", "peak_rss_mb", "ratio", "peak_ratio"}


def lines(result: Result, *, judged: bool) -> Iterator[Text]:
    """The lines about one benchmark; `judged` is whether its bars are held against it."""
    yield Text.assemble((result.case.name, "bold"), f"  {result.case.title}, {result.rows:,} rows")
    if result.error is not None:
        yield Text.assemble(("  failed: ", "bold red"), result.error)
        return
    if result.absent is not None:
        yield Text(f"  did not run: the command `{result.absent}` is not on PATH", "yellow")
        return
    for side, measures, style in (
        ("Streame", result.streame, ""),
        (result.case.peer_name, result.peer, "dim"),
    ):
        if measures:
            yield Text(f"  {_columns(side, measures)}", style)
        own = [
            f"{name} {_number(spread.median)}" for name, spread in measures.items() if name not in IN_COLUMNS
        ]
        if own:
            yield Text(f"    {', '.join(own)}", style)
    if result.missing is not None:
        yield Text(f"  {result.case.peer_name} did not run: {_not_installed(result.missing)}", "yellow")
    can_be_judged = [bar for bar, _ in result.bars()]
    for bar in result.case.bars:
        if not judged:
            yield Text(f"  bar: {_bar(bar)}, not judged in a smoke run", "dim")
        elif bar in can_be_judged:
            yield _judgement(bar, result.streame[bar.measure])
        else:
            yield Text(f"  bar: {_bar(bar)}, not judged without the other side", "dim")


def closing(results: Sequence[Result], *, judged: bool) -> Iterator[Text]:
    """How many ran, and which bars were missed."""
    failed = [result.case.name for result in results if result.error is not None]
    missing = [result.missing for result in results if result.missing is not None]
    absent = [result.case.name for result in results if result.absent is not None]
    if failed:
        yield Text(f"Benchmarks: {len(failed)} of {len(results)} failed: {', '.join(failed)}", "bold red")
    else:
        ran = len(results) - len(missing) - len(absent)
        yield Text(f"Benchmarks: {ran} ran, and both sides of each gave the same.")
    if absent:
        yield Text(f"{len(absent)} did not run at all: {', '.join(absent)}", "yellow")
    for module in sorted(set(missing)):
        yield Text(f"{missing.count(module)} ran without the other side: {_not_installed(module)}", "yellow")
    if judged:
        missed = missed_bars(results)
        bars = sum(len(result.bars()) for result in results)
        yield Text(
            f"Bars: {bars - len(missed)} of {bars} hold" + "".join(f"\n  missed: {text}" for text in missed)
        )


def missed_bars(results: Sequence[Result]) -> list[str]:
    """The bars that do not hold, in words."""
    return [
        f"{result.case.name}: {_number(value)} instead of {_bar(bar)}"
        for result in results
        for bar, value in result.bars()
        if not bar.holds(value)
    ]


def as_data(results: Sequence[Result], *, smoke: bool) -> dict[str, Any]:
    """Everything for a program, with the spread of every measure over the rounds."""
    return {
        "streame": version("streame"),
        "polars": version("polars"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "smoke": smoke,
        "results": [_result_data(result, smoke=smoke) for result in results],
    }


def _result_data(result: Result, *, smoke: bool) -> dict[str, Any]:
    return {
        "name": result.case.name,
        "title": result.case.title,
        "rows": result.rows,
        "rounds": result.rounds,
        "error": result.error,
        "missing": result.missing,
        "absent": result.absent,
        "streame": {name: asdict(spread) for name, spread in result.streame.items()},
        "peer_name": result.case.peer_name if result.case.peer else None,
        "peer": {name: asdict(spread) for name, spread in result.peer.items()},
        "bars": [
            {**asdict(bar), "value": value, "holds": None if smoke else bar.holds(value)}
            for bar, value in result.bars()
        ],
    }


def _not_installed(module: str) -> str:
    return f"{module} is not installed; pip install 'streame[dev]'"


def _columns(side: str, measures: Measures) -> str:
    speed = measures["rows_per_s"]
    spread = f"±{(speed.highest - speed.lowest) / 2 / speed.median:.0%}"
    ratio = f"{measures['ratio'].median:8.2f}" if "ratio" in measures else ""
    cpu, memory = measures["cpu_s"].median, measures["peak_rss_mb"].median
    return f"{side:30}{_number(speed.median):>12}{spread:>8}{cpu:9.2f}{memory:9.0f}{ratio}"


def _judgement(bar: Bar, spread: Spread) -> Text:
    verdict = ("holds", "green") if bar.holds(spread.median) else ("missed", "bold yellow")
    extremes = f"{_number(spread.lowest)} to {_number(spread.highest)}"
    return Text.assemble(f"  bar: {_bar(bar)}, is {_number(spread.median)} ({extremes}): ", verdict)


def _bar(bar: Bar) -> str:
    return f"{bar.measure} {bar.kind} {_number(bar.limit)}"


def _number(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:.1f} M"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
