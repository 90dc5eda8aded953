"""`streame demo`: a real job on real rows."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from streame.cli.demo import pipeline
from streame.cli.demo.folder import DemoFolder
from streame.cli.demo.summary import Counts, as_table, closing, delays
from streame.cli.failure import told
from streame.cli.progress import display, watch


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path("demo-out"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run a job on the 336,776 flights that were to leave New York in 2013.

    It drops cancelled flights, renames columns, adds one, joins the name of the airline, writes Parquet files, and
    sets flights without an aircraft aside as dead letters.
    """
    console = Console(highlight=False, soft_wrap=True)
    folder = DemoFolder(out)
    with told():
        folder.clear()
        if not as_json:
            console.print(Text.assemble(("Streame demo", "bold"), "  the flights of New York, 2013\n"))
        with display() as show:
            handle = pipeline.job(out).start(errors=folder.errors)
            watch(handle, show)
        counts = Counts.of(handle)
        airlines = delays(folder.flights)
    if as_json:
        paths = {"flights": str(folder.flights), "errors": str(folder.errors)}
        print(json.dumps({**asdict(counts), **paths, "airlines": airlines.to_dicts()}))
        return
    console.print(as_table(airlines))
    console.print()
    for line in closing(counts, folder):
        console.print(line)
