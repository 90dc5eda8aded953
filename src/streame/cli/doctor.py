"""`streame doctor`: what is installed here, and whether it is enough."""

import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streame.cli.failure import ExitCode

UNUSED = "nothing of this version needs it"
EXTRAS = {
    "kafka": UNUSED,
    "postgres": UNUSED,
    "cluster": "`streame certs` needs it: pip install 'streame[cluster]'",
    "s3": UNUSED,
    "sketches": "st.approx_n_unique and st.approx_quantile need it: pip install 'streame[sketches]'",
}
PYTHON_MIN = (3, 11)
REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)(?:\[[^]]*])?(?:[^;]*?>=(?P<least>[\d.]+))?[^;]*(?:;(?P<marker>.*))?"
)

Verdict = Literal["ok", "missing", "not installed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: its name.
        found: what there is.
        verdict: `missing` means that Streame does not work so; `not installed` is for what is optional.
        advice: what to do.
    """

    what: str
    found: str
    verdict: Verdict = "ok"
    advice: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at this machine: versions, extras, cores, memory. Ends with 1 if something is missing or too old."""
    findings = [_python(), *_packages(), *_extras(), *_machine()]
    healthy = all(finding.verdict != "missing" for finding in findings)
    if as_json:
        print(
            json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in findings]}, indent=2)
        )
    else:
        _print(findings, healthy=healthy)
    raise typer.Exit(ExitCode.DONE if healthy else ExitCode.FAILED)


def _python() -> Finding:
    least = ".".join(map(str, PYTHON_MIN))
    if sys.version_info >= PYTHON_MIN:
        return Finding("python", platform.python_version())
    return Finding("python", platform.python_version(), "missing", f"install Python {least} or newer")


def _packages() -> Iterator[Finding]:
    """Streame and what it needs, as its own metadata says."""
    yield Finding("streame", version("streame"))
    for name, least, extra in _requirements():
        if extra is None:
            yield package(name, least)


def package(name: str, least: str) -> Finding:
    """Whether a package is there and new enough.

    Args:
        name: its name.
        least: the oldest version that will do.
    """
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name, "-", "missing", f"pip install '{name}>={least}'")
    if _numbers(found) < _numbers(least):
        return Finding(name, found, "missing", f"pip install '{name}>={least}'")
    return Finding(name, found)


def _extras() -> Iterator[Finding]:
    for extra, needed_by in EXTRAS.items():
        needed = [package(name, least) for name, least, its_extra in _requirements() if its_extra == extra]
        found = ", ".join(f"{each.what} {each.found}" for each in needed)
        if all(each.verdict == "ok" for each in needed):
            yield Finding(f"extra {extra}", found)
        else:
            yield Finding(f"extra {extra}", found, "not installed", needed_by)


def _requirements() -> Iterator[tuple[str, str, str | None]]:
    """Name, least version and extra of what is needed on this Python."""
    for line in requires("streame") or ():
        parsed = REQUIREMENT.fullmatch(line)
        assert parsed is not None, line
        marker = parsed["marker"] or ""
        extra = re.search(r"extra == ['\"](\w+)['\"]", marker)
        newest = re.search(r"python_version < ['\"]([\d.]+)['\"]", marker)
        if newest is None or sys.version_info[:2] < _numbers(newest[1]):
            yield parsed["name"], parsed["least"] or "0", extra[1] if extra else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _machine() -> Iterator[Finding]:
    yield Finding("cores", str(os.cpu_count()))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("memory", f"{memory / 2**30:.1f} GiB")
    folder = Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield Finding("temporary files", str(folder))
    except OSError as error:
        yield Finding(
            "temporary files", str(error), "missing", "let TMPDIR name a folder that can be written"
        )


def _print(findings: list[Finding], *, healthy: bool) -> None:
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    colours = {"ok": "green", "missing": "bold red", "not installed": "dim"}
    for finding in findings:
        verdict = Text(finding.verdict, colours[finding.verdict])
        table.add_row(finding.what, Text(finding.found), verdict, Text(finding.advice))
    console.print(table)
    console.print("Everything that is needed is here." if healthy else "Something that is needed is missing.")
