"""What is done to a process that runs a job, and what came of it: plain values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["load", "recover", "run"]
"""Of the life of a process: until the job is loaded, until it has recovered and runs, and from then on."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End it with SIGKILL.

    Args:
        phase: when.
        share: how far into the phase, as a part of how long that (or what is left of it) takes undisturbed.
        damages: whether one bit of a file of the checkpoints is changed afterwards.
    """

    phase: Phase
    share: float
    damages: bool = False

    def __str__(self) -> str:
        then = ", and a bit of a file flipped" if self.damages else ""
        return f"SIGKILL at {self.share:.0%} of its {self.phase} phase{then}"


@dataclass(frozen=True, slots=True)
class Terminate:
    """Stop it with SIGTERM.

    Args:
        share: how far into its run.
    """

    share: float

    def __str__(self) -> str:
        return f"SIGTERM at {self.share:.0%} of its run phase"


@dataclass(frozen=True, slots=True)
class Armed:
    """Let it fail at a failpoint.

    Args:
        point: the name of the failpoint.
        action: what happens there: `exit`, `torn`, `error` or `enospc`.
        nth: the how-manieth time.
    """

    point: str
    action: str
    nth: int

    def __str__(self) -> str:
        return f"{self.point}:{self.action}:{self.nth}"


@dataclass(frozen=True, slots=True)
class FillDisk:
    """Fill the disk of checkpoints and output until the job says that it waits for room.

    Args:
        share: how far into its run.
    """

    share: float

    def __str__(self) -> str:
        return f"a full disk at {self.share:.0%} of its run phase"


Disturbance: TypeAlias = Kill | Terminate | Armed | FillDisk


@dataclass(frozen=True, slots=True)
class Step:
    """One process of a run.

    Args:
        disturbance: what is done to it, if anything.
        parallelism: with which the job runs.
    """

    disturbance: Disturbance | None
    parallelism: int

    def __str__(self) -> str:
        return f"{self.disturbance or 'undisturbed'}, parallelism {self.parallelism}"


End: TypeAlias = Literal["finished", "killed", "failed", "stuck"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one process.

    Args:
        end: it ended well (also after SIGTERM), it was ended, it said an error, or it did not end in time.
        happened: whether the disturbance did.
        resumed: the number of the checkpoint that it went on from; `None` if it did not come so far.
        waited: whether it said that it waits for room on a full disk.
        error: the name of the error and its message, if it failed.
        checkpoint_error: whether that is one that says that checkpoints or output cannot be used.
        load_s: how long its load phase took; `None` if it did not come to its end.
        recover_s: likewise.
        run_s: likewise.
        checkpoints: the number of its last checkpoint, if it ended well.
    """

    end: End
    happened: bool = False
    resumed: int | None = None
    waited: bool = False
    error: str = ""
    checkpoint_error: bool = False
    load_s: float | None = None
    recover_s: float | None = None
    run_s: float | None = None
    checkpoints: int = 0
