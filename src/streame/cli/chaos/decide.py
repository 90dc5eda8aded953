"""What to do next in a run, given what has happened in it. Decides, and touches nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streame.cli.chaos.disturbances import Armed, Kill, Outcome, Step

AGAIN_MAX = 3
"""So often a job is started undisturbed in one run until it must have finished."""


@dataclass(frozen=True, slots=True)
class Go:
    """Start a process.

    Args:
        step: what is done to it.
    """

    step: Step


@dataclass(frozen=True, slots=True)
class Over:
    """The run is at its end.

    Args:
        how: `finished`; `refused`: it stopped loudly because of a file that was damaged, as it may; `stuck`; or
            `failed`, with an error that nothing explains.
        why: what went wrong, if anything did.
    """

    how: Literal["finished", "refused", "stuck", "failed"]
    why: str = ""


def next_of(script: Sequence[Step], outcomes: Sequence[tuple[Step, Outcome]]) -> Go | Over:
    """The next thing to do.

    Args:
        script: the processes that are disturbed, in order; those behind them are not.
        outcomes: the processes so far, and what came of each.
    """
    if outcomes:
        step, last = outcomes[-1]
        match last.end:
            case "stuck":
                return Over("stuck", f"a process ({step}) did not end in time")
            case "failed":
                if over := _after_an_error(step, last, outcomes):
                    return over
            case "finished" if not last.happened or isinstance(step.disturbance, Armed) or last.waited:
                return Over("finished")
            case "killed" if not last.happened:
                return Over("failed", f"a process ({step}) died by itself: {last.error}")
    if len(outcomes) < len(script):
        return Go(script[len(outcomes)])
    if len(outcomes) >= len(script) + AGAIN_MAX:
        return Over("stuck", f"it had not finished after {AGAIN_MAX} undisturbed starts")
    return Go(Step(None, script[-1].parallelism if script else 1))


def _after_an_error(step: Step, last: Outcome, outcomes: Sequence[tuple[Step, Outcome]]) -> Over | None:
    """What an error means; `None` if it had a reason that is gone after a restart."""
    if last.happened and isinstance(step.disturbance, Armed):
        return None
    damaged = any(isinstance(each.disturbance, Kill) and each.disturbance.damages for each, _ in outcomes)
    if damaged and last.checkpoint_error:
        return Over("refused", last.error)
    return Over("failed", f"a process ({step}) failed: {last.error}")
