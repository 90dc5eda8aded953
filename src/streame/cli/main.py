"""The command line: `streame run`, `node`, `cluster`, `explain`, `checkpoints`, `savepoint`, `demo`, `bench`, `chaos`, `certs`, `doctor`."""

from importlib.metadata import version
from typing import Annotated

import typer

from streame.cli.bench.command import bench
from streame.cli.certs import certs
from streame.cli.chaos.command import chaos
from streame.cli.checkpoints import app as checkpoints
from streame.cli.checkpoints import savepoint
from streame.cli.cluster.command import app as cluster
from streame.cli.cluster.node import node
from streame.cli.demo.command import demo
from streame.cli.doctor import doctor
from streame.cli.explain import explain
from streame.cli.run import run

EXIT_CODES = (
    "Exit codes: 0 the job ended or was stopped; 1 it failed; 2 wrong usage, or the pipeline is wrong."
)

app = typer.Typer(
    name="streame",
    help="Polars dataframes over rows that never stop arriving.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (run, node, explain, savepoint, demo, bench, chaos, certs, doctor):
    app.command(epilog=EXIT_CODES)(command)
app.add_typer(cluster)
app.add_typer(checkpoints)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"streame {version('streame')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Polars dataframes over rows that never stop arriving."""
