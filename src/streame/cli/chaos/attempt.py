"""One process that runs the job: started, disturbed, watched until it ends."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from streame.cli.chaos.ballast import Ballast
from streame.cli.chaos.child import FAILED, Order
from streame.cli.chaos.disturbances import Armed, Disturbance, FillDisk, Kill, Outcome, Phase, Terminate
from streame.core.failpoints import EXIT_CODE, VARIABLE

LAST_WORDS_S = 1.0
"""How long a process that is stuck has to say where."""


class Process(Protocol):
    """What is asked of a process that was started."""

    def wait(self, timeout: float | None = None, /) -> int:
        """Its exit code, once it has ended; raises `TimeoutExpired`."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal."""


Start = Callable[[Sequence[str], Mapping[str, str], int, int], Process]
"""Starts a process of Python, given a module and its arguments, the environment, the file descriptor that it is to have, and
that of its log."""


def started(arguments: Sequence[str], environment: Mapping[str, str], pipe: int, log: int) -> Process:
    """Start a process of Python."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment, pass_fds=[pipe], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Durations:
    """How long the phases of a process take undisturbed.

    Args:
        load_s: until the job is loaded.
        recover_s: until it runs.
        run_s: until its end.
        checkpoints: how many it makes.
    """

    load_s: float
    recover_s: float
    run_s: float
    checkpoints: int = 0

    def of(self, phase: Phase, resumed: int = 0) -> float:
        """How long one takes, where a process goes on from a checkpoint."""
        left = 1 - min(resumed, self.checkpoints) / self.checkpoints if self.checkpoints else 1.0
        return {"load": self.load_s, "recover": self.recover_s, "run": self.run_s * left}[phase]


@dataclass(slots=True)
class _Life:
    """What a process has told so far, and when."""

    begins: dict[Phase, float]
    ended_s: float | None = None
    resumed: int | None = None
    checkpoints: int = 0
    waited: bool = False
    error: str = ""
    expected: bool = False

    def hear(self, event: Mapping[str, Any]) -> None:
        now = time.monotonic()
        match event["at"]:
            case "loaded":
                self.begins["recover"] = now
            case "began":
                self.begins["run"] = now
                self.resumed = event["checkpoint"] or 0
            case "state":
                self.waited = self.waited or event["state"] == "degraded"
            case "failed":
                self.error, self.expected = event["error"], event["expected"]
            case "ended":
                self.ended_s = now
                self.checkpoints = event["checkpoint"] or 0

    def took(self, phase: Phase, until: float | None) -> float | None:
        begun = self.begins.get(phase)
        return None if begun is None or until is None else until - begun


@dataclass(frozen=True, slots=True)
class Attempts:
    """Starts processes.

    Args:
        durations: how long they take undisturbed.
        timeout_s: how long one may take.
        environment: theirs, without failpoints.
        start: what starts one.
    """

    durations: Durations
    timeout_s: float
    environment: Mapping[str, str]
    start: Start

    def run(
        self, order: Callable[[int], Order], disturbance: Disturbance | None, log: Path, disk: Ballast | None
    ) -> Outcome:
        """Run one process to its end.

        Args:
            order: what it is to do, given the pipe.
            disturbance: what is done to it.
            log: where its standard error goes.
            disk: what fills the disk.
        """
        reading, writing = os.pipe()
        environment = dict(self.environment)
        if isinstance(disturbance, Armed):
            environment[VARIABLE] = str(disturbance)
        try:
            with log.open("ab") as stderr:
                process = self.start(order(writing).arguments(), environment, writing, stderr.fileno())
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            watch = _Watch(process, pipe.fileno(), disturbance, self.durations, disk)
            try:
                stuck = not watch.until_the_end(time.monotonic() + self.timeout_s)
            except BaseException:
                process.send_signal(signal.SIGKILL)
                process.wait()
                raise
            return watch.outcome(process.wait(), stuck=stuck, log=log)


class _Watch:
    """Watches a process, and disturbs it when it is time.

    Args:
        process: the process.
        pipe: what it tells.
        disturbance: what is done to it.
        durations: how long it takes undisturbed.
        disk: what fills the disk.
    """

    def __init__(
        self,
        process: Process,
        pipe: int,
        disturbance: Disturbance | None,
        durations: Durations,
        disk: Ballast | None,
    ) -> None:
        self._process, self._pipe, self._disk = process, pipe, disk
        self._disturbance, self._durations = disturbance, durations
        self._life = _Life({"load": time.monotonic()})
        self._happened = False
        self._heard = b""

    def until_the_end(self, deadline: float) -> bool:
        """Watch until the process has ended; returns whether it has done so in time."""
        while True:
            now = time.monotonic()
            if now >= deadline:
                self._end_a_stuck_one()
                return False
            due = self._due()
            if due is not None and now >= due:
                self._disturb()
                continue
            until = deadline if due is None else min(due, deadline)
            if select.select([self._pipe], [], [], max(0.0, until - now))[0]:
                if not (data := os.read(self._pipe, 65_536)):
                    return True
                self._hear(data)

    def outcome(self, code: int, *, stuck: bool, log: Path) -> Outcome:
        """What came of it, once it has ended."""
        life = self._life
        if self._disk is not None:
            self._disk.remove()
        match self._disturbance:
            case Armed(point=point):
                at_it = f"failpoint {point}" in life.error
                self._happened = code == EXIT_CODE or at_it or life.waited
            case Kill():
                self._happened = self._happened and code == -signal.SIGKILL
            case FillDisk():
                self._happened = life.waited
        killed = code < 0 or code == EXIT_CODE
        by_us = killed and self._happened
        unsaid = "" if by_us or code in {0, FAILED} else f"exit code {code}; {_last_line(log)}"
        return Outcome(
            end="stuck" if stuck else "killed" if killed else "finished" if code == 0 else "failed",
            happened=self._happened,
            resumed=life.resumed,
            waited=life.waited,
            error=life.error or unsaid,
            checkpoint_error=life.expected,
            load_s=life.took("load", life.begins.get("recover")),
            recover_s=life.took("recover", life.begins.get("run")),
            run_s=life.took("run", life.ended_s),
            checkpoints=life.checkpoints,
        )

    def _due(self) -> float | None:
        """When the disturbance is due, if that is known yet and it has not happened."""
        if self._happened:
            return None
        match self._disturbance:
            case Kill(phase=phase, share=share):
                return self._moment(phase, share)
            case Terminate(share=share) | FillDisk(share=share):
                return self._moment("run", share)
        return None

    def _moment(self, phase: Phase, share: float) -> float | None:
        begun = self._life.begins.get(phase)
        return None if begun is None else begun + share * self._durations.of(phase, self._life.resumed or 0)

    def _disturb(self) -> None:
        self._happened = True
        match self._disturbance:
            case Kill():
                self._process.send_signal(signal.SIGKILL)
            case Terminate():
                self._process.send_signal(signal.SIGTERM)
            case FillDisk() if self._disk is not None:
                self._disk.fill()

    def _hear(self, data: bytes) -> None:
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._life.hear(json.loads(line))
            if self._life.waited and self._disk is not None:
                self._disk.remove()

    def _end_a_stuck_one(self) -> None:
        """Let it say where it is, then end it."""
        self._process.send_signal(signal.SIGUSR1)
        try:
            self._process.wait(LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
