"""How much output of earlier checkpoints is kept: by number, by time and by size."""

from itertools import product

import pytest

from streame.core.staging import Staged
from streame.state.checkpoint import history
from streame.state.checkpoint.collect import is_settled
from streame.state.checkpoint.history import is_kept, kept_of, next_history
from streame.state.checkpoint.manifest import Output

SECOND_US = 1_000_000
BEGIN_US = 1_700_000_000 * SECOND_US


def output(number: int, at_us: int = 0, piece: str = "piece") -> Output:
    return Output(number, {"files": Staged((piece,))}, at_us=at_us)


def kept(count: int, apart_s: float) -> list[int]:
    """The checkpoints that are kept after so many."""
    outputs: tuple[Output, ...] = ()
    for number in range(1, count + 1):
        outputs = next_history(outputs, output(number, BEGIN_US + round(number * apart_s * SECOND_US)))
    numbers = [each.checkpoint for each in outputs]
    assert numbers == list(range(numbers[0], count + 1)), "there is a gap"
    return numbers


@pytest.mark.parametrize(
    ("apart_s", "number"),
    [
        (3_600, 100),
        (36, 100),
        (30, 120),
        (5, 720),
        (3.6, 1_000),
        (1.5, 1_200),
        (0.2, 720),
        (0.1, 360),
        (0.02, 100),
    ],
)
def test_a_hundred_are_kept_or_those_of_an_hour_if_they_are_more(apart_s: float, number: int) -> None:
    assert len(kept(1_200, apart_s)) == number


def test_without_a_time_a_hundred_are_kept() -> None:
    outputs: tuple[Output, ...] = ()
    for number in range(1, 151):
        outputs = next_history(outputs, output(number))
    assert [each.checkpoint for each in outputs] == list(range(51, 151))


def test_after_a_long_rest_only_a_hundred_are_left() -> None:
    outputs: tuple[Output, ...] = ()
    for number in range(1, 301):
        outputs = next_history(outputs, output(number, BEGIN_US + number * SECOND_US))
    assert len(outputs) == 300
    outputs = next_history(outputs, output(301, BEGIN_US + 7_200 * SECOND_US))
    assert [outputs[0].checkpoint, len(outputs)] == [202, 100]


def test_what_takes_too_much_of_the_manifest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: tuple[Output, ...] = ()
    for number in range(1, 151):
        outputs = next_history(outputs, output(number, BEGIN_US + number * SECOND_US))
    monkeypatch.setattr(history, "BYTES_MAX", 50)
    found = next_history(outputs, output(151, BEGIN_US + 151 * SECOND_US, "long" * 100))
    assert [each.checkpoint for each in found] == [150, 151]


def test_every_order_of_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest few always; of those before all of the last ten ticks, without a gap, and not too many."""
    monkeypatch.setattr(history, "KEPT", 3)
    monkeypatch.setattr(history, "KEPT_US", 10)
    monkeypatch.setattr(history, "PER_SECOND", 700_000)  # 0.7 for each tick
    now = 20
    for length in range(7):
        for times in product((0, 9, 10, 11, 13, 19, 20, 21), repeat=length):
            count = kept_of(times, now)
            wanted = [10 < at <= now and back * back < 0.7 * (now - at) for back, at in enumerate(times, 1)]
            assert min(length, 2) <= count <= length, times
            assert all(wanted[2:count]), times
            assert count == length or not wanted[count], (times, "one more could be kept")


@pytest.mark.parametrize(("time_us", "now_us"), [(0, BEGIN_US), (0, 0), (5, 0), (BEGIN_US + 1, BEGIN_US)])
def test_a_time_that_is_unknown_or_to_come_is_old(time_us: int, now_us: int) -> None:
    assert not is_kept(101, time_us, now_us)


def test_folders_with_output_that_is_kept_are_not_looked_at_again() -> None:
    looked_at = [number for number in range(1, 21) if not is_settled(f"out/{number}", 20, 5)]
    assert looked_at == [1, 2, 3, 4, 18, 19, 20]
    assert not is_settled("state/10", 20, 5)
    assert not is_settled("out/mine", 20, 5)
