"""How the command line tells an error, and with which exit code it ends."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer
from rich.console import Console
from rich.text import Text

from streame.errors import PlanError, StreameError


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    """The job ended, or was stopped."""
    FAILED = 1
    """The job failed, or something that is needed is missing."""
    WRONG_USAGE = 2
    """The arguments or the pipeline are wrong; no row was read."""
    INTERRUPTED = 130
    """A second Ctrl-C ended the process before the job had stopped."""


class UsageError(Exception):
    """The arguments do not fit; the message says what to do."""


@contextmanager
def told(*, with_traceback: bool = False) -> Iterator[None]:
    """Say what went wrong within, on standard error, and end with the exit code for it.

    Args:
        with_traceback: whether the traceback comes before the message.
    """
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped at once; what was not written yet is lost")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as error:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        if with_traceback:
            console.print(Text("".join(traceback.format_exception(error)).rstrip()))
        for line in explained(error):
            console.print(line)
        wrong_usage = isinstance(error, PlanError | UsageError)
        raise typer.Exit(ExitCode.WRONG_USAGE if wrong_usage else ExitCode.FAILED) from None


def explained(error: Exception) -> Iterator[Text]:
    """The lines that tell an error: what happened, and where."""
    kind = "" if isinstance(error, StreameError | UsageError) else f"{type(error).__name__}: "
    yield Text.assemble(("error: ", "bold red"), kind, str(error) or "no message")
    for note in getattr(error, "__notes__", ()):
        yield Text(f"  {note}", style="dim")
    if kind:
        yield Text("  --traceback shows where in the code", style="dim")
