"""The benchmarks of the first Streame: records of 20 strings through 200 stages of one verb, and a small join."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import cycle, islice
from pathlib import Path

import polars as pl

import streame as st
from streame.cli.bench.case import Case, Outcome, Work
from streame.cli.bench.counting import CountingSink, tally
from streame.cli.bench.orders import cut

STAGES = 200
COLUMNS = tuple(f"column_{number:02}" for number in range(20))
SCHEMA = pl.Schema(dict.fromkeys(COLUMNS, pl.String()))
DISTINCT = 3_000
SIZES = (("3k", 3_000), ("1m", 1_000_000))
BATCH_ROWS = 65_536
JOIN_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Stage:
    """One verb, said in Streame and in Polars."""

    name: str
    streame: Callable[[st.StreamDataFrame, int], st.StreamDataFrame]
    polars: Callable[[pl.LazyFrame, int], pl.LazyFrame]


def records(rows: int, characters: int = 20) -> pl.DataFrame:
    """Records of 20 strings of so many characters."""
    numbers = pl.int_range(rows, eager=True) % DISTINCT
    texts = [
        (numbers * len(COLUMNS) + place).cast(pl.String).str.zfill(characters)
        for place in range(len(COLUMNS))
    ]
    return pl.DataFrame(dict(zip(COLUMNS, texts, strict=True)))


def _predicate(stage: int) -> pl.Expr:
    """True for every record, and another one for every stage, so that none can be left out as a repetition."""
    return pl.col(COLUMNS[stage % len(COLUMNS)]) != f"no such text: {stage:06}"


def _turned(stage: int) -> tuple[str, ...]:
    at = stage % len(COLUMNS)
    return COLUMNS[at:] + COLUMNS[:at]


def _other_names(stage: int) -> dict[str, str]:
    old, new = ("", "_new") if stage % 2 == 0 else ("_new", "")
    return {name + old: name + new for name in COLUMNS}


STAGE_KINDS = (
    Stage(
        "filter",
        lambda frame, stage: frame.filter(_predicate(stage)),
        lambda frame, stage: frame.filter(_predicate(stage)),
    ),
    Stage(
        "select",
        lambda frame, stage: frame.select(*_turned(stage)),
        lambda frame, stage: frame.select(*_turned(stage)),
    ),
    Stage(
        "rename",
        lambda frame, stage: frame.rename(_other_names(stage)),
        lambda frame, stage: frame.rename(_other_names(stage)),
    ),
    Stage(
        "static",
        lambda frame, stage: frame.add_static_column(f"static_{stage:03}", "static"),
        lambda frame, stage: frame.with_columns(pl.lit("static").alias(f"static_{stage:03}")),
    ),
)


def _stages_streame(stage: Stage) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        frame = st.scan_frames(cut(records(rows), BATCH_ROWS))
        sink = CountingSink()
        job = st.sink(reduce(stage.streame, range(STAGES), frame), sink)

        def work() -> Outcome:
            job.run()
            return Outcome(rows, sink.tally.numbers)

        return work

    return prepare


def _stages_polars(stage: Stage) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        plan = reduce(stage.polars, range(STAGES), records(rows).lazy())

        def work() -> Outcome:
            return Outcome(rows, tally([plan.collect()]).numbers)

        return work

    return prepare


def _validate_streame(rows: int, folder: Path) -> Work:
    sink = CountingSink()
    distinct = records(min(rows, DISTINCT)).to_dicts()
    job = st.sink(st.scan_rows(islice(cycle(distinct), rows), SCHEMA), sink)

    def work() -> Outcome:
        job.run()
        return Outcome(rows, sink.tally.numbers)

    return work


def _validate_polars(rows: int, folder: Path) -> Work:
    distinct = records(min(rows, DISTINCT)).to_dicts()
    dicts = list(islice(cycle(distinct), rows))

    def work() -> Outcome:
        return Outcome(rows, tally([pl.from_dicts(dicts, schema=SCHEMA)]).numbers)

    return work


def _sides(rows: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two frames of records with 100 characters that meet on their first column."""
    left = records(rows, characters=100)
    return left, left.rename({name: f"right_{name}" for name in COLUMNS[1:]})


def _join_streame(rows: int, folder: Path) -> Work:
    left, right = _sides(rows)
    sink = CountingSink()
    table = st.scan_frames([right], name="table").as_table(COLUMNS[0])
    job = st.sink(st.scan_frames([left]).join(table, on=COLUMNS[0]), sink)

    def work() -> Outcome:
        job.run()
        return Outcome(rows, sink.tally.numbers)

    return work


def _join_polars(rows: int, folder: Path) -> Work:
    left, right = _sides(rows)
    plan = left.lazy().join(right.lazy(), on=COLUMNS[0])

    def work() -> Outcome:
        return Outcome(rows, tally([plan.collect()]).numbers)

    return work


STAGE_CASES = tuple(
    Case(
        f"{stage.name}-200-{size}",
        f"200 x {stage.name} on records of 20 strings",
        streame=_stages_streame(stage),
        peer=_stages_polars(stage),
        peer_name="Polars, lazy",
        rows=rows,
        smoke_rows=3_000,
        rounds=3,
    )
    for stage in STAGE_KINDS
    for size, rows in SIZES
)

VALIDATION_CASES = tuple(
    Case(
        f"validate-{size}",
        "dicts of 20 strings checked against a schema",
        streame=_validate_streame,
        peer=_validate_polars,
        peer_name="Polars, from_dicts",
        rows=rows,
        smoke_rows=3_000,
        rounds=3,
    )
    for size, rows in SIZES
)

CASES = (
    *STAGE_CASES,
    *VALIDATION_CASES,
    Case(
        "join-strings",
        "records of 100-character strings joined with 1,000",
        streame=_join_streame,
        peer=_join_polars,
        peer_name="Polars, lazy",
        rows=JOIN_ROWS,
        smoke_rows=JOIN_ROWS,
    ),
)
