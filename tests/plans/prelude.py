"""What the script of a random plan needs: rows, sources that cut them up, and the comparison with Polars."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import polars as pl
import polars.selectors as cs

import streame as st
from streame.core.config import Config
from streame.io.memory import MemorySink
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.plan.optimizer import optimize
from streame.runtime.local import LocalRun

nan, inf = float("nan"), float("inf")

SATURDAY = 1_711_839_600
"""The evening before the clocks of Berlin go forward, in seconds since 1970."""

TICKS = {"ns": 1_000_000_000, "us": 1_000_000, "ms": 1_000}

HANGS_AFTER_S = 20.0


def rows(schema: Mapping[str, Any], *tuples: tuple[Any, ...]) -> pl.DataFrame:
    """A frame; datetimes are seconds after a Saturday evening, dates are days after the same."""
    columns = []
    for number, (name, dtype) in enumerate(schema.items()):
        column = [each[number] for each in tuples]
        if isinstance(dtype, pl.Datetime):
            ticks = TICKS[dtype.time_unit]
            column = [None if value is None else int((SATURDAY + value) * ticks) for value in column]
        elif dtype == pl.Date:
            column = [None if value is None else SATURDAY // 86_400 + value for value in column]
        elif isinstance(dtype, pl.Decimal):
            column = [None if value is None else Decimal(value) for value in column]
        is_text = isinstance(dtype, pl.Categorical | pl.Enum)
        columns.append(pl.Series(name, column, pl.String if is_text else dtype).cast(dtype))
    return pl.DataFrame(columns)


def again(frame: pl.DataFrame, time: str | None, times: int, after: int) -> pl.DataFrame:
    """The rows so many times over, each time that many seconds, days or ticks later."""
    if time is None or times == 1:
        return pl.concat([frame] * times)
    dtype = frame.schema[time]
    step = after * TICKS[dtype.time_unit] if isinstance(dtype, pl.Datetime) else after
    ticks = pl.col(time).to_physical().cast(pl.Int64)
    return pl.concat(
        frame.with_columns((ticks + number * step).cast(frame[time].to_physical().dtype).cast(dtype))
        for number in range(times)
    )


class Splits(st.Source):
    """Frames, read split by split in turn, in batches of these sizes over and over."""

    bounded = True
    together = True

    def __init__(self, splits: Sequence[pl.DataFrame], cuts: Sequence[int], how: str) -> None:
        self.frames = {f"split {number}": frame for number, frame in enumerate(splits)}
        self.one_split = len(splits) == 1
        self.cuts = cuts
        self.how = how

    def schema(self) -> pl.Schema:
        return next(iter(self.frames.values())).schema

    def splits(self) -> list[str]:
        return list(self.frames)

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        frame, at, number = self.frames[split], 0, 0
        while at < frame.height:
            size = self.cuts[number % len(self.cuts)]
            batch = shaped(frame[at : at + size], self.how)
            offsets = pl.Series(range(at, at + batch.height), dtype=pl.Int64).to_numpy()
            at, number = at + size, number + 1
            yield st.Chunk(batch, at, lambda offsets=offsets: offsets)  # type: ignore[misc]
            if size == 0 and not any(self.cuts):
                return


def shaped(frame: pl.DataFrame, how: str) -> pl.DataFrame:
    """The same rows as a slice of a larger frame, in several chunks, or as they are."""
    if how == "chunked" and frame.height > 1:
        return pl.concat([frame[:1], frame[1:]], rechunk=False)
    if how == "sliced":
        return pl.concat([frame, frame, frame], rechunk=True)[frame.height : 2 * frame.height]
    return frame


def in_order(splits: Sequence[pl.DataFrame], time: str | None) -> pl.DataFrame:
    """What Polars is given: the splits in the order of their names, sorted by time as far as there is one."""
    frame = pl.concat(splits)
    return frame if time is None else frame.sort(time, maintain_order=True)


def run(frame: st.StreamDataFrame, parallelism: int, *, optimized: bool) -> pl.DataFrame:
    """All rows of a stream, in threads; changes are folded."""
    sink = MemorySink(folds=frame.node.is_changes)
    plan = (Write(frame.node, lambda: sink, "out"),)
    writes = [node for node in optimize(plan) if isinstance(node, Write)] if optimized else plan
    job = LocalRun(lower(writes, Config(parallelism=parallelism)), Config())
    job.start()
    if not job.wait(HANGS_AFTER_S):
        job.stop()
        raise TimeoutError("the job hangs")
    return sink.frame()


def normal(frame: pl.DataFrame) -> Counter[str]:
    """The rows, without their order; floats to nine digits, because sums depend on the order; 0.0 is -0.0."""
    floats = cs.float().round(9).round_sig_figs(9)
    exprs = [
        pl.when(cs.float() == 0).then(0.0).otherwise(floats).name.keep(),
        cs.categorical().cast(pl.String),
    ]
    return Counter(map(repr, frame.with_columns(*exprs).rows()))


def difference(found: pl.DataFrame, expected: pl.DataFrame) -> str:
    """What differs between both, in words; empty where nothing does."""
    if found.schema != expected.schema:
        return f"the schema is {dict(found.schema)}\nbut should be {dict(expected.schema)}"
    one, other = normal(found), normal(expected)
    extra, missing = list((one - other).elements()), list((other - one).elements())
    if not extra and not missing:
        return ""
    lines = [f"{found.height} rows, of {expected.height}"]
    lines += [f"  too many: {row}" for row in extra[:8]] + [f"  missing:  {row}" for row in missing[:8]]
    return "\n".join(lines)


def check(
    frame: st.StreamDataFrame, expected: pl.DataFrame, *, parallelism: int = 1, optimized: bool = True
) -> None:
    """The stream gives what Polars gives."""
    differs = difference(run(frame, parallelism, optimized=optimized), expected)
    assert not differs, differs
