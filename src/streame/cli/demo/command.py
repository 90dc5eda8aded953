"""`streame demo`: a real job on real rows."""

import json
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from streame.cli.demo import pipeline
from streame.cli.demo.folder import DemoFolder
from streame.cli.demo.summary import Counts, by_weather, closing, delays, equals_plain_polars, folded, tables
from streame.cli.failure import ExitCode, UsageError, told
from streame.cli.progress import display, watch


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path("demo-out"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="Run it on three nodes of this machine, and kill the one that leads."),
    ] = False,
    seconds: Annotated[
        float, typer.Option(min=1, help="With --cluster: how long it takes if nothing happens.")
    ] = 15,
    rows: Annotated[int, typer.Option(min=0, hidden=True)] = 0,
) -> None:
    """Run a job on the 336,776 flights that were to leave New York in 2013.

    It drops cancelled flights, renames columns, adds one, joins the name of the airline, counts the delays of every hour
    and airport and joins the weather, keeps the ten worst routes, and writes all of it to Parquet files. It sets
    flights without an aircraft aside as dead letters. At the end the numbers are compared with those of plain Polars.

    With --cluster the flights come slowly, to three nodes with an etcd of three members, all in a temporary folder; the
    leader is killed in the middle, and at the end the output is compared with that of one process.
    """
    if cluster:
        _demo_on_a_cluster(seconds, rows, as_json=as_json)
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
        shown = delays(folder.flights), by_weather(folder.hours), folded(folder.routes)
        equal = equals_plain_polars(folder)
    if as_json:
        paths = {name: str(path) for name, path in folder.parts().items()}
        names = ("airlines", "weather", "worst_routes")
        frames = {name: frame.to_dicts() for name, frame in zip(names, shown, strict=True)}
        print(json.dumps({**asdict(counts), "equals_plain_polars": equal, **paths, **frames}))
    else:
        for table in tables(*shown):
            console.print(table)
            console.print()
        for line in closing(counts, folder, equal=equal):
            console.print(line)
    raise typer.Exit(ExitCode.DONE if equal else ExitCode.FAILED)


def _demo_on_a_cluster(seconds: float, rows: int, *, as_json: bool) -> None:
    with told():
        for module in ("cryptography", "grpc"):
            if find_spec(module) is None:
                raise UsageError(
                    f"--cluster needs the package {module}; install it with: pip install 'streame[cluster]'"
                )
        # Imported only here: the demo in one process needs none of it.
        show: Any = import_module("streame.cli.demo.cluster.show")
        good = show.run_cluster_demo(seconds, rows, as_json=as_json)
    raise typer.Exit(ExitCode.DONE if good else ExitCode.FAILED)
