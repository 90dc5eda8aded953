"""The rules of a stream: order, credits, and when a peer counts as lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streame.cluster.flow import CHARGE_MIN, CREDIT_BYTES, Heartbeat, Returns, SequenceCheck, Window, charge
from streame.cluster.frames import FRAME_BYTES_MAX, Attempt, Barrier, End, FrameRefused, Ping, Watermark

MINE = Attempt(7, 2)


@pytest.mark.parametrize("other", [Attempt(7, 1), Attempt(7, 3), Attempt(6, 2), Attempt(8, 2)])
def test_only_frames_of_the_own_attempt_are_taken(other: Attempt) -> None:
    check = SequenceCheck(MINE)
    check.check_attempt(Ping(MINE, 1))
    with pytest.raises(FrameRefused, match=f"a frame of attempt {other} came where attempt 7.2 runs"):
        check.check_attempt(Ping(other, 1))


def test_channels_count_by_themselves() -> None:
    check = SequenceCheck(MINE)
    check.open(0)
    check.open(5)
    for channel, seq in ((0, 1), (5, 1), (0, 2), (0, 3), (5, 2)):
        check.take(Watermark(MINE, channel, seq, 9))
    assert check.unended == [0, 5]
    check.take(End(MINE, 5, 3))
    check.end(5)
    assert check.unended == [0]
    with pytest.raises(FrameRefused, match="frame 4 came on channel 5 after its end"):
        check.take(Barrier(MINE, 5, 4, 1))
    with pytest.raises(FrameRefused, match="channel 0 was opened twice"):
        check.open(0)
    with pytest.raises(FrameRefused, match="came on channel 1, which is not open"):
        check.take(Barrier(MINE, 1, 1, 1))


@given(st.integers(0, 20), st.integers(0, 40))
def test_any_number_but_the_next_is_refused(taken: int, seq: int) -> None:
    check = SequenceCheck(MINE)
    check.open(0)
    for number in range(1, taken + 1):
        check.take(Watermark(MINE, 0, number, None))
    if seq == taken + 1:
        check.take(Watermark(MINE, 0, seq, None))
        return
    with pytest.raises(FrameRefused, match=f"frame {seq} came on channel 0 behind frame {taken}"):
        check.take(Watermark(MINE, 0, seq, None))


def test_the_window_bounds_what_is_under_way() -> None:
    window = Window(100)
    window.take(60)
    assert window.has(40)
    assert not window.has(41)
    window.give_back(1)
    assert window.has(41)
    with pytest.raises(FrameRefused, match="a credit of 60 bytes came back, of which only 59 were used"):
        window.give_back(60)


def test_what_is_larger_than_the_window_goes_when_next_to_nothing_is_under_way() -> None:
    window = Window(100)
    window.take(20)
    assert not window.has(1000)
    window.give_back(20)
    window.take(1000)
    assert not window.has(1)
    window.give_back(1000)
    assert window.has(100)


def test_a_sender_without_credit_is_refused() -> None:
    returns = Returns(100)
    returns.arrived(60)
    with pytest.raises(FrameRefused, match="the sender has no credit for them"):
        returns.arrived(41)


@given(st.lists(st.integers(1, FRAME_BYTES_MAX), max_size=60), st.randoms(use_true_random=False))
def test_the_sender_always_goes_on_once_all_is_consumed(sizes: list[int], random: st.DrawFn) -> None:
    """However batches and consumption interleave: no deadlock, never more under way than the window, nothing lost."""
    window, returns = Window(), Returns()
    waiting: list[int] = []
    costs = [charge(size, 0) for size in sizes]
    while costs or waiting:
        if costs and window.has(costs[0]) and (not waiting or random.random() < 0.6):  # type: ignore[attr-defined]
            window.take(costs[0])
            returns.arrived(costs[0])
            waiting.append(costs.pop(0))
            assert sum(waiting) <= CREDIT_BYTES + CREDIT_BYTES // 8
            continue
        assert waiting, "nobody can go on"
        window.give_back(returns.consumed(waiting.pop(0)))
    assert window.has(CREDIT_BYTES)


def test_small_batches_cost_what_their_objects_take() -> None:
    assert charge(1, 0) == CHARGE_MIN
    assert charge(CHARGE_MIN + 1, 7) == CHARGE_MIN + 1


def test_small_credits_are_told_together() -> None:
    returns = Returns(100)
    for _ in range(10):
        returns.arrived(10)
    assert [returns.consumed(10) for _ in range(10)] == [0, 20, 0, 20, 0, 20, 0, 20, 0, 20]
    returns.arrived(1)
    assert returns.consumed(1) == 0


def test_a_peer_is_lost_after_three_pings_unheard() -> None:
    heartbeat = Heartbeat()
    heartbeat.heard()
    assert [heartbeat.tick() for _ in range(4)] == [False, False, False, True]
    heartbeat.heard()
    assert [heartbeat.tick() for _ in range(3)] == [False, False, False]
    heartbeat.heard()
    assert not heartbeat.tick()


def test_a_peer_may_take_longer_to_be_heard_at_first() -> None:
    heartbeat = Heartbeat(missed_max=3, missed_first=5)
    assert [heartbeat.tick() for _ in range(6)] == [False] * 5 + [True]
    assert [heartbeat.tick() for _ in range(1)] == [True]
