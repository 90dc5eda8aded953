"""A careful start finds the rows that kill, whatever they stand among, and then the job goes on as fast as before."""

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import streame as st
from streame.state.checkpoint.attempt import CONDEMNED_MAX, CRASHES_MAX, UNEXPLAINED_MAX
from tests.isolation.deaths import Pieces, Process

ONE_ROW = 7
NIGHTLY = bool(os.environ.get("STREAME_NIGHTLY"))


def letters(process: Process) -> dict[str, list[str]]:
    """The rows in the dead letters, by kind."""
    found: dict[str, list[str]] = {}
    for part in sorted((process.folder / "errors").glob("*.ndjson")):
        for line in part.read_text("utf-8").splitlines():
            letter = json.loads(line)
            found.setdefault(letter["kind"], []).append(letter["raw"])
    return {kind: sorted(rows) for kind, rows in found.items()}


def numbers_in(folder: Path) -> list[int]:
    return pl.read_parquet(folder / "part-*.parquet")["n"].to_list()


@pytest.mark.parametrize("number", range(40 if NIGHTLY else 4))
def test_deadly_rows_are_set_aside_once_and_all_others_are_there_once(
    number: int, tmp_path: Path, seed: int
) -> None:
    random = np.random.default_rng([seed, number])
    process, total = Process(tmp_path), int(random.integers(10, 500))
    splits = [{"a": range(total), "b": range(total, 2 * total)}, {"a": range(2 * total, 3 * total)}]
    drawn = random.choice(3 * total, 10, replace=False).tolist()
    deadly, bad = drawn[: int(random.integers(1, 4))], drawn[4:]
    size, interval = int(random.choice([2, 50, 1_000])), str(random.choice(["1h", "1ms"]))
    print(f"seed {seed}, {3 * total} rows in chunks of {size}, every {interval}, deadly {deadly}, bad {bad}")

    def make() -> st.Job:
        sources = [
            st.scan(Pieces(each, random, bad, size), name=f"source {place}", on_error="dead_letter")
            for place, each in enumerate(splits)
        ]
        rows = st.concat(sources).map_batches(process.at(deadly))
        sums = rows.group_by(pl.col("n") % 3, name="sums").agg(sum=pl.col("n").sum())
        return st.job(
            [rows.sink_parquet(tmp_path / "rows"), sums.sink_ndjson(tmp_path / "sums.ndjson", changes=True)]
        )

    process.runs_to_its_end(make, 30 * len(deadly), interval)
    kept = sorted(set(range(3 * total)) - set(deadly) - set(bad))
    assert sorted(numbers_in(tmp_path / "rows")) == kept
    assert letters(process) == {
        "crash": sorted(f'{{"n":{each}}}' for each in deadly), "type": sorted(map(str, bad))
    }  # fmt: skip
    sums = pl.read_ndjson(tmp_path / "sums.ndjson").group_by("n", "sum").agg(pl.col("_diff").sum())
    found = dict(sums.filter(pl.col("_diff") == 1).select("n", "sum").rows())
    assert found == {each: sum(n for n in kept if n % 3 == each) for each in {n % 3 for n in kept}}
    assert not process.file.exists()


def simple(process: Process, deadly: list[int], rows: int = 200, on_error: str = "dead_letter") -> st.Job:
    source = Pieces({"a": range(rows)}, np.random.default_rng(0))
    scanned = st.scan(source, name="numbers", on_error=on_error)  # type: ignore[arg-type]
    return scanned.map_batches(process.at(deadly)).sink_parquet(process.folder / "rows")


def test_a_row_that_is_dropped_by_its_policy_is(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.runs_to_its_end(lambda: simple(process, [70], on_error="drop"), ONE_ROW)
    assert numbers_in(tmp_path / "rows") == [each for each in range(200) if each != 70]
    assert not letters(process)


def test_a_row_that_cannot_be_set_aside_is_named_at_each_start_until_somebody_acts(tmp_path: Path) -> None:
    process = Process(tmp_path)
    with pytest.raises(
        st.DataError, match=r'offset 70: the process died 2 times .* the row is .*"n":70'
    ) as raised:
        process.runs_to_its_end(lambda: simple(process, [70], on_error="fail"), ONE_ROW)
    assert f"remove {process.file} and start the job again" in str(raised.value)
    with pytest.raises(st.DataError, match="offset 70"):
        process.lives(lambda: simple(process, [70], on_error="fail"))
    process.file.unlink()
    assert process.lives(lambda: simple(process, [], on_error="fail"))
    assert numbers_in(tmp_path / "rows") == list(range(200))


def test_rows_that_die_one_after_the_other_are_not_to_blame(tmp_path: Path) -> None:
    process = Process(tmp_path)
    deadly = list(range(100, 200))
    with pytest.raises(
        st.StreameError, match=f"with each of {CONDEMNED_MAX} rows in turn .* None of them was skipped"
    ):
        process.runs_to_its_end(lambda: simple(process, deadly), ONE_ROW + 2 * CONDEMNED_MAX)
    with pytest.raises(st.StreameError, match="rows in turn"):
        process.lives(lambda: simple(process, []))
    process.file.unlink()
    assert process.lives(lambda: simple(process, []))
    assert numbers_in(tmp_path / "rows") == list(range(200))
    assert not letters(process)


def test_a_few_deadly_rows_in_a_row_are(tmp_path: Path) -> None:
    process = Process(tmp_path)
    deadly = list(range(100, 100 + CONDEMNED_MAX - 1))
    process.runs_to_its_end(lambda: simple(process, deadly), ONE_ROW + 2 * len(deadly))
    assert numbers_in(tmp_path / "rows") == [each for each in range(200) if each not in deadly]
    assert len(letters(process)["crash"]) == len(deadly)


def test_a_process_that_dies_while_no_row_is_at_work_says_so_and_tries_again(tmp_path: Path) -> None:
    process = Process(tmp_path)

    class Dying(Pieces):
        def splits(self) -> list[str]:
            process.die()
            return []

    def make() -> st.Job:
        return st.scan(Dying({}, np.random.default_rng(0)), name="dying").sink_parquet(tmp_path / "rows")

    with pytest.raises(st.StreameError, match=r"no single row can be named .* Nothing was skipped"):
        process.runs_to_its_end(make, CRASHES_MAX + UNEXPLAINED_MAX)
    assert process.deaths == CRASHES_MAX + UNEXPLAINED_MAX
    assert not process.lives(make)


def test_a_stop_or_an_error_is_no_death(tmp_path: Path) -> None:
    process = Process(tmp_path)

    def fails(frame: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("no")

    def make() -> st.Job:
        source = Pieces({"a": range(100)}, np.random.default_rng(0))
        return st.scan(source, name="numbers").map_batches(fails).sink_parquet(tmp_path / "rows")

    for _ in range(CRASHES_MAX + 1):
        with pytest.raises(st.DataError, match="no"):
            process.lives(make)
        assert not process.file.exists()


def test_rows_beside_a_joined_table_are_found(tmp_path: Path) -> None:
    process = Process(tmp_path)

    def make(deadly: tuple[int, ...] = (), in_table: tuple[int, ...] = ()) -> st.Job:
        rows = st.scan(
            Pieces({"a": range(300)}, np.random.default_rng(1)), name="rows", on_error="dead_letter"
        )
        table = st.scan(
            Pieces({"a": range(300)}, np.random.default_rng(2)), name="table", on_error="dead_letter"
        )
        prices = table.map_batches(process.at(in_table)).with_columns(price=pl.col("n") * 2).as_table("n")
        joined = rows.map_batches(process.at(deadly)).join(prices, on="n", how="left")
        return joined.sink_parquet(tmp_path / "rows")

    process.runs_to_its_end(lambda: make(deadly=(150,)), 30)
    joined = pl.read_parquet(tmp_path / "rows" / "part-*.parquet").sort("n")
    assert joined["n"].to_list() == [each for each in range(300) if each != 150]
    assert (joined["price"] == joined["n"] * 2).all()


def test_a_deadly_row_of_a_joined_table_is_an_error_in_the_end(tmp_path: Path) -> None:
    process = Process(tmp_path)

    def make() -> st.Job:
        rows = st.scan(
            Pieces({"a": range(300)}, np.random.default_rng(1)), name="rows", on_error="dead_letter"
        )
        table = st.scan(
            Pieces({"a": range(300)}, np.random.default_rng(2)), name="table", on_error="dead_letter"
        )
        prices = table.map_batches(process.at([150])).as_table("n")
        return rows.join(prices, on="n", how="left").sink_parquet(tmp_path / "rows")

    with pytest.raises(st.StreameError, match="no single row can be named"):
        process.runs_to_its_end(make, 50)
    assert not letters(process)


def test_after_three_kills_a_job_is_soon_as_fast_as_before(tmp_path: Path) -> None:
    process, rows = Process(tmp_path), 1_000_000

    def make(deadly: list[int]) -> st.Job:
        source = Pieces({"a": range(rows)}, np.random.default_rng(0), size=50_000)
        return st.scan(source, name="numbers").map_batches(process.at(deadly)).sink_parquet(tmp_path / "rows")

    for _ in range(CRASHES_MAX):
        assert not process.lives(lambda: make([500_000]))
    handle = make([]).start(checkpoints=tmp_path / "checkpoints", checkpoint_interval="1h")
    assert handle.wait(60)
    checkpoint = handle.status().checkpoint
    assert checkpoint is not None
    assert checkpoint < 10
    assert len(numbers_in(tmp_path / "rows")) == rows


def test_a_window_that_kills_when_it_closes_is_not_blamed_on_the_rows_that_close_it(tmp_path: Path) -> None:
    process = Process(tmp_path)

    def make(deadly: tuple[int, ...]) -> st.Job:
        source = Pieces({"a": range(200)}, np.random.default_rng(0))
        rows = st.scan(source, name="numbers", event_time="n", on_error="dead_letter")
        sums = rows.group_by_dynamic("n", every="10i").agg(sum=pl.col("n").sum())
        return sums.map_batches(process.at(deadly)).sink_parquet(tmp_path / "rows")

    with pytest.raises(st.StreameError, match="rows in turn"):
        process.runs_to_its_end(lambda: make((100,)), ONE_ROW + 2 * CONDEMNED_MAX)
    process.file.unlink()
    assert process.lives(lambda: make(()))
    found = pl.read_parquet(tmp_path / "rows" / "part-*.parquet").sort("n")
    assert found.rows() == [(first, sum(range(first, first + 10))) for first in range(0, 200, 10)]
    assert not letters(process)
