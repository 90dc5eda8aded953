"""What is done in a run is drawn from a seed."""

from streame.cli.chaos.disturbances import Armed, Kill
from streame.cli.chaos.points import failpoints
from streame.cli.chaos.scripts import CHAINED, Draw, Script

POINTS = failpoints()
DRAW = Draw(7, (1, 3))


def armed(scripts: list[Script]) -> list[Armed]:
    found = [step.disturbance for script in scripts for step in script.steps]
    assert all(isinstance(each, Armed) for each in found)
    return [each for each in found if isinstance(each, Armed)]


def test_the_same_seed_draws_the_same() -> None:
    assert DRAW.kills(3) == Draw(7, (1, 3)).kills(3)
    assert DRAW.kills(3) != Draw(8, (1, 3)).kills(3)
    assert DRAW.failpoints(POINTS) == Draw(7, (1, 3)).failpoints(POINTS)


def test_kills_are_spread_over_the_whole_life_of_a_process() -> None:
    scripts = [DRAW.kills(number) for number in range(300)]
    kills = [step.disturbance for script in scripts for step in script.steps]
    phases = {each.phase for each in kills if isinstance(each, Kill)}
    shares = [each.share for each in kills if isinstance(each, Kill) and each.phase == "run"]
    assert phases == {"load", "recover", "run"}
    assert min(shares) < 0.02
    assert max(shares) > 1.0
    assert all(any(low <= share < low + 0.1 for share in shares) for low in (0.1, 0.3, 0.5, 0.7, 0.9))
    assert {len(script.steps) for script in scripts} == {1, 2, 3}
    assert {step.parallelism for script in scripts for step in script.steps} == {1, 3}


def test_every_failpoint_is_tried_the_first_and_a_later_time() -> None:
    scripts = DRAW.failpoints(POINTS)
    assert max(len(script.steps) for script in scripts) == CHAINED
    exits = [each for each in armed(scripts) if each.action == "exit"]
    assert sorted(each.point for each in exits if each.nth == 1) == [point.name for point in POINTS]
    later = [point.name for point in POINTS if not point.recovers]
    assert sorted(each.point for each in exits if each.nth > 1) == later
    torn = [each.point for each in armed(scripts) if each.action == "torn"]
    assert sorted(torn) == [point.name for point in POINTS if point.writes]
    once = armed(DRAW.failpoints(POINTS, once=True))
    assert sorted(each.point for each in once) == [point.name for point in POINTS]
    full = armed(DRAW.full_disks(POINTS))
    assert [each.point for each in full] == later
    assert all(not each.point.startswith("R") or each.nth == 1 for each in armed(scripts))


def test_the_failpoints_of_the_code_are_found() -> None:
    names = {point.name for point in POINTS}
    assert {"R0.before", "S0.after", "S1.write", "S5.after", "S7.before", "S9.synced"} <= names
    assert {point.name for point in POINTS if point.writes} >= {"S1.write", "S4.write"}


def test_the_names_of_runs_are_their_own() -> None:
    scripts = [
        *(draw(number) for draw in (DRAW.kills, DRAW.stops, DRAW.damage) for number in range(20)),
        *DRAW.failpoints(POINTS),
        *DRAW.full_disks(POINTS),
        *(DRAW.alone("failpoint", Armed(point.name, "exit", 3)) for point in POINTS),
    ]
    assert len({script.name for script in scripts}) == len(scripts)
    assert DRAW.alone("full disk", Armed("S1.write", "enospc", 4)).name == "full-disk/S1.write:enospc"
