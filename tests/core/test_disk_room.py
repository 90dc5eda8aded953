"""How full a disk is: when that is said, and how long a call waits before it is made again."""

from itertools import pairwise

import pytest

from streame.core.disk_room import MARKS, RETRY_MAX_S, DiskRoom, next_level, retry_after_s


def room(used: float) -> DiskRoom:
    return DiskRoom("here", 1_000, round(1_000 * (1 - used)))


def said(*used: float) -> list[tuple[float, int]]:
    """At which of some moments something is said, and how bad it is."""
    found, level = [], 0
    for each in used:
        before, level = level, next_level(level, room(each).used)
        if level > before:
            found.append((each, level))
    return found


def test_each_mark_is_said_once_when_it_is_crossed() -> None:
    assert said(0.1, 0.79, 0.8, 0.81, 0.85, 0.81, 0.96, 0.99, 1.0) == [(0.81, 1), (0.96, 2)]
    assert said(0.97, 0.97) == [(0.97, 2)]


def test_a_mark_is_said_again_only_after_the_disk_was_clearly_emptier() -> None:
    assert said(0.81, 0.795, 0.81, 0.785, 0.81) == [(0.81, 1)]
    assert said(0.81, 0.77, 0.81) == [(0.81, 1), (0.81, 1)]
    assert said(0.96, 0.94, 0.96, 0.92, 0.96) == [(0.96, 2), (0.96, 2)]
    assert said(0.96, 0.5, 0.81, 0.96) == [(0.96, 2), (0.81, 1), (0.96, 2)]


@pytest.mark.parametrize("level", range(len(MARKS) + 1))
def test_every_level_from_every_level(level: int) -> None:
    for used in (number / 1_000 for number in range(1_001)):
        after = next_level(level, used)
        assert after >= sum(used > mark for mark in MARKS), "a mark that is crossed is never missed"
        assert after <= max(level, sum(used > mark for mark in MARKS)), "nothing is said without a crossing"
        assert next_level(after, used) == after, "looking twice changes nothing"


def test_a_file_system_that_does_not_say_its_size_is_never_full() -> None:
    assert DiskRoom("nowhere", 0, 0).used == 0


def test_calls_are_made_again_after_ever_longer_times() -> None:
    times = [retry_after_s(failures) for failures in range(1, 9)]
    assert times == [0.5, 1, 2, 4, 5, 5, 5, 5]
    assert all(one <= two for one, two in pairwise(times))
    assert retry_after_s(10**6) == RETRY_MAX_S
