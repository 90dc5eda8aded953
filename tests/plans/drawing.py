"""What a random plan is drawn with: the generator, and what is known of the parts so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

import polars as pl

import streame as st
from tests.plans.model import Source, Step
from tests.plans.running import Built

T = TypeVar("T")

Order = Literal["time", "arrival"] | None
"""In which order Polars' rows lie that Streame goes by too; `None` where it goes by none."""


@dataclass(frozen=True)
class Known:
    """What is known of a part.

    Args:
        order: in which order its rows lie.
        unit: how many seconds the times are about apart; days or ticks for other columns than datetimes.
        sources: the numbers of the sources that its rows come from.
    """

    order: Order
    unit: int
    sources: frozenset[int]


class Draw:
    """Draws the parts of a plan, one after the other."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.built = Built()
        self.parts: list[Source | Step] = []
        self.known: list[Known] = []
        self.on_error = "drop" if self.chance(0.08) else "fail"

    def add(self, part: Source | Step, known: Known) -> int:
        """One more part; its number.

        Raises:
            OracleError: when Polars has no answer.
            PlanError: when Streame refuses the verb.
        """
        number = len(self.parts)
        self.built.add(number, part)
        self.parts.append(part)
        self.known.append(known)
        return number

    def stream(self, number: int) -> st.StreamDataFrame:
        """The stream of a part."""
        return self.built.stream(number)

    def rows(self, number: int) -> pl.DataFrame:
        """Polars' rows of a part."""
        return self.built.rows(number)

    def schema(self, number: int) -> pl.Schema:
        """The columns of a part."""
        return self.stream(number).schema

    def is_changes(self, number: int) -> bool:
        """Whether rows of a part may be taken back."""
        return self.stream(number).node.is_changes

    def time(self, number: int) -> str | None:
        """The event time of a part, if every row has one."""
        time = self.stream(number).event_time
        return None if time is None or self.rows(number)[time].null_count() else time

    def in_order(self, number: int) -> bool:
        """Whether the order of rows in a group is told."""
        order = self.known[number].order
        return order == "arrival" or (order == "time" and self.time(number) is not None)

    def duration(self, number: int, count: int, column: str | None = None) -> str:
        """So many of the steps by which the times of a part are apart, as text."""
        time = column or self.stream(number).event_time
        assert time is not None
        dtype = self.schema(number)[time]
        if isinstance(dtype, pl.Datetime):
            seconds = count * self.known[number].unit
            return f"{seconds // 3_600}h" if seconds and seconds % 3_600 == 0 else f"{seconds}s"
        return f"{count}d" if dtype == pl.Date else f"{count}i"

    def chance(self, probability: float) -> bool:
        """True so often."""
        return self.random.random() < probability

    def one(self, choices: Sequence[T]) -> T:
        """One of these."""
        return self.random.choice(choices)

    def some(self, choices: Sequence[T], most: int, least: int = 1) -> list[T]:
        """A few of these, each once, in any order."""
        count = self.random.randint(min(least, len(choices)), min(most, len(choices)))
        return self.random.sample(list(choices), count)

    def columns(self, number: int, test: Callable[[pl.DataType], bool] = lambda dtype: True) -> list[str]:
        """The columns of a part whose dtype passes a test."""
        return [name for name, dtype in self.schema(number).items() if test(dtype)]

    def free_name(self, number: int) -> str:
        """A column name that a part does not have."""
        return next(name for name in _NAMES if name not in self.schema(number))


_NAMES = [f"c{number}" for number in range(200)]
