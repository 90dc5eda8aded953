"""`streame run`: run a job until it ends or is stopped."""

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import streame as st
from streame.cli.failure import told
from streame.cli.load import load_job
from streame.cli.progress import display, summary, watch

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:JOB", help="A module or a path to a .py file, and the name of a job in it."
    ),
]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show where in the code an error came from.")]


Errors = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write dead letters to NDJSON files in this directory.")
]
Parallelism = Annotated[
    int | None, typer.Option(min=1, help="Instances of every keyed operator.", show_default="1")
]
Checkpoints = Annotated[
    str | None, typer.Option(metavar="DIR", help="Keep checkpoints here, and go on from the last one.")
]
CheckpointInterval = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Time between two checkpoints.", show_default="5s")
]
Savepoint = Annotated[
    str | None, typer.Option(metavar="DIR", help="Begin from this savepoint if there is no checkpoint.")
]
AllowDroppedState = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Give up the state of this operator; may be given several times."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the final status as JSON on standard output.")]


def run(
    target: Target,
    errors: Errors = None,
    parallelism: Parallelism = None,
    checkpoints: Checkpoints = None,
    checkpoint_interval: CheckpointInterval = None,
    savepoint: Savepoint = None,
    allow_dropped_state: AllowDroppedState = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Run a job until its sources end.

    SIGINT (Ctrl-C) and SIGTERM stop it: what was read is worked on and written, or becomes the last checkpoint. JOB may be a job, or a function
    without arguments that returns one. Other settings come from STREAME_* variables or from streame.toml.
    """
    with told(with_traceback=traceback):
        settings = {
            "errors": errors,
            "parallelism": parallelism,
            "checkpoints": checkpoints,
            "checkpoint_interval": checkpoint_interval,
            "savepoint": savepoint,
            "allow_dropped_state": allow_dropped_state or (),
        }
        run_shown(load_job(target), settings, as_json=as_json)


def run_shown(job: st.Job, settings: Mapping[str, Any], *, as_json: bool) -> None:
    """Run a job and show where it stands, and what it has done in the end.

    Args:
        job: the job.
        settings: the arguments of `start`.
        as_json: whether the final status goes to standard output.
    """
    with display() as show:
        # Standard output is for the JSON alone, so what a console sink prints goes the other way.
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            handle = job.start(**settings)
        try:
            watch(handle, show)
        finally:
            if as_json:
                print(json.dumps(asdict(handle.status())), flush=True)
    Console(stderr=True, highlight=False, soft_wrap=True).print(summary(handle.status()))
