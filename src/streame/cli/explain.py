"""`streame explain`: show the plan of a job without running it."""

import json
from typing import Annotated

import typer

from streame.cli.failure import told
from streame.cli.load import load_job
from streame.cli.run import Target, Traceback


def explain(
    target: Target,
    as_json: Annotated[bool, typer.Option("--json", help="Print name and plan as a JSON object.")] = False,
    traceback: Traceback = False,
) -> None:
    """Show what a job would do: its operators, chains and schemas, and what bounds its state."""
    with told(with_traceback=traceback):
        job = load_job(target)
        plan = job.explain()
        print(json.dumps({"name": job.name, "plan": plan}) if as_json else plan)
