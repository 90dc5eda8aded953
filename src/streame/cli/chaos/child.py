"""The process that runs the job: `python -m streame.cli.chaos.child`, with its order as JSON.

What it has come to goes as lines of JSON to a pipe, whose end is also how its own end is noticed.
"""

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streame as st
from streame.cli.chaos.outputs import ERRORS, moved, outputs_of
from streame.cli.load import load_job
from streame.errors import CheckpointError, ConnectorError
from streame.runtime.signals import stop_on_signals

LOOK_S = 0.02
"""How often it looks whether the job waits for room."""

FAILED = 3
"""Its exit code when the job has failed, which it says before."""

CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints of a run."""

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to do.

    Args:
        target: the job.
        folder: where its sinks write, and where its checkpoints are.
        parallelism: as for `Job.run`.
        interval: between checkpoints, as for `Job.run`; `None` for none.
        pipe: the file descriptor that it tells things to.
    """

    target: str
    folder: str
    parallelism: int
    interval: str | None
    pipe: int

    def arguments(self) -> list[str]:
        """The module and its argument for a process that does it."""
        return ["streame.cli.chaos.child", json.dumps(asdict(self))]


def obey(order: Order, tell: Tell) -> int:
    """Run the job; returns the exit code."""
    job = load_job(order.target)
    folder = Path(order.folder)
    job = moved(job, folder, outputs_of(job))
    tell({"at": "loaded"})
    try:
        checkpoint = _run(job, order, folder, tell)
    except Exception as error:
        tell(
            {
                "at": "failed",
                "error": _told(error),
                "expected": isinstance(error, CheckpointError | ConnectorError),
            }
        )
        return FAILED
    tell({"at": "ended", "checkpoint": checkpoint})
    return 0


def _run(job: st.Job, order: Order, folder: Path, tell: Tell) -> int | None:
    """Run it, and return the number of its last checkpoint."""
    checkpoints = folder / CHECKPOINTS if order.interval else None
    handle = job.start(
        checkpoints=checkpoints,
        checkpoint_interval=order.interval,
        errors=folder / ERRORS,
        parallelism=order.parallelism,
    )
    tell({"at": "began", "checkpoint": handle.status().checkpoint})
    said: str = ""
    with stop_on_signals(handle.stop):
        while not handle.wait(LOOK_S):
            if (state := handle.status().state) != said:
                said = state
                tell({"at": "state", "state": state})
    return handle.status().checkpoint


def _told(error: BaseException) -> str:
    """An error with everything that caused it."""
    said = f"{type(error).__name__}: {error}"
    return f"{said} <- {_told(error.__cause__)}" if error.__cause__ is not None else said


def _main(text: str) -> int:
    order = Order(**json.loads(text))
    faulthandler.register(signal.SIGUSR1)  # whoever finds it stuck asks where
    with os.fdopen(order.pipe, "w", buffering=1) as pipe, redirect_stdout(sys.stderr):
        return obey(order, lambda event: print(json.dumps(event), file=pipe, flush=True))


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
