"""One run of a job: processes that are disturbed, one after the other, until it has finished; then its output."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from streame.cli.chaos.attempt import Attempts
from streame.cli.chaos.ballast import Ballast
from streame.cli.chaos.child import CHECKPOINTS, Order
from streame.cli.chaos.compare import Difference, compare
from streame.cli.chaos.damage import flip_a_bit
from streame.cli.chaos.decide import Over, next_of
from streame.cli.chaos.disturbances import FillDisk, Kill, Outcome, Step
from streame.cli.chaos.outputs import Output, read
from streame.cli.chaos.scripts import Script


@dataclass(frozen=True, slots=True)
class Tried:
    """A run that has ended.

    Args:
        script: what was done in it.
        outcomes: its processes, and what came of each.
        over: how it ended.
        difference: of its output from the undisturbed one.
        notes: what else is good to know, such as which bit was flipped.
    """

    script: Script
    outcomes: Sequence[tuple[Step, Outcome]]
    over: Over
    difference: Difference
    notes: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether the job did what it promises."""
        return self.over.how in {"finished", "refused"} and not self.difference

    @property
    def happened(self) -> int:
        """How many disturbances really happened."""
        return sum(outcome.happened for _, outcome in self.outcomes)

    def missed(self) -> list[Step]:
        """The steps whose disturbance did not happen, or that were not come to."""
        done = [step for step, outcome in self.outcomes if outcome.happened]
        return [step for step in self.script.steps if not any(step is each for each in done)]


@dataclass(frozen=True, slots=True)
class Runs:
    """Makes runs.

    Args:
        order: what a process is to do; the folder, the parallelism and the pipe are put in.
        attempts: starts processes.
        outputs: the sinks.
        expected: what each sink gives undisturbed.
        scratch: where the folders of the runs are.
        seed: of the bits that are flipped.
        small_disk: a folder on a disk that can be filled.
    """

    order: Order
    attempts: Attempts
    outputs: Sequence[Output]
    expected: Mapping[str, pl.DataFrame]
    scratch: Path
    seed: int
    small_disk: Path | None = None

    def run(self, script: Script) -> Tried:
        """Make one."""
        folder = self.scratch / script.name
        folder.mkdir(parents=True)
        fills = any(isinstance(step.disturbance, FillDisk) for step in script.steps)
        place = folder
        if fills and self.small_disk is not None:
            place = self.small_disk / script.name.replace("/", "-")
            place.mkdir()
        ballast = Ballast(self.small_disk) if fills and self.small_disk is not None else None
        outcomes: list[tuple[Step, Outcome]] = []
        notes: list[str] = []
        while not isinstance(decision := next_of(script.steps, outcomes), Over):
            step = decision.step
            outcome = self.attempts.run(
                self._order(place, step.parallelism), step.disturbance, folder / "log", ballast
            )
            outcomes.append((step, outcome))
            if isinstance(step.disturbance, Kill) and step.disturbance.damages and outcome.happened:
                random = np.random.default_rng([self.seed, script.number])
                notes.append(flip_a_bit(place, CHECKPOINTS, random) or "there was nothing to damage yet")
        difference = self.difference(place, partial=decision.how != "finished")
        if place is not folder:
            shutil.rmtree(place)
        return Tried(script, outcomes, decision, difference, tuple(notes))

    def difference(self, folder: Path, *, partial: bool = False) -> Difference:
        """How what is in a folder differs from what is expected."""
        total = Difference()
        for output in self.outputs:
            try:
                found = read(output, folder)
            except (OSError, ValueError, pl.exceptions.PolarsError) as error:
                total += Difference(changed=1, examples=(f"{output.name} cannot be read: {error}",))
                continue
            total += _named(
                output, compare(self.expected[output.name], found, output.expectation, partial=partial)
            )
        return total

    def _order(self, folder: Path, parallelism: int) -> Callable[[int], Order]:
        return lambda pipe: replace(self.order, folder=str(folder), parallelism=parallelism, pipe=pipe)


def _named(output: Output, difference: Difference) -> Difference:
    examples = difference.examples
    if difference.reordered:
        examples = (*examples, f"{difference.reordered:,} rows out of order")
    return replace(difference, examples=tuple(f"{output.name}: {each}" for each in examples))
