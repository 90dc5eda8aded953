"""Progress: the smallest watermark of several inputs, those that are idle or have ended left out."""

from hypothesis import given, settings
from hypothesis import strategies as hst

from streame.core.time import WATERMARK_MAX, WATERMARK_MIN
from streame.runtime.progress import Idle, Progress
from tests.examples import examples


def test_the_slowest_input_counts() -> None:
    progress = Progress([0, 1])
    assert progress.heard(0, 10) is None
    assert progress.heard(1, 5) == 5
    assert progress.heard(1, 7) == 7
    assert progress.heard(1, 20) == 10
    assert progress.heard(0, 8) is None, "it never goes back"


def test_event_time_does_not_go_back_when_an_input_that_was_idle_is_told_again() -> None:
    progress = Progress([0, 1])
    progress.restore(50)
    assert progress.heard(0, 10) is None
    assert progress.heard(1, 60) == 50
    assert progress.heard(0, 40) is None
    assert progress.heard(0, 55) == 55


def test_an_idle_input_is_left_out_and_taken_back() -> None:
    progress = Progress([0, 1])
    progress.heard(0, 10)
    assert progress.heard(1, None) == 10
    assert progress.heard(0, 30) == 30
    assert progress.heard(1, 5) is None, "it is late, and waited for again"
    assert progress.heard(0, 40) is None
    assert progress.heard(1, 35) == 35


def test_idleness_of_all_is_said_once_and_so_is_its_end() -> None:
    progress = Progress([0, 1])
    progress.heard(0, 10)
    progress.heard(1, 10)
    assert progress.heard(0, None) is None
    assert progress.heard(1, None) == Idle()
    assert progress.heard(1, None) is None
    assert progress.heard(0, 10) == 10
    assert progress.heard(0, 10) is None


def test_the_end_of_all_is_the_end() -> None:
    progress = Progress([0, 1])
    progress.heard(0, 10)
    assert progress.ended(1) == 10
    assert progress.ended(0) == WATERMARK_MAX
    assert progress.ended(0) is None


def test_the_end_is_said_once_and_not_while_others_are_idle() -> None:
    progress = Progress([0, 1])
    progress.heard(0, 10)
    progress.heard(1, 10)
    assert progress.heard(0, None) is None
    assert progress.heard(1, None) == Idle()
    assert progress.heard(0, WATERMARK_MAX) is None
    assert progress.heard(1, 12) == 12
    assert progress.heard(1, WATERMARK_MAX) == WATERMARK_MAX
    assert progress.ended(0) is None
    assert progress.ended(1) is None


def test_an_input_that_ends_lets_the_others_be_idle() -> None:
    progress = Progress([0, 1])
    progress.heard(0, 10)
    progress.heard(1, 4)
    assert progress.heard(0, None) is None
    assert progress.ended(1) == Idle()


def test_an_input_that_does_not_count_is_not_heard() -> None:
    progress = Progress([1])
    assert progress.heard(0, 10) is None
    assert progress.ended(0) is None
    assert progress.heard(1, 3) == 3
    assert Progress([]).ended(0) is None


EVENTS = hst.lists(
    hst.tuples(hst.integers(0, 2), hst.one_of(hst.integers(0, 30), hst.none(), hst.just("end"))), max_size=30
)


@given(EVENTS)
@settings(max_examples=examples(120))
def test_any_order_of_events(events: list[tuple[int, int | str | None]]) -> None:
    progress = Progress(range(3))
    reached = dict.fromkeys(range(3), WATERMARK_MIN)
    idle: set[int] = set()
    watermark, was_idle = WATERMARK_MIN, False
    for channel, time in events:
        if channel not in reached:
            continue
        if isinstance(time, str):
            found = progress.ended(channel)
            del reached[channel]
            idle.discard(channel)
        else:
            found = progress.heard(channel, time)
            idle = idle | {channel} if time is None else idle - {channel}
            reached[channel] = max(reached[channel], WATERMARK_MIN if time is None else time)
        asked = [each for key, each in reached.items() if key not in idle]
        least = min(asked, default=WATERMARK_MIN if reached else WATERMARK_MAX)
        is_idle = bool(reached) and not asked
        if is_idle:
            assert found == (None if was_idle else Idle())
        elif least > watermark or (was_idle and watermark > WATERMARK_MIN):
            assert found == max(watermark, least)
        else:
            assert found is None
        watermark, was_idle = max(watermark, least), is_idle
