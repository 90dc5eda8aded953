"""What the script of a random plan needs: rows, sources that cut them up, and the comparison with Polars."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import polars as pl
import polars.selectors as cs

import streame as st
from streame.core.config import Config
from streame.core.messages import Batch
from streame.core.time import WATERMARK_MIN, EventTime
from streame.io.memory import MemorySink
from streame.plan.lower import lower
from streame.plan.nodes import Stateful, TableJoin, Write, walk
from streame.plan.optimizer import optimize
from streame.runtime.local import LocalRun
from streame.runtime.outputs import Outputs

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
    splits_apart = True
    covers = staticmethod(lambda path: False)  # as of files that end, none of its splits is ever idle

    def __init__(self, splits: Sequence[pl.DataFrame], cuts: Sequence[int], how: str) -> None:
        self.frames = {f"split {number}": frame for number, frame in enumerate(splits)}
        self.one_split = len(splits) == 1
        self.cuts, self.how = cuts, how

    def schema(self) -> pl.Schema:
        return next(iter(self.frames.values())).schema

    def splits(self) -> list[str]:
        return list(self.frames)

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        frame, at, number = self.frames[split], int(str(offset or 0)), 0
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


class Windows:
    """Windows by their definition: each row in every window that contains it."""

    def __init__(
        self,
        frame: pl.DataFrame,
        time: str,
        overlap: int,
        *,
        every: str,
        period: str | None = None,
        offset: str | None = None,
        closed: Any = "left",
        label: Any = "left",
        include_boundaries: bool = False,
        group_by: Sequence[str] = (),
    ) -> None:
        self.frame = timed(frame, time)
        self.time = time
        self.overlap = overlap + (closed == "both")
        self.every, self.period, self.offset = every, period or every, offset
        self.closed, self.label = closed, label
        self.ends = include_boundaries
        self.keys = list(group_by)

    def agg(self, **aggs: pl.Expr) -> pl.DataFrame:
        """One row for each window and key that has rows."""
        copies = []
        start = self._start()
        for _ in range(self.overlap + 1):
            end = moved(start, self.frame.schema[self.time], self.period)
            copies.append(self.frame.with_columns(__low=start, __high=end))
            start = moved(start, self.frame.schema[self.time], "-" + self.every)
        low, high, time = pl.col("__low"), pl.col("__high"), pl.col(self.time)
        after = time >= low if self.closed in {"left", "both"} else time > low
        before = time <= high if self.closed in {"right", "both"} else time < high
        rows = pl.concat(copies).filter(after & before)
        groups = rows.group_by(*self.keys, "__low", "__high")
        found = groups.agg(time.min().alias("__point"), pl.len().alias("__len"), **aggs)
        if self.overlap == 1:
            self._as_polars(found)
        dtype = self.frame.schema[self.time]
        ends = [low.alias("_lower_boundary"), high.alias("_upper_boundary")] if self.ends else []
        if dtype == pl.Date:
            ends = [each.cast(pl.Datetime("us")) for each in ends]
        label = {"left": low, "right": high, "datapoint": pl.col("__point")}[self.label]
        return found.select(*self.keys, *ends, label.alias(self.time), *aggs)

    def _as_polars(self, found: pl.DataFrame) -> None:
        """Where they do not overlap, Polars has the same windows. It sums up some of them wrongly, so it only counts."""
        own = self.frame.group_by_dynamic(
            self.time, every=self.every, period=self.period, offset=self.offset, closed=self.closed,
            group_by=self.keys or None,
        )  # fmt: skip
        mine = found.select(*self.keys, pl.col("__low").alias(self.time), "__len")
        differs = difference(mine, own.agg(pl.len().alias("__len")))
        assert not differs, f"the definition of windows is wrong: {differs}"

    def _start(self) -> pl.Expr:
        """The start of the last window that begins at a row or before it."""
        dtype, column = self.frame.schema[self.time], pl.col(self.time)
        offset = self.offset or "0s"
        if dtype.is_integer():
            width, by = int(self.every[:-1]), int((self.offset or "0i")[:-1])
            return ((column - by) // width * width + by).cast(dtype)
        back = moved(column, dtype, "-" + offset) if self.offset else column
        start = back.dt.truncate(self.every)
        return moved(start, dtype, offset) if self.offset else start


def windows(frame: pl.DataFrame, time: str, overlap: int, **words: Any) -> Windows:
    """The windows of `group_by_dynamic`."""
    return Windows(frame, time, overlap, **words)


def moved(column: pl.Expr, dtype: pl.DataType, by: str) -> pl.Expr:
    """A time so much later; of an integer column, so many ticks."""
    return (column + int(by[:-1])).cast(dtype) if dtype.is_integer() else column.dt.offset_by(by)


def timed(frame: pl.DataFrame, time: str) -> pl.DataFrame:
    """The rows that have a time, in its order."""
    return frame.filter(pl.col(time).is_not_null()).sort(time, maintain_order=True)


def sessions(
    frame: pl.DataFrame, time: str, gap: str, keys: Sequence[str], aggs: Sequence[pl.Expr]
) -> pl.DataFrame:
    """Runs of rows of a key that are each less than `gap` after the one before."""
    dtype, at = frame.schema[time], pl.col(time)
    previous = at.shift(1).over(keys) if keys else at.shift(1)
    is_new = (at >= moved(previous, dtype, gap)).fill_null(value=True).cast(pl.Int64)
    rows = timed(frame, time).with_columns(__new=is_new)
    number = pl.col("__new").cum_sum()
    rows = rows.with_columns(__session=number.over(keys) if keys else number)
    found = rows.group_by(*keys, "__session").agg(at.min().alias("start"), at.max().alias("end"), *aggs)
    return found.drop("__session")


class Rolling:
    """For each row the rows of its key in a stretch of time before it, by definition."""

    def __init__(
        self,
        frame: pl.DataFrame,
        time: str,
        *,
        period: str,
        closed: Any = "right",
        group_by: Sequence[str] = (),
    ) -> None:
        self.frame, self.time, self.keys = timed(frame, time), time, list(group_by)
        self.period, self.closed = period, closed

    def agg(self, **aggs: pl.Expr) -> pl.DataFrame:
        """One row for each row. Polars sums up some windows wrongly, so it is asked for those without rows only."""
        rows = self.frame.with_row_index("__row")
        keys = [pl.col(key).alias(f"__key_{key}") for key in self.keys]
        one = rows.select(*keys, pl.col("__row").alias("__of"), pl.col(self.time).alias("__at"))
        both = rows.with_columns(keys)
        names = [f"__key_{key}" for key in self.keys]
        pairs = one.join(both, on=names, nulls_equal=True) if keys else one.join(both, how="cross")
        low, at = moved(pl.col("__at"), self.frame.schema[self.time], "-" + self.period), pl.col(self.time)
        after = at >= low if self.closed in {"left", "both"} else at > low
        before = at <= pl.col("__at") if self.closed in {"right", "both"} else at < pl.col("__at")
        found = pairs.filter(after & before).sort("__of", "__row").group_by("__of").agg(**aggs)
        full = rows.select("__row", *self.keys, self.time).join(found, left_on="__row", right_on="__of")
        groups = self.frame.rolling(
            self.time, period=self.period, closed=self.closed, group_by=self.keys or None
        )
        empty = groups.agg(**aggs, __len=pl.len()).filter(pl.col("__len") == 0)
        if full.height + empty.height != rows.height:
            raise ValueError("Polars finds other windows without rows")  # nothing to compare with
        return pl.concat([full.drop("__row"), empty.drop("__len")])


def rolling(frame: pl.DataFrame, time: str, **words: Any) -> Rolling:
    """The windows of `rolling`."""
    return Rolling(frame, time, **words)


def interval(
    left: pl.DataFrame, right: pl.DataFrame, times: tuple[str, str], keys: Sequence[str], how: Any,
    lower: str, upper: str, *, suffix: str, **nulls: Any
) -> pl.DataFrame:  # fmt: skip
    """The pairs of rows whose times differ by no less than `lower` and no more than `upper`, joined as Polars does."""
    left, right = left.with_row_index("__left"), right.with_row_index("__match")
    one = left.select(*keys, "__left", __at=times[0])
    other = right.select(*keys, "__match", __then=times[1])
    pairs = joined(one, other, keys, keys, **nulls)
    at, then, dtype = pl.col("__at"), pl.col("__then"), left.schema[times[0]]
    near = (then >= moved(at, dtype, lower)) & (then <= moved(at, dtype, upper))
    pairs = pairs.filter(near).select("__left", "__match")
    if how in {"semi", "anti"}:
        return left.join(pairs, on="__left", how=how).drop("__left")
    rows = left.join(pairs, on="__left", how="left")
    on = [*keys, "__match"]
    full = rows.join(right, on=on, how=how, suffix=suffix, **nulls)
    return full.drop("__left", "__match", f"__match{suffix}", strict=False)


def joined(
    left: pl.DataFrame, right: pl.DataFrame, left_on: Sequence[str], right_on: Sequence[str], **words: Any
) -> pl.DataFrame:
    """Polars' join. By one key of which it knows that it is sorted, like that of a single row, it pairs no NaN; so by two."""
    one, other = left.with_columns(__one=0), right.with_columns(__one=0)
    both = one.join(other, left_on=[*left_on, "__one"], right_on=[*right_on, "__one"], **words)
    return both.drop("__one", f"__one{words.get('suffix', '_right')}", strict=False)


def asof(left: pl.DataFrame, right: pl.DataFrame, times: tuple[str, str], **words: Any) -> pl.DataFrame:
    """Polars' join, of rows in the order of their times."""
    one, other = timed(left, times[0]), timed(right, times[1])
    if words.get("tolerance", "").endswith("i"):
        words["tolerance"] = int(words["tolerance"][:-1])
    return one.join_asof(other, check_sortedness=False, **words)


def latest(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The last row of each key."""
    return frame.unique(keys, keep="last", maintain_order=True)


def best(
    frame: pl.DataFrame, k: int, by: Sequence[str], reverse: Sequence[bool], keys: Sequence[str]
) -> pl.DataFrame:
    """The first rows of each group in the order of `by`, ties in the order of the frame."""
    descending = [not each for each in reverse]
    ranked = frame.sort(*by, descending=descending, nulls_last=True, maintain_order=True)
    place = pl.int_range(pl.len())
    return ranked.filter((place.over(keys) if keys else place) < k)


def counted(
    frame: pl.DataFrame, n: int, time: str | None, keys: Sequence[str], aggs: Sequence[pl.Expr]
) -> pl.DataFrame:
    """Groups of `n` rows of a key, in their order."""
    place = pl.int_range(pl.len())
    rows = frame.with_columns(__group=(place.over(keys) if keys else place) // n)
    ends = [] if time is None else [pl.col(time).min().alias("start"), pl.col(time).max().alias("end")]
    return rows.group_by(*keys, "__group").agg(*ends, *aggs).drop("__group")


def number(rows: pl.DataFrame, seen: int, group: st.Group) -> tuple[pl.DataFrame, int]:
    """A function with state: numbers the rows of a key."""
    numbers = pl.Series("number", range(seen, seen + rows.height), dtype=pl.Int64)
    return rows.insert_column(0, numbers), seen + rows.height


def numbered(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """What `number` makes of all rows."""
    return frame.select(pl.int_range(pl.len(), dtype=pl.Int64).over(keys).alias("number"), pl.all())


def first_within(frame: pl.DataFrame, time: str, keys: Sequence[str], within: str) -> pl.DataFrame:
    """Of the rows of a key, in order, those that no row that was kept stands less than `within` before."""
    until = frame.select(moved(pl.col(time), frame.schema[time], within).alias("until"))["until"].to_list()
    held: dict[str, Any] = {}
    kept = []
    for place, (key, at) in enumerate(zip(frame.select(keys).rows(), frame[time].to_list(), strict=True)):
        text = repr(tuple(0.0 if each == 0 and isinstance(each, float) else each for each in key))
        if text not in held or at >= held[text]:
            held[text] = until[place]
            kept.append(place)
    return frame[kept]


def run(frame: st.StreamDataFrame, parallelism: int, *, optimized: bool) -> pl.DataFrame:
    """All rows of a stream, in threads; changes are folded. No operator may say rows that are older than its watermark."""
    sink = MemorySink(folds=frame.node.is_changes)
    plan = (Write(frame.node, lambda: sink, "out"),)
    writes = [node for node in optimize(plan) if isinstance(node, Write)] if optimized else plan
    job = LocalRun(lower(writes, Config(parallelism=parallelism)), Config())
    times = {node.name: node.event_time for node in walk(*writes) if isinstance(node, Stateful | TableJoin)}
    for task in job._tasks:
        for stage in task.stages():
            if time := times.get(stage.name):
                Watch(stage.name, stage.outputs, time)
    job.start()
    if not job.wait(HANGS_AFTER_S):
        job.stop()
        raise TimeoutError("the job hangs")
    return sink.frame()


class Watch:
    """Stands before the outputs of an operator, and compares rows with the watermarks before them."""

    def __init__(self, name: str, outputs: "Outputs[Any]", time: EventTime) -> None:
        self.name, self.time, self.watermark = name, time, WATERMARK_MIN
        self.emit, self.say = outputs.emit, outputs.watermark
        outputs.emit, outputs.watermark = self.on_rows, self.on_watermark  # type: ignore[method-assign]

    def on_rows(self, batch: Batch) -> None:
        least = batch.frame[self.time.column].drop_nulls().to_physical().cast(pl.Int64).min()
        if least is not None:
            older = least * self.time.ns_per_tick < self.watermark  # type: ignore[operator]
            assert not older, f"{self.name} said that no row is older than {self.watermark}, but {least!r} is"
        self.emit(batch)

    def on_watermark(self, time: int | None) -> None:
        if time is not None:
            assert time >= self.watermark, f"the watermark of {self.name} goes back"
            self.watermark = time
        self.say(time)


def normal(frame: pl.DataFrame) -> Counter[str]:
    """The rows, without their order; floats to nine digits, because sums depend on the order; 0.0 is -0.0."""
    floats = cs.float().round(9).round_sig_figs(9)
    zeros = pl.when(cs.float() == 0).then(0.0).otherwise(floats).name.keep()
    return Counter(map(repr, frame.with_columns(zeros, cs.categorical().cast(pl.String)).rows()))


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
