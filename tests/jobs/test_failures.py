"""An error in any operator ends the job with the operator's name, the row's position and the original exception."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.errors import StreameError
from tests.jobs.fakes import HANG_S, Broken, Gate, Numbers, Silent

BAD = 777
Build = Callable[[st.StreamDataFrame], st.StreamDataFrame]


def texts(**settings: Any) -> st.StreamDataFrame:
    """A thousand rows of which number 777 is no number, in batches of 100."""
    frame = pl.DataFrame(
        {"n": range(1000), "s": ["oops" if n == BAD else str(n) for n in range(1000)], "k": [n % 10 for n in range(1000)]}
    )  # fmt: skip
    return st.scan_frames([frame[at : at + 100] for at in range(0, 1000, 100)], name="texts", **settings)


def table() -> st.StreamDataFrame:
    return st.scan_frames([pl.DataFrame({"k": range(10), "word": list("abcdefghij")})], name="words")


def picky(frame: pl.DataFrame) -> pl.DataFrame:
    if "oops" in frame["s"].to_list():
        raise KeyError("no such word: oops")
    return frame


def join(frame: st.StreamDataFrame) -> st.StreamDataFrame:
    return frame.join(table().as_table("k"), on="k")


@dataclass
class Case:
    """A pipeline that fails on one row, what is said of it, and in which operator."""

    build: Build
    says: str
    operator: str
    cause: type[BaseException] = pl.exceptions.InvalidOperationError


PLACE = f"source 'texts', split 'frames', offset {BAD}"
CASES = {
    "strict cast": Case(lambda f: f.cast({"s": pl.Int64}), PLACE, "cast"),
    "cast in a predicate": Case(lambda f: f.filter(pl.col("s").cast(pl.Int64) > 5), PLACE, "filter"),
    "after a filter": Case(lambda f: f.filter(pl.col("n") % 7 == 0).cast({"s": pl.Int64}), PLACE, "cast"),
    "after an explode": Case(
        lambda f: f.with_columns(l=pl.concat_list("n", "n")).explode("l").cast({"s": pl.Int64}), PLACE, "cast"
    ),
    "after a join": Case(lambda f: join(f).cast({"s": pl.Int64}), PLACE, "cast"),
    "after a filter, a join and a filter": Case(
        lambda f: join(f.filter(pl.col("k") > 5)).filter(pl.col("word") == "h").cast({"s": pl.Int64}), PLACE, "cast"
    ),
    "after a concat": Case(
        lambda f: st.concat([f, f.filter(pl.col("n") < 5)]).cast({"s": pl.Int64}), PLACE, "cast"
    ),
    "after a rename and a select": Case(
        lambda f: f.rename({"s": "t"}).select("t").cast({"t": pl.Int64}), PLACE, "cast"
    ),
    "row-wise function": Case(lambda f: f.map_batches(picky, row_wise=True), PLACE, "map_batches", KeyError),
    "function of batches": Case(
        lambda f: f.map_batches(picky), "batch of 100 rows.* offset 700: KeyError", "map_batches", KeyError
    ),
    "function of batches after a join": Case(
        lambda f: join(f).map_batches(picky, schema=None), "batch of 100 rows.*KeyError", "map_batches", KeyError
    ),
}  # fmt: skip


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_a_failing_row_is_named(name: str, parallelism: int) -> None:
    case = CASES[name]
    if "batches after" in name and parallelism > 1:
        pytest.skip("a batch is then a part of one")
    with pytest.raises(st.DataError, match=case.says) as raised:
        case.build(texts()).collect(parallelism=parallelism)
    error = raised.value
    assert case.operator in str(error)
    assert any(note.startswith("in operator ") and case.operator in note for note in error.__notes__)
    assert isinstance(error.__cause__, case.cause)


def test_a_verb_that_is_refused_rows_counts_once_per_policy() -> None:
    counts = {}
    for on_error in ("dead_letter", "drop"):
        done = texts(on_error=on_error).cast({"s": pl.Int64}).sink_queue(_queue()).run()
        counts[on_error] = (done.rows_in, done.rows_out, done.rejected)
    assert counts == {"dead_letter": (1000, 999, 1), "drop": (1000, 999, 1)}


def _queue() -> Any:
    class Hole:
        """A queue that keeps nothing."""

        def put(self, item: object, timeout: float | None = None) -> None:
            """Forget the item."""

        def get_nowait(self) -> object:
            raise NotImplementedError

    return Hole()


@pytest.mark.parametrize("method", ["open", "write", "close"])
def test_a_sink_that_raises_ends_the_job(method: str) -> None:
    other = Gate(is_open=True)
    # Rows that end may all be written to the other sink before this one has failed.
    rows = st.scan(Numbers(1000 if method == "close" else None))
    job = st.job([st.sink(rows, Broken(method), name="broken"), st.sink(rows, other)])
    with pytest.raises(st.ConnectorError, match=f"Broken could not be .*no {method} for you") as raised:
        job.run()
    assert isinstance(raised.value.__cause__, PermissionError)
    assert raised.value.__notes__ == ["in operator sink broken"]
    if method == "write":
        assert other.ended == "aborted"


def test_a_source_that_raises_ends_the_job() -> None:
    source, out = Numbers(10_000, fails_at=500), Gate(is_open=True)
    with pytest.raises(st.ConnectorError, match="in source Numbers, split all: OSError: the cable is cut") as raised:  # fmt: skip
        st.sink(st.scan(source), out).run()
    assert isinstance(raised.value.__cause__, OSError)
    assert out.ended == "aborted"
    assert source.closed == source.opened == 1


def test_a_generator_that_raises_says_after_how_many_rows() -> None:
    def rows() -> Iterator[dict[str, int]]:
        for n in range(1234):
            yield {"n": n}
        raise LookupError("no more")

    with pytest.raises(st.ConnectorError, match="raised LookupError after 1234 rows: no more") as raised:
        st.scan_rows(rows(), {"n": pl.Int64}).collect()
    assert isinstance(raised.value.__cause__, LookupError)


def test_a_bad_row_of_a_source_is_named() -> None:
    rows: list[dict[str, object]] = [{"n": n} for n in range(1000)]
    rows[BAD] = {"n": "oops"}
    with pytest.raises(st.DataError, match=f"source 'rows', split 'rows', offset {BAD}: .*oops"):
        st.scan_rows(rows, {"n": pl.Int64}).collect()


def test_a_failure_wakes_tasks_that_wait_for_rows_that_never_come() -> None:
    silent = Silent(pl.Schema({"n": pl.Int64, "w": pl.String}))
    joined = st.scan(Numbers(None)).join(st.scan(silent, name="silent").as_table("n"), wait=None)
    broken = st.sink(st.scan(Numbers(500, fails_at=300), name="broken"), Gate(is_open=True))
    handle = st.job([st.sink(joined, Gate(is_open=True), name="joined"), broken]).start()
    with pytest.raises(st.ConnectorError, match="cable"):
        handle.wait(HANG_S)
    assert handle.status().state == "failed"
    assert "cable" in (handle.status().error or "")


def test_a_failure_wakes_a_source_that_waits_for_room() -> None:
    gate = Gate()

    def rows() -> Iterator[dict[str, int]]:
        assert gate.reached.wait(HANG_S)
        yield {"n": 1}
        raise OSError("the cable was pulled")

    slow = st.sink(st.scan(Numbers(None)), gate, name="slow")
    broken = st.sink(st.scan_rows(rows(), {"n": pl.Int64}, name="broken"), Gate(is_open=True))
    handle = st.job([slow, broken]).start(channel_rows=100)
    assert gate.reached.wait(HANG_S)
    gate.gate.set()
    with pytest.raises(st.ConnectorError, match="cable"):
        handle.wait(HANG_S)


def test_the_error_of_a_context_manager_is_raised_at_its_end() -> None:
    handle = st.sink(st.scan(Numbers(500, fails_at=300)), Gate(is_open=True)).start()
    with pytest.raises(StreameError, match="cable"):
        handle.wait(HANG_S)  # the end of a block stops the job, perhaps before the source has failed
    with pytest.raises(StreameError, match="cable"):
        handle.__exit__(None, None, None)


@pytest.mark.parametrize("name", ["filter", "errors", "concat", "rejected", "sink errors"])
def test_a_source_may_be_called_like_an_operator(name: str) -> None:
    rows = st.scan_rows(
        [{"n": 1}, {"n": None}, {"n": "x"}], {"n": pl.Int64}, on_error="dead_letter", name=name
    )
    table = st.scan_rows(
        [{"n": 1, "w": "a"}], {"n": pl.Int64, "w": pl.String}, name="t", on_error="dead_letter"
    )
    both = st.concat([rows, rows.filter(pl.col("n") > 0)]).join(table.as_table("n"))
    out = Gate(is_open=True)
    letters: Any = _queue()
    st.job([st.sink(both, out, name="out"), st.sink(both.rejected, Gate(is_open=True), name="letters")]).run(errors=letters)  # fmt: skip
    assert out.rows == 2
