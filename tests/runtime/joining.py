"""A bench on which a table join is stepped by hand, and a join of two keys to put on it."""

from typing import Literal

import polars as pl

from streame.core.messages import Positions
from streame.runtime.operators.table_join import STREAM, TABLE, TableJoinOperator
from tests.runtime.recorder import OperatorBench

How = Literal["inner", "left"]
SECOND_US = 1_000_000


class Bench(OperatorBench):
    """The bench with the names of a join's inputs."""

    def stream(self, frame: pl.DataFrame, positions: Positions | None = None) -> None:
        self.push(frame, STREAM, positions)

    def table(self, frame: pl.DataFrame) -> None:
        self.push(frame, TABLE)


SCHEMA = pl.Schema({"a": pl.String(), "b": pl.Int64(), "n": pl.Int64()})


def two_key_operator(how: How, wait_us: int | None, *, nulls_equal: bool = False) -> TableJoinOperator:
    return TableJoinOperator(
        left_on=("a", "b"),
        right_on=("a", "b"),
        how=how,
        right_outputs=(("n", "value"),),
        table_schema=SCHEMA,
        nulls_equal=nulls_equal,
        wait=wait_us,
    )


def numbered(*keys: str | None) -> pl.DataFrame:
    return pl.DataFrame({"a": keys, "b": 0, "n": range(len(keys))}, schema=SCHEMA)
