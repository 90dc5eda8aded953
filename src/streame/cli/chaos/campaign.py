"""Everything that is done to a job: it is measured undisturbed, then disturbed in all ways."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import polars as pl

import streame as st
from streame.cli.chaos.attempt import Attempts, Durations, Start, started
from streame.cli.chaos.ballast import ROOM_MAX, Ballast
from streame.cli.chaos.child import Order
from streame.cli.chaos.compare import Difference
from streame.cli.chaos.disturbances import Armed, Outcome
from streame.cli.chaos.outputs import Output, errors_output, outputs_of, read
from streame.cli.chaos.points import failpoints
from streame.cli.chaos.run import Runs, Tried
from streame.cli.chaos.scripts import Draw, Script
from streame.cli.failure import UsageError
from streame.core.failpoints import VARIABLE
from streame.io.deadletter_files import READABLE_SCHEMA
from streame.plan.nodes import Scan, walk

TRIES = 3
"""So many times as many runs as needed are made at most, until as many disturbances have happened as were asked for."""

INTERVALS = 20
"""So many checkpoints there are in a run, unless the interval is given."""

FIRST_TIMEOUT_S = 600.0
TIMEOUT_S = 60.0
"""How long a process may take, unless it is given: at least this."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is to be tried.

    Args:
        kills: how many SIGKILLs.
        stops: how many SIGTERMs.
        damages: how many damaged files.
        failpoints: whether to try every failpoint: in all ways, once, or not at all.
        seed: of everything.
        parallelism: with which the processes run; those of one run differ.
        interval: between checkpoints, as for `Job.run`; `None` for as many as are good for the job.
        timeout_s: how long a process may take; `None` for what is good for the job.
        at_once: how many runs are made at the same time.
        small_disk: a folder on a disk that can be filled.
        fills: how often it is filled.
        keys: for a sink, columns whose rows come in order where they are equal in these.
        only: the names of the runs to make; nothing for all.
    """

    kills: int = 20
    stops: int = 5
    damages: int = 10
    failpoints: Literal["all", "once", "none"] = "all"
    seed: int = 0
    parallelism: tuple[int, ...] = (1, 3)
    interval: str | None = None
    timeout_s: float | None = None
    at_once: int = 1
    small_disk: Path | None = None
    fills: int = 3
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """The job when it is left alone.

    Args:
        expected: the rows of each sink.
        durations: how long the phases of its process take with checkpoints.
        interval: between checkpoints.
        difference: between its output without checkpoints and with them, and after another start of the finished job.
    """

    expected: Mapping[str, pl.DataFrame]
    durations: Durations
    interval: str
    difference: Difference


def refuse_endless(job: st.Job) -> None:
    """Say what to do where the sources of a job do not end, or cannot be read again by another process.

    Raises:
        UsageError: when it is such a job.
    """
    for scan in walk(*job.writes):
        if not isinstance(scan, Scan):
            continue
        kind = type(scan.source).__name__
        if not getattr(scan.source, "replayable", True):
            raise UsageError(
                f"source {scan.name!r} ({kind}) cannot be read twice, but every run must read the same rows: give "
                "chaos a job that reads recorded rows, for instance from a file with st.scan_ndjson"
            )
        if not scan.source.bounded:
            raise UsageError(
                f"source {scan.name!r} ({kind}) never ends by itself, but a run is compared with another one when both "
                "have ended: give chaos a job that reads recorded rows to their end (without follow=True)"
            )


class Campaign:
    """Tries one job.

    Args:
        target: names it, as for `streame run`.
        job: the job.
        settings: what is to be tried.
        scratch: an empty folder for everything that is written.
        start: what starts a process.

    Attributes:
        outputs: the sinks.
        untried: the failpoints that no run of the job can come to.
    """

    def __init__(
        self, target: str, job: st.Job, settings: Settings, scratch: Path, start: Start = started
    ) -> None:
        refuse_endless(job)
        if settings.small_disk is not None and not Ballast(settings.small_disk).is_small:
            raise UsageError(
                f"{settings.small_disk} has more than {ROOM_MAX // 2**20:,} MiB of room, which is too much to be "
                "filled; give a folder on a small disk, such as a tmpfs of 64 MiB"
            )
        self.outputs: list[Output] = [*outputs_of(job, dict(settings.keys)), errors_output(READABLE_SCHEMA)]
        # Every run must read the same rows, so that no source of the job goes through a log.
        self._points = [point for point in failpoints() if not (point.logs or point.is_clustered)]
        self.untried = [point.name for point in failpoints() if point.logs or point.is_clustered]
        self._settings = settings
        self._scratch = scratch
        self._start = start
        self._order = Order(target, "", 1, None, 0)
        self._draw = Draw(settings.seed, settings.parallelism)

    def undisturbed(self) -> Undisturbed:
        """Run the job without checkpoints, with them, and once more when it has finished.

        Raises:
            UsageError: when it does not run to its end.
        """
        settings = self._settings
        folder = self._scratch / "undisturbed"
        attempts = self._attempts(
            Durations(1.0, 1.0, 1.0), settings.timeout_s or FIRST_TIMEOUT_S, self._scratch
        )
        plain = self._alone(attempts, folder / "plain", settings.parallelism[0], None)
        expected = {output.name: read(output, folder / "plain") for output in self.outputs}
        assert plain.run_s is not None
        interval = settings.interval or f"{min(5000, max(10, int(plain.run_s * 1000 / INTERVALS)))}ms"
        durable = self._alone(attempts, folder / "durable", settings.parallelism[-1], interval)
        runs = Runs(self._order, attempts, self.outputs, expected, folder, settings.seed)
        difference = runs.difference(folder / "durable")
        again = self._alone(attempts, folder / "durable", settings.parallelism[0], interval)
        difference = difference or runs.difference(folder / "durable")
        assert durable.load_s is not None
        assert durable.run_s is not None
        assert again.recover_s is not None
        durations = Durations(durable.load_s, again.recover_s, durable.run_s, durable.checkpoints)
        return Undisturbed(expected, durations, interval, difference)

    def tried(self, undisturbed: Undisturbed) -> Iterator[Tried]:
        """Make all runs, as they end."""
        settings = self._settings
        longest = sum((undisturbed.durations.of(phase) for phase in ("load", "recover", "run")), 0.0)
        timeout_s = settings.timeout_s or max(TIMEOUT_S, 20 * longest)
        runs = Runs(
            replace(self._order, interval=undisturbed.interval),
            self._attempts(undisturbed.durations, timeout_s, self._scratch),
            self.outputs,
            undisturbed.expected,
            self._scratch,
            settings.seed,
            settings.small_disk,
        )
        with ThreadPoolExecutor(settings.at_once) as pool:

            def make(scripts: Iterable[Script]) -> Iterator[Tried]:
                return pool.map(runs.run, self._wanted(scripts))

            if settings.only:
                if not self._wanted(self.everything()):
                    raise UsageError(
                        f"--only: there is no run {', '.join(settings.only)}; give a name such as kill/3"
                    )
                yield from make(self.everything())
                return
            yield from self._until(settings.kills, self._draw.kills, make)
            yield from self._until(settings.stops, self._draw.stops, make)
            yield from self._until(settings.damages, self._draw.damage, make)
            if settings.small_disk is not None:
                yield from self._until(settings.fills, self._draw.full_disk, make)
            if settings.failpoints != "none":
                yield from self._at_failpoints(make)

    def _until(
        self, wanted: int, draw: Callable[[int], Script], make: Callable[[Iterable[Script]], Iterator[Tried]]
    ) -> Iterator[Tried]:
        """Runs until so many disturbances have happened."""
        happened = number = 0
        while happened < wanted and number < TRIES * wanted:
            scripts: list[Script] = []
            while sum(len(script.steps) for script in scripts) < wanted - happened:
                scripts.append(draw(number))
                number += 1
            for tried in make(scripts):
                happened += tried.happened
                yield tried

    def _at_failpoints(self, make: Callable[[Iterable[Script]], Iterator[Tried]]) -> Iterator[Tried]:
        """Every failpoint; what was not reached is tried once more on its own."""
        points = self._points
        once = self._settings.failpoints == "once"
        full = () if once else self._draw.full_disks(points)
        for scripts in (self._draw.failpoints(points, once=once), full):
            again: dict[str, Script] = {}
            for tried in make(scripts):
                yield tried
                for step in tried.missed():
                    if isinstance(step.disturbance, Armed):
                        alone = self._draw.alone(tried.script.kind, step.disturbance)
                        again[alone.name] = alone
            yield from make(again.values())

    def everything(self) -> Iterator[Script]:
        """All scripts that may be asked for by name."""
        settings, points = self._settings, self._points
        for count, draw in (
            (settings.kills, self._draw.kills),
            (settings.stops, self._draw.stops),
            (settings.damages, self._draw.damage),
            (settings.fills if settings.small_disk else 0, self._draw.full_disk),
        ):
            yield from (draw(number) for number in range(TRIES * count))
        yield from self._draw.failpoints(points)
        yield from self._draw.full_disks(points)
        for point in points:
            for action in ("exit", "error", *(["torn"] if point.writes else [])):
                yield self._draw.alone("failpoint", Armed(point.name, action, 1))
            if not point.recovers:
                yield self._draw.alone("full disk", Armed(point.name, "enospc", 1))

    def _wanted(self, scripts: Iterable[Script]) -> list[Script]:
        return [each for each in scripts if not self._settings.only or each.name in self._settings.only]

    def _attempts(self, durations: Durations, timeout_s: float, scratch: Path) -> Attempts:
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        # What is compiled once need not be compiled by every process.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(scratch / "compiled")
        return Attempts(durations, timeout_s, environment, self._start)

    def _alone(self, attempts: Attempts, folder: Path, parallelism: int, interval: str | None) -> Outcome:
        folder.mkdir(parents=True, exist_ok=True)

        def order(pipe: int) -> Order:
            return replace(
                self._order, folder=str(folder), parallelism=parallelism, interval=interval, pipe=pipe
            )

        outcome = attempts.run(order, None, folder / "log", None)
        if outcome.end != "finished":
            what = "with checkpoints" if interval else "without checkpoints"
            raise UsageError(
                f"the job does not run to its end undisturbed, {what}: {outcome.error or outcome.end}"
            )
        return outcome
