"""A verb that fails on some rows sets exactly those aside: the rows that Polars cannot compute when they stand alone."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import event, given, note, reject, settings
from hypothesis import strategies as hst
from hypothesis.strategies import DrawFn
from polars.exceptions import PanicException, PolarsError

import streame as st
from streame.core.config import Config
from streame.io.memory import MemorySink
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.plan.optimizer import optimize
from streame.runtime.local import LocalRun
from streame.testing import strategies
from tests.examples import examples
from tests.properties.chains import Verb
from tests.properties.running import rows_of, scanned

pytestmark = pytest.mark.timeout(600)

SCHEMA = pl.Schema({"id": pl.Int64(), "s": pl.String(), "n": pl.Int64(), "l": pl.List(pl.String())})
TEXTS = ("1", "-7", "x", "", " 5", "5.5", "999", "2024-02-30", "2024-02-29", "é", None)
NUMBERS = (0, 1, -1, 127, 128, 2**40, -(2**63), None)


def refusing(frame: pl.DataFrame) -> pl.DataFrame:
    """A function for `map_batches` that cannot do some rows."""
    if 128 in frame["n"].to_list():
        raise ValueError("128 is too much")
    return frame.with_columns(pl.col("n") + 1)


def _both(code: str) -> Verb:
    return Verb(code, code)


FALLIBLE = [
    _both("frame.cast({'s': pl.Int64})"),
    _both("frame.cast({'n': pl.Int8})"),
    _both("frame.cast({'s': pl.Int16, 'n': pl.UInt32})"),
    _both("frame.with_columns(d=pl.col('s').str.to_date('%Y-%m-%d'))"),
    _both("frame.with_columns(i=pl.col('s').str.to_integer(), j=pl.col('n').cast(pl.Int8))"),
    _both("frame.with_columns(e=pl.col('s').cast(pl.Enum(['1', 'x'])))"),
    _both("frame.with_columns(f=pl.col('l').list.get(1))"),
    _both("frame.with_columns(r=pl.col('n').replace_strict({0: 'a', 1: 'b'}))"),
    _both("frame.with_columns(m=pl.when(pl.col('n') > 0).then(pl.col('s').cast(pl.Int64)).otherwise(0))"),
    _both("frame.filter(pl.col('s').cast(pl.Int64) > 0)"),
    _both("frame.filter((pl.col('n') > 0) & (pl.col('s').cast(pl.Float64) < 900))"),
    _both("frame.select('id', 's', 'n', 'l', t=pl.col('l').cast(pl.List(pl.Int64)))"),
    Verb("frame.map_batches(refusing, row_wise=True)", "refusing(frame)"),
]
HARMLESS = [
    _both("frame.filter(pl.col('n') != 1)"),
    _both("frame.with_columns(pl.col('n') * 1)"),
    _both("frame.with_columns(x=pl.lit(1)).drop('x')"),
    _both("frame.rename({'id': 'key'}).rename({'key': 'id'})"),
    _both("frame.select('l', 'n', 's', 'id')"),
    _both("frame.drop_nulls('s')"),
    _both("frame.fill_null('9')"),
    _both("frame.explode('l').with_columns(l=pl.concat_list('l'))"),
]


@hst.composite
def verbs(draw: DrawFn) -> list[Verb]:
    """Verbs of which at least one fails on some rows."""
    before = draw(hst.lists(hst.sampled_from(HARMLESS), max_size=2))
    after = draw(hst.lists(hst.sampled_from(HARMLESS), max_size=2))
    fallible = draw(hst.lists(hst.sampled_from(FALLIBLE), min_size=1, max_size=2, unique=True))
    return [*before, *fallible, *after]


@hst.composite
def tables(draw: DrawFn) -> pl.DataFrame:
    """Rows of which a few cannot be computed."""
    height = draw(hst.integers(0, 12))
    texts = hst.lists(hst.sampled_from(TEXTS), max_size=3)
    columns: dict[str, Sequence[Any]] = {
        "id": range(height),
        "s": draw(hst.lists(hst.sampled_from(TEXTS), min_size=height, max_size=height)),
        "n": draw(hst.lists(hst.sampled_from(NUMBERS), min_size=height, max_size=height)),
        "l": draw(hst.lists(hst.one_of(hst.none(), texts), min_size=height, max_size=height)),
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def polars_says(frame: pl.DataFrame, chain: Sequence[Verb]) -> tuple[pl.DataFrame, Counter[int]]:
    """The rows that come out of Polars verb by verb and row by row, and how often each input row fails."""
    failed: Counter[int] = Counter()
    rows = [frame[number : number + 1] for number in range(frame.height)]
    done = frame.clear()
    for verb in chain:
        try:
            done = _polars(verb, done)
        except (PolarsError, PanicException):
            reject()  # the verbs before have changed a dtype, and this one does not fit any more
        after = []
        for row in rows:
            try:
                result = _polars(verb, row)
            except (Exception, PanicException):
                failed[row["id"][0]] += 1
            else:
                after += [result[number : number + 1] for number in range(result.height)]
        rows = after
    return pl.concat([done, *rows]), failed


def _polars(verb: Verb, frame: pl.DataFrame) -> pl.DataFrame:
    result = eval(verb.polars, {"pl": pl, "refusing": refusing, "frame": frame})  # noqa: S307 - it is our own
    assert isinstance(result, pl.DataFrame)
    return result


def run(
    frame: st.StreamDataFrame, *, parallelism: int = 1, optimized: bool = True
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a frame, and its dead letters."""
    good, bad = MemorySink(), MemorySink()
    plan = (Write(frame._node, lambda: good, "good"), Write(frame.rejected._node, lambda: bad, "bad"))
    writes = [node for node in optimize(plan) if isinstance(node, Write)] if optimized else plan
    local = LocalRun(lower(writes, Config(parallelism=parallelism)), Config())
    local.start()
    assert local.wait(20), "the job hangs"
    return good.frame(), bad.frame()


@given(hst.data())
@settings(max_examples=examples(48))
def test_exactly_the_rows_that_fail_alone_are_rejected(data: hst.DataObject) -> None:
    frame = data.draw(tables(), label="frame")
    chain = data.draw(verbs(), label="verbs")
    expected, failed = polars_says(frame, chain)
    event("rows are rejected" if failed else "no row is rejected")
    for number in (1, 2):
        batches = data.draw(strategies.batch_cuts(frame), label=f"batches {number}")
        stream = scanned(batches, on_error="dead_letter")
        for verb in chain:
            stream = eval(verb.stream, {"pl": pl, "refusing": refusing, "frame": stream})  # noqa: S307
        for optimized in (True, False):
            note(f"cut {number}, {optimized=}")
            good, bad = run(stream, optimized=optimized)
            assert rows_of(good) == rows_of(expected)
            assert Counter(bad["offset"].to_list()) == failed
            assert set(bad["kind"]) <= {"compute"}
            assert set(bad["source"]) <= {"rows"}


@given(hst.data())
@settings(max_examples=examples(16))
def test_positions_survive_a_join(data: hst.DataObject) -> None:
    frame = data.draw(tables(), label="frame")
    known = pl.DataFrame({"n": [0, 1, 128, None], "w": ["0", "x", "2", "y"]})
    hows: list[Literal["inner", "left"]] = ["inner", "left"]
    how = data.draw(hst.sampled_from(hows), label="how")
    joined = frame.join(known, on="n", how=how)
    verb = data.draw(
        hst.sampled_from([_both("frame.cast({'w': pl.Int64})"), _both("frame.cast({'s': pl.Int64})")])
    )
    expected, failed = polars_says(joined, [verb])
    stream = scanned(data.draw(strategies.batch_cuts(frame), label="batches"), on_error="dead_letter")
    table = scanned([known], "known", on_error="dead_letter").as_table("n")
    stream = eval(verb.stream, {"pl": pl, "frame": stream.join(table, on="n", how=how)})  # noqa: S307
    for parallelism in (1, 3):
        note(f"{parallelism=}")
        good, bad = run(stream, parallelism=parallelism)
        assert rows_of(good) == rows_of(expected)
        assert Counter(bad["offset"].to_list()) == failed
