"""`streame chaos`: disturb a job in all ways, and prove that its output stays the same."""

import json
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from streame.cli.chaos.campaign import Campaign, Settings, Undisturbed
from streame.cli.chaos.outputs import replaced_names
from streame.cli.chaos.proof import as_data, lines, nothing_resumed, rows, table, troubles, unreached
from streame.cli.chaos.run import Tried
from streame.cli.failure import ExitCode, UsageError, told
from streame.cli.load import load_job
from streame.cli.run import Target, Traceback
from streame.core.durations import duration_us
from streame.core.hashing import KEY_GROUPS


def chaos(
    target: Target,
    kills: Annotated[int, typer.Option(min=0, help="How many times to kill the process at random.")] = 20,
    stops: Annotated[int, typer.Option(min=0, help="How many times to stop it with SIGTERM.")] = 5,
    damages: Annotated[int, typer.Option(min=0, help="How many times to damage a file of it.")] = 10,
    failpoints: Annotated[
        bool, typer.Option("--failpoints/--no-failpoints", help="Let it end and fail at every failpoint.")
    ] = True,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Draw the same disturbances again.", show_default="a new one")
    ] = None,
    parallelism: Annotated[
        str, typer.Option(metavar="N,N", help="Instances of every keyed operator; restarts change it.")
    ] = "1,3",
    interval: Annotated[
        str | None,
        typer.Option(help="Between two checkpoints.", show_default="a twentieth of the undisturbed run"),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            help="A process that takes longer is stuck.", show_default="60s, or 20 undisturbed runs"
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 1,
    small_disk: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder on a small disk, which is really filled.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SINK:COLUMN,...", help="Rows that are equal in these columns must keep their order."
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KIND/NUMBER", help="Only this run, of the same seed.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep everything that is written, in this new folder.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the table as JSON on standard output.")
    ] = False,
    traceback: Traceback = False,
) -> None:
    """Disturb a job again and again, and compare its output with that of an undisturbed run.

    The job runs in processes of their own that are killed at random and at every failpoint, stopped, find their disk
    full and their files damaged; each is started again until it has finished. Its sources must end. Its file sinks
    write into a folder of the run instead; queues, consoles and sinks of your own are replaced by NDJSON files. Ends
    with 1 if a row is lost, doubled, changed or out of order, or a run is stuck.
    """
    with told(with_traceback=traceback):
        settings = Settings(
            kills=kills,
            stops=stops,
            damages=damages,
            failpoints="all" if failpoints else "none",
            seed=secrets.randbits(32) if seed is None else seed,
            parallelism=_numbers(parallelism),
            interval=interval,
            timeout_s=duration_us(timeout, where="--timeout") / 1e6 if timeout else None,
            at_once=jobs,
            small_disk=small_disk,
            keys=dict(_keys(key or [])),
            only=tuple(only or ()),
        )
        show = _Show(Console(stderr=as_json, highlight=False, soft_wrap=True), settings)
        with _scratch(keep) as scratch:
            good = _try(target, settings, scratch, show)
            if keep is None and not good:
                scratch.rename(kept := Path(tempfile.mkdtemp(prefix="streame-chaos-failed-")) / "runs")
                show.say(f"everything that the runs wrote is in {kept}")
    if as_json:
        print(json.dumps({"seed": settings.seed, "good": good, "rows": as_data(show.tried)}, indent=2))
    raise typer.Exit(ExitCode.DONE if good else ExitCode.FAILED)


def _try(target: str, settings: Settings, scratch: Path, show: "_Show") -> bool:
    """Whether the job kept its promises."""
    job = load_job(target)
    campaign = Campaign(target, job, settings, scratch)
    show.begin(list(replaced_names(campaign.outputs)), job.explain())
    undisturbed = campaign.undisturbed()
    if undisturbed.difference:
        show.say(
            f"undisturbed, the job does not give the same with and without checkpoints, so nothing can be compared: "
            f"{undisturbed.difference}. Is it repeatable? `streame explain` says what is not"
        )
        return False
    show.measured(undisturbed)
    with show.progress():
        for tried in campaign.tried(undisturbed):
            show.ended(tried)
    return show.conclude(campaign.untried)


PLAIN_LINE_S = 30.0
"""How often a line says how far it is, where that is no terminal."""


class _Show:
    """Says on a console what is going on, and what came of it."""

    def __init__(self, console: Console, settings: Settings) -> None:
        self.tried: list[Tried] = []
        self._console, self._settings = console, settings
        self._status: Status | None = None
        self._said_at = time.monotonic()

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style))

    def begin(self, replaced: list[str], plan: str) -> None:
        """What is known before anything runs."""
        self.say(f"seed {self._settings.seed}", "dim")
        for name in replaced:
            self.say(f"{name}: written as NDJSON parts instead", "yellow")
        for line in plan.splitlines():
            if "not repeatable" in line:
                self.say(line.strip(" │├└─"), "yellow")

    def measured(self, undisturbed: Undisturbed) -> None:
        """What the undisturbed runs gave."""
        counts = ", ".join(f"{name}: {frame.height:,} rows" for name, frame in undisturbed.expected.items())
        took = undisturbed.durations
        self.say(
            f"undisturbed: {counts}; {took.load_s:.2f} s to load, {took.run_s:.2f} s to run, {took.checkpoints} "
            f"checkpoints, {undisturbed.interval} apart"
        )

    @contextmanager
    def progress(self) -> Iterator[None]:
        """While runs are made: a line that changes on a terminal, new lines otherwise."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status("the first run") as self._status:
            yield

    def ended(self, tried: Tried) -> None:
        """A run has ended."""
        self.tried.append(tried)
        for line in troubles([tried]):
            self.say(line, "red")
        happened = sum(each.happened for each in self.tried)
        text = f"{len(self.tried):,} runs, {happened:,} disturbances; now after {tried.script.name}"
        if self._status is not None:
            self._status.update(text)
        elif time.monotonic() > self._said_at + PLAIN_LINE_S:
            self._said_at = time.monotonic()
            self.say(text, "dim")

    def conclude(self, untried: list[str]) -> bool:
        """The table, and whether all is well.

        Args:
            untried: the failpoints that no run can come to.
        """
        found = rows(self.tried)
        if self._console.is_terminal:
            self._console.print(table(found))
        else:
            for line in lines(found):
                self.say(line)
        if missed := unreached(self.tried):
            self.say(f"no run came to these failpoints: {', '.join(missed)}", "yellow")
        if self._settings.failpoints != "none":
            self.say(
                f"not reached, as one process runs the job and no source goes through a log: {', '.join(untried)}",
                "dim",
            )
        if warning := nothing_resumed(found):
            self.say(warning, "yellow")
        bad = [each.script.name for each in self.tried if not each.is_good]
        settings = self._settings
        again = _again(sys.argv[1:], settings.seed)
        if bad:
            self.say(f"{len(bad)} of {len(self.tried)} runs went wrong", "bold red")
            one = "" if settings.only else f" --only {bad[0]}"
            self.say(f"one of them again: {again}{one} --keep DIR")
        else:
            happened = sum(each.happened for each in self.tried)
            self.say(f"{happened:,} disturbances, and the output is the same; all again: {again}", "green")
        return not bad


def _again(arguments: list[str], seed: int) -> str:
    """The command that draws the same once more."""
    given = any(each == "--seed" or each.startswith("--seed=") for each in arguments)
    return shlex.join(["streame", *arguments, *([] if given else ["--seed", str(seed)])])


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise UsageError(f"{keep} is not empty; give a new folder to --keep")
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="streame-chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) if part.strip().isdigit() else 0 for part in text.split(","))
    if not all(1 <= number <= KEY_GROUPS for number in numbers):
        raise UsageError(f"--parallelism {text}: give whole numbers from 1 to {KEY_GROUPS}, such as 1,3")
    return numbers


def _keys(given: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for text in given:
        sink, colon, columns = text.rpartition(":")
        if not colon or not sink or not columns:
            raise UsageError(
                f"--key {text}: give the name of a sink, a colon and columns, such as orders:user"
            )
        yield f"sink {sink}", tuple(columns.split(","))
