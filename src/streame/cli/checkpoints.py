"""`streame checkpoints`: look at the checkpoints of a job, check every byte of them, compare them with a plan."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streame.cli.failure import ExitCode, told
from streame.cli.load import load_job
from streame.cli.run import Target, Traceback
from streame.core.locations import folder_or_objects, local_folder
from streame.state.checkpoint.inspection import (
    checkpoint_json,
    list_checkpoints,
    read_checkpoint,
    state_of,
    verify_checkpoints,
)
from streame.state.checkpoint.object_saving import make_savepoint_of_objects
from streame.state.checkpoint.plan_difference import compare_plans
from streame.state.checkpoint.savepoints import make_savepoint
from streame.storage.objects import ObjectStore
from streame.storage.s3 import S3Bucket

Place = Annotated[
    str,
    typer.Argument(
        metavar="DIR",
        help="The checkpoints of a job (a folder or an s3:// URL), or a savepoint.",
        show_default=False,
    ),
]
Number = Annotated[
    int | None, typer.Option("--number", "-n", help="Which checkpoint.", show_default="the last one")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(
    name="checkpoints",
    help="Look at the checkpoints of a job; it may be running meanwhile.",
    no_args_is_help=True,
)


@app.command("list")
def list_(place: Place, as_json: AsJson = False, traceback: Traceback = False) -> None:
    """List the checkpoints that are kept, oldest first."""
    with told(with_traceback=traceback):
        job, listed = list_checkpoints(_opened(place))
        if as_json:
            print(json.dumps({"job": job, "checkpoints": [asdict(each) for each in listed]}))
            return
        rows = [
            (each.number, _size(each.state_bytes), _size(each.new_bytes), each.operators, each.pieces, each.problem or "")
            for each in listed
        ]  # fmt: skip
        _table(f"job {job}", ("number", "state", "new", "operators", "output", "problem"), rows)


@app.command()
def show(place: Place, number: Number = None, as_json: AsJson = False, traceback: Traceback = False) -> None:
    """Show what is in a checkpoint: where the sources are, what the sinks let out, and all state by operator."""
    with told(with_traceback=traceback):
        manifest = read_checkpoint(_opened(place), number)
        if as_json:
            print(json.dumps(checkpoint_json(manifest)))
            return
        console = _console()
        console.print(f"checkpoint {manifest.number} of job {manifest.job}")
        for name, value in manifest.settings.items():
            console.print(f"  {name}: {value}")
        for name, position in manifest.sources.items():
            console.print(f"source {name}: {json.dumps(position)}")
        for name, staged in manifest.output.staged.items():
            console.print(f"{name}: {len(staged.pieces)} pieces of output")
        rows = [
            (each.name, each.instances, f"{each.rows:,}", _size(each.bytes)) for each in state_of(manifest)
        ]
        _table("state", ("operator", "instances", "rows", "bytes"), rows)


@app.command()
def verify(place: Place, as_json: AsJson = False, traceback: Traceback = False) -> None:
    """Read every byte of every checkpoint and compare it with its digest. Exit code 1 if anything is wrong."""
    with told(with_traceback=traceback):
        verdicts = verify_checkpoints(_opened(place))
        if as_json:
            print(json.dumps([asdict(each) for each in verdicts]))
        else:
            rows = [(each.number, _size(each.bytes), "; ".join(each.problems) or "ok") for each in verdicts]
            _table("", ("number", "read", "verdict"), rows)
        if any(each.problems for each in verdicts):
            raise typer.Exit(ExitCode.FAILED)


@app.command()
def diff(
    place: Place,
    target: Target,
    number: Number = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Compare a checkpoint with a job: what of its state is kept, new, dropped or changed.

    Exit code 1 if the job cannot go on from it without giving up state.
    """
    with told(with_traceback=traceback):
        differences = compare_plans(read_checkpoint(_opened(place), number).plan, load_job(target).identity())
        if as_json:
            print(json.dumps([{"name": each.name, "fate": each.fate} for each in differences]))
        else:
            for each in differences:
                _console().print(str(each))
        if any(each.fate in {"dropped", "changed"} for each in differences):
            raise typer.Exit(ExitCode.FAILED)


def savepoint(
    place: Place,
    target: Annotated[str, typer.Argument(metavar="NEW_DIR", help="The savepoint; a new folder.")],
    traceback: Traceback = False,
) -> None:
    """Copy the last checkpoint of a job to a folder that is kept, and can be begun from with any parallelism.

    The job may be running. `streame run --savepoint` and `job.run(savepoint=...)` begin from it.
    """
    with told(with_traceback=traceback):
        source, folder = _opened(place), local_folder(target, where="NEW_DIR")
        if isinstance(source, Path):
            number = make_savepoint(source, folder)
        else:
            number = make_savepoint_of_objects(source, folder)
        _console().print(f"checkpoint {number} copied to {target}")


def _opened(place: str) -> Path | ObjectStore:
    found = folder_or_objects(place, where="DIR")
    return found if isinstance(found, Path) else ObjectStore(S3Bucket(found, os.environ))


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in {"operator", "problem", "verdict"} else "right")
    for row in rows:
        table.add_row(*map(str, row))
    _console().print(table)


def _size(count: int) -> str:
    """Bytes for people."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
