"""When chunks arrive, in what order, and what of them."""

import math
import random

from streame.testing.lines import CLEAR, HELD_BYTES, RETRANSMIT_S, Line, Passage


def arrivals(line: Line, sizes: list[int], now_s: float = 100.0) -> list[float]:
    """When chunks arrive that are all taken in at once."""
    passage = Passage(random.Random(1))
    return [passage.arrival_s(line, size, now_s) - now_s for size in sizes]


def test_a_clear_line_does_nothing() -> None:
    assert arrivals(CLEAR, [1, 1000, 0]) == [0, 0, 0]
    assert Passage(random.Random(1)).arrived(CLEAR, b"abc") == b"abc"
    assert CLEAR.held_bytes_max == HELD_BYTES


def test_a_delay_is_that_of_every_chunk_and_does_not_add_up() -> None:
    assert arrivals(Line(delay_s=0.5), [1, 1000, 0]) == [0.5, 0.5, 0.5]


def test_jitter_and_loss_keep_the_order() -> None:
    found = arrivals(Line(delay_s=0.5, jitter_s=0.3, loss=0.1), [1] * 200)
    assert found == sorted(found)
    assert min(found) >= 0.5
    assert 0.5 + RETRANSMIT_S < max(found) <= 0.8 + RETRANSMIT_S
    assert len(set(found)) > 1


def test_what_is_lost_comes_after_it_was_sent_again() -> None:
    assert arrivals(Line(loss=1.0), [1, 1], now_s=0.0) == [RETRANSMIT_S, RETRANSMIT_S]


def test_a_slow_line_takes_its_time_for_every_byte() -> None:
    found = arrivals(Line(delay_s=1, bytes_per_s=1000), [100, 100, 300])
    assert all(math.isclose(one, other) for one, other in zip(found, [1.1, 1.2, 1.5], strict=True))


def test_a_slow_line_holds_little() -> None:
    line = Line(bytes_per_s=100_000)
    assert line.chunk_bytes == 2_000
    assert line.held_bytes_max == 6_000
    assert Line(bytes_per_s=1).chunk_bytes == 1


def test_corruption_turns_one_bit_over() -> None:
    passage = Passage(random.Random(1))
    for _ in range(50):
        damaged = passage.arrived(Line(corruption=1.0), bytes(20))
        assert sum(byte.bit_count() for byte in damaged) == 1
    some = [passage.arrived(Line(corruption=0.5), bytes(20)) for _ in range(50)]
    assert 5 < some.count(bytes(20)) < 45


def test_the_same_seed_is_the_same_fate() -> None:
    line = Line(jitter_s=1, loss=0.5)
    assert arrivals(line, [1] * 9) == arrivals(line, [1] * 9)
