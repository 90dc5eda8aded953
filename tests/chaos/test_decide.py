"""What is done next in a run, for everything that can have happened."""

import pytest

from streame.cli.chaos.decide import AGAIN_MAX, Go, Over, next_of
from streame.cli.chaos.disturbances import Armed, FillDisk, Kill, Outcome, Step, Terminate

KILL = Step(Kill("run", 0.5), 3)
DAMAGE = Step(Kill("run", 0.5, damages=True), 3)
STOP = Step(Terminate(0.5), 3)
EXIT = Step(Armed("S5.after", "exit", 2), 3)
FULL = Step(Armed("S1.write", "enospc", 2), 3)
FILL = Step(FillDisk(0.5), 3)
ALONE = Step(None, 3)

KILLED = Outcome("killed", happened=True)
FINISHED = Outcome("finished")
STOPPED = Outcome("finished", happened=True)
REFUSED = Outcome("failed", error="CheckpointDamaged: no", checkpoint_error=True)
BROKEN = Outcome("failed", error="KeyError: 'x'")


def test_a_run_goes_through_its_script_and_then_on_alone() -> None:
    assert next_of([KILL, EXIT], []) == Go(KILL)
    assert next_of([KILL, EXIT], [(KILL, KILLED)]) == Go(EXIT)
    assert next_of([KILL, EXIT], [(KILL, KILLED), (EXIT, KILLED)]) == Go(ALONE)
    assert next_of([KILL, EXIT], [(KILL, KILLED), (EXIT, KILLED), (ALONE, FINISHED)]) == Over("finished")
    assert next_of([STOP], [(STOP, STOPPED)]) == Go(ALONE)


@pytest.mark.parametrize("step", [KILL, STOP, EXIT, FULL, FILL])
def test_a_run_whose_disturbance_came_too_late_is_over(step: Step) -> None:
    assert next_of([step, KILL], [(step, FINISHED)]) == Over("finished")


@pytest.mark.parametrize("step", [FULL, FILL])
def test_a_job_that_waited_for_room_goes_on_by_itself(step: Step) -> None:
    waited = Outcome("finished", happened=True, waited=True)
    assert next_of([step], [(step, waited)]) == Over("finished")


def test_an_error_that_was_asked_for_is_gone_after_a_restart() -> None:
    failed = Outcome("failed", happened=True, error="CheckpointError: failpoint")
    assert next_of([EXIT], [(EXIT, failed)]) == Go(ALONE)


def test_only_a_damaged_file_may_stop_a_job_for_good() -> None:
    assert next_of([DAMAGE], [(DAMAGE, KILLED), (ALONE, REFUSED)]) == Over("refused", REFUSED.error)
    for steps, outcome in (([KILL], REFUSED), ([DAMAGE], BROKEN)):
        over = next_of(steps, [(steps[0], KILLED), (ALONE, outcome)])
        assert isinstance(over, Over)
        assert (over.how, outcome.error in over.why) == ("failed", True)


def test_a_process_that_hangs_or_dies_by_itself_is_an_end() -> None:
    stuck = next_of([KILL], [(KILL, Outcome("stuck"))])
    assert isinstance(stuck, Over)
    assert stuck.how == "stuck"
    died = next_of([KILL], [(KILL, KILLED), (ALONE, Outcome("killed", error="exit code -11; oh"))])
    assert isinstance(died, Over)
    assert (died.how, "exit code -11" in died.why) == ("failed", True)


def test_a_job_that_never_finishes_is_stuck() -> None:
    stopped = [(STOP, STOPPED)] + [(ALONE, STOPPED)] * AGAIN_MAX
    assert isinstance(next_of([STOP], stopped[:-1]), Go)
    over = next_of([STOP], stopped)
    assert isinstance(over, Over)
    assert over.how == "stuck"
