"""Random rows on two inputs, with what happens between them, for operators that are stepped by hand."""

from random import Random

import polars as pl

from streame.core.time import WATERMARK_MAX
from tests.runtime.steps import End, Mark, Pass, Push, Step
from tests.runtime.streams import rows, weighted, with_behind, with_positions


class _Side:
    """What comes on one input."""

    def __init__(self, random: Random, *, behind: bool, positions: bool, weights: bool, times: bool) -> None:
        self._random = random
        self._behind = behind
        self._positions = positions
        self._weights = weights
        self._times = times
        self._there: list[pl.DataFrame] = []
        self._offset = 0

    def frame(self, now: int, watermark: int) -> pl.DataFrame:
        """Some rows at about `now`, and some before it."""
        random = self._random
        late = random.choice([0, 0, 0, 5, 30])
        frame = rows(random, random.choice([1, 2, 8, 40]), since=now - late)
        if self._behind and random.random() < 0.5:
            frame = with_behind(random, frame, watermark)
        if not self._times:
            unknown = [random.random() < 0.1 for _ in range(frame.height)]
            frame = frame.with_columns(at=pl.when(~pl.Series(unknown, dtype=pl.Boolean)).then("at"))
        if self._positions:
            frame, self._offset = with_positions(frame, self._offset), self._offset + frame.height
        return weighted(random, frame, self._there) if self._weights else frame


def two_inputs(
    random: Random,
    *,
    timed: bool = True,
    behind: bool = False,
    positions: bool = False,
    weights: tuple[bool, bool] = (False, False),
    right_first: bool = False,
    left_timed: bool = False,
) -> list[Step]:
    """What happens to an operator with two inputs, from their first rows to their ends.

    Args:
        random: decides everything.
        timed: whether event time goes on, or only ends; then some rows have no time.
        behind: whether rows may be behind their own split.
        positions: whether rows carry their positions.
        weights: on which input rows are taken back.
        right_first: whether all rows of the right input come before any of the left one.
        left_timed: whether only the event time of the left input counts, so that it ends with that.
    """
    sides = [
        _Side(random, behind=behind, positions=positions, weights=each, times=timed and not behind)
        for each in weights
    ]
    steps: list[Step] = []
    now, watermark, count = 0, -100, random.randrange(8, 30)
    ends = [count, count]
    ends[random.randrange(2)] = random.randrange(count // 2, count + 1)
    if right_first:
        ends = [count, random.randrange(count)]
    for number in range(count + 1):
        for port, end in enumerate(ends):
            if number == end:
                last = (left_timed and port == 0) or (
                    not left_timed and number == max(ends) and port == ends.index(max(ends))
                )
                steps += [*([Mark(WATERMARK_MAX)] if last else []), End(port)]
        ported = [
            port
            for port, end in enumerate(ends)
            if number < end and not (right_first and port == 0 and number <= ends[1])
        ]
        what = random.random()
        if what < 0.65 and ported:
            port = random.choice(ported)
            steps.append(Push(sides[port].frame(now, watermark), port))
            now += random.randrange(6)
        elif what < 0.85 and timed and number < max(ends) and not (left_timed and number >= ends[0]):
            watermark = max(watermark, now - random.randrange(15))
            steps.append(Mark(watermark))
        else:
            steps.append(Pass(random.choice([1, 4, 10])))
    return steps
