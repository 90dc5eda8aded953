"""What a running job shows: one live line on a terminal, a line every few seconds otherwise.

All of it goes to standard error, so that rows and JSON have standard output for themselves.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

import streame as st
from streame.runtime.signals import stop_on_signals

REFRESH_S = 0.25
PLAIN_LINE_S = 5.0
SPEED_OVER_S = 2.0

Show = Callable[[st.JobStatus], None]


def watch(handle: st.JobHandle, show: Show) -> None:
    """Show where a job stands until it ends; SIGINT and SIGTERM stop it.

    Raises:
        StreameError: the error that ended the job, or what an operator raised.
    """
    with stop_on_signals(handle.stop):
        while handle.status().state in {"running", "degraded"} and not handle.wait(REFRESH_S):
            show(handle.status())
        show(handle.status())
        handle.wait()


@contextmanager
def display() -> Iterator[Show]:
    """Something that shows statuses: a line that changes on a terminal, new lines otherwise."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    speed = Speed()
    if not console.is_terminal:
        yield _plain_lines(console, speed)
        return
    spinner = Spinner("dots", Text("starting"))
    live = Live(
        spinner, console=console, transient=True, redirect_stdout=sys.stdout.isatty(), refresh_per_second=8
    )
    with live:
        yield lambda status: spinner.update(text=line(status, speed.of(status)))


def summary(status: st.JobStatus) -> Text:
    """What a job has done, in one line."""
    state = {"finished": ("finished", "green"), "failed": ("failed", "bold red")}
    speed = status.rows_in / status.seconds if status.seconds else 0.0
    return Text.assemble(
        (status.name, "bold"),
        " ",
        state.get(status.state, (status.state, "yellow")),
        f": {_counts(status)} in {status.seconds:.2f} s ({speed:,.0f} rows/s)",
    )


def line(status: st.JobStatus, rows_per_s: float) -> Text:
    """Where a job stands, in one line."""
    text = Text.assemble(
        (status.name, "bold"), f"  {_counts(status)}  {rows_per_s:,.0f} rows/s  {status.seconds:.0f} s"
    )
    if status.state == "stopping":
        text.append("  stopping: what was read is worked on", "yellow")
    if status.waits_for is not None:
        text.append(f"  the disk is full: no room for {status.waits_for}", "yellow")
    return text


class Speed:
    """Rows per second over the last two seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque([(0.0, 0)])

    def of(self, status: st.JobStatus) -> float:
        """The speed at the moment of a status; statuses come in order.

        A new attempt on a node counts from zero again, and so does the speed.
        """
        if status.rows_in < self._seen[-1][1]:
            self._seen = deque([(self._seen[-1][0], 0)])
        self._seen.append((status.seconds, status.rows_in))
        while len(self._seen) > 2 and self._seen[1][0] <= status.seconds - SPEED_OVER_S:
            self._seen.popleft()
        (began, before), (now, rows) = self._seen[0], self._seen[-1]
        return (rows - before) / (now - began) if now > began else 0.0


def _plain_lines(console: Console, speed: Speed) -> Show:
    next_at = time.monotonic() + PLAIN_LINE_S

    def show(status: st.JobStatus) -> None:
        nonlocal next_at
        rows_per_s = speed.of(status)
        if time.monotonic() >= next_at:
            next_at += PLAIN_LINE_S
            console.print(line(status, rows_per_s))

    return show


def _counts(status: st.JobStatus) -> str:
    refused = f", {status.rejected:,} rejected" if status.rejected else ""
    return f"{status.rows_in:,} rows in, {status.rows_out:,} out{refused}"
