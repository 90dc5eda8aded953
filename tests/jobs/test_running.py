"""What `run` and `start` take and say: settings and where they come from, counts, dead letters, asyncio, a second run."""

import asyncio
import json
import queue
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.config import load_config
from tests.jobs.fakes import HANG_S, Gate, Numbers

ROWS: list[Any] = [{"n": "1"}, {"n": "x"}, {"n": None}, 5, {"n": "2"}]


def readings(**settings: Any) -> st.StreamDataFrame:
    rows = st.scan_rows(ROWS, {"n": pl.String}, required=["n"], name="readings", **settings)
    return rows.cast({"n": pl.Int64})


def test_dead_letters_go_to_a_directory(tmp_path: Path) -> None:
    done = readings(on_error="dead_letter").sink_queue(queue.Queue()).run(errors=tmp_path / "errors")
    lines = [
        line
        for file in sorted((tmp_path / "errors").rglob("*.ndjson"))
        for line in file.read_text().splitlines()
    ]
    letters = sorted((json.loads(line) for line in lines), key=lambda letter: int(letter["offset"]))
    assert [(letter["offset"], letter["operator"], letter["kind"]) for letter in letters] == [
        (1, "cast", "compute"), (2, "readings", "null"), (3, "readings", "type"),
    ]  # fmt: skip
    assert set(letters[0]) >= set(st.DEAD_LETTER_SCHEMA)
    assert (done.rows_in, done.rows_out, done.rejected) == (5, 2, 3)


def test_dead_letters_go_to_a_queue_and_to_rejected_at_once() -> None:
    errors: queue.Queue[Any] = queue.Queue()
    good, bad = Gate(is_open=True), Gate(is_open=True)
    numbers = readings(on_error="dead_letter")
    st.job([st.sink(numbers, good), st.sink(numbers.rejected, bad)]).run(errors=errors)
    letters = []
    while (letter := errors.get_nowait()) is not st.END:
        letters.append(letter)
    assert sorted(letter["offset"] for letter in letters) == [1, 2, 3]
    assert sorted(pl.concat(bad.frames)["offset"]) == [1, 2, 3]
    assert pl.concat(good.frames)["n"].to_list() == [1, 2]


@pytest.mark.parametrize("on_error", ["drop", "dead_letter"])
def test_bad_rows_are_counted_where_nobody_reads_them(on_error: str) -> None:
    handle = readings(on_error=on_error).sink_queue(queue.Queue()).start()
    assert handle.wait(HANG_S)
    assert handle.metrics()["readings"].rejected == 2
    assert handle.metrics()["cast"].rejected == 1
    assert handle.status().rejected == 3


def test_the_first_bad_row_ends_a_job_that_fails() -> None:
    out = Gate(is_open=True)
    with pytest.raises(st.DataError, match=r"offset 2.*required"):
        st.sink(readings(), out).run()
    assert out.ended == "aborted"


def test_counts_of_every_operator() -> None:
    rows = st.scan(Numbers(1000), name="numbers")
    odd = rows.filter(pl.col("n") % 2 == 1)
    table = st.scan_frames([pl.DataFrame({"n": range(0, 1000, 5)})], name="fives").as_table("n")
    jobs = [
        st.sink(odd.join(table), Gate(is_open=True), name="joined"),
        st.sink(odd, Gate(is_open=True), name="odd"),
    ]
    handle = st.job(jobs, name="counting").start(parallelism=3)
    assert handle.wait(HANG_S)
    counts = {name: (each.rows_in, each.rows_out) for name, each in handle.metrics().items()}
    assert counts == {
        "numbers": (1000, 1000), "fives": (200, 200), "filter": (1000, 500), "join fives on n": (700, 100),
        "sink joined": (100, 0), "sink odd": (500, 0),
    }  # fmt: skip
    status = handle.status()
    assert (status.name, status.rows_in, status.rows_out, status.rejected) == ("counting", 1200, 600, 0)
    assert 0 < status.seconds == handle.status().seconds < HANG_S


def test_a_job_runs_twice(tmp_path: Path) -> None:
    job = st.scan(Numbers(10)).filter(pl.col("n") > 4).sink_ndjson(tmp_path / "out.ndjson")
    frames = st.scan_frames([pl.DataFrame({"n": [1, 2]})])
    other = frames.sink_ndjson(tmp_path / "other.ndjson")
    for _ in range(2):
        other.run()
        assert pl.read_ndjson(tmp_path / "other.ndjson")["n"].to_list() == [1, 2]
    job.run()
    assert frames.collect().height == frames.collect().height == 2


def test_an_iterator_cannot_run_twice() -> None:
    rows = st.scan_rows(iter([{"n": 1}]), {"n": pl.Int64})
    assert rows.collect().height == 1
    with pytest.raises(st.ConnectorError, match="only once"):
        rows.collect()


def test_asyncio_queues_in_and_out() -> None:
    async def main() -> list[Any]:
        source: asyncio.Queue[Any] = asyncio.Queue()
        target: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        job = st.scan_queue(source, {"n": pl.Int64}).filter(pl.col("n") > 1).sink_queue(target)
        handle = job.start()
        for n in range(5):
            await source.put({"n": n})
        await source.put(st.END)
        rows = []
        while (row := await target.get()) is not st.END:
            rows.append(row["n"])
        assert await asyncio.to_thread(handle.wait, HANG_S)
        return rows

    assert asyncio.run(asyncio.wait_for(main(), HANG_S)) == [2, 3, 4]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"checkpoint_interval": "1s"},
            "checkpoint_interval is about checkpoints; give checkpoints= as well",
        ),
        ({"checkpoint_interval": "0s", "checkpoints": "c"}, "'checkpoint_interval' as an argument is '0s'"),
        ({"memory_limit": "1B"}, "'memory_limit' as an argument is '1B'; give at least 1MB"),
        ({"memory_limit": 999_999}, "give at least 1MB"),
    ],
)
def test_settings_that_do_harm_or_nothing_were_taken(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(st.PlanError, match=words):
        load_config(settings)


def test_an_interval_in_the_environment_needs_no_checkpoints() -> None:
    assert load_config({}, {"STREAME_CHECKPOINT_INTERVAL": "1s"}).checkpoint_interval_us == 1_000_000
    assert load_config({"memory_limit": "1MB"}).memory_limit == 1_000_000


def test_arguments_win_over_the_environment_which_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config({}).parallelism == 1
    Path("streame.toml").write_text('parallelism = 2\nchannel_rows = 7\nshutdown_timeout = "3s"\n')
    assert load_config({}).parallelism == 2
    monkeypatch.setenv("STREAME_PARALLELISM", "3")
    monkeypatch.setenv("STREAME_CHANNEL_ROWS", "8")
    assert load_config({}).parallelism == 3
    config = load_config({"parallelism": 4, "channel_rows": None})
    assert (config.parallelism, config.channel_rows, config.shutdown_timeout_us) == (4, 8, 3_000_000)
    handle = st.sink(
        st.scan(Numbers(10)).join(st.scan(Numbers(10), name="t").as_table("n")), Gate(is_open=True)
    ).start()
    assert handle.wait(HANG_S)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("argument", {"parallelism": 0}, "'parallelism' as an argument is 0; give a whole number from 1 to 128"),
        ("argument", {"parallelism": "many"}, "'parallelism' as an argument is 'many'"),
        pytest.param("argument", {"parallelism": 1.5}, "'parallelism' as an argument is 1.5"),
        pytest.param("argument", {"parallelism": True}, "'parallelism' as an argument is True"),
        ("argument", {"shutdown_timeout": "soon"}, "cannot read the duration 'soon'"),
        ("argument", {"parallelsim": 2}, "'parallelsim' as an argument does not exist; there are parallelism"),
        ("environment", {"STREAME_CHANNEL_ROWS": "x"}, "'channel_rows' in the environment is 'x'"),
        ("file", "parallelism = [1]", r"'parallelism' in streame.toml is \[1\]"),
        ("file", "typo = 1", "'typo' in streame.toml does not exist"),
        pytest.param("file", "shutdown_timeout = 5", "shutdown_timeout"),
        ("file", "parallelism = ", "streame.toml"),
        pytest.param("file", "parallelism = 1_000_000_000_000", "parallelism"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_explained(
    where: str, value: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if where == "file":
        Path("streame.toml").write_text(value)
    if where == "environment":
        for name, text in value.items():
            monkeypatch.setenv(name, text)
    arguments = value if where == "argument" else {}
    with pytest.raises(st.PlanError, match=message):
        st.sink(st.scan(Numbers(10)), Gate(is_open=True)).start(**arguments)


def test_names_must_differ() -> None:
    two = [st.sink(st.scan(Numbers(10)), Gate(is_open=True)) for _ in range(2)]
    with pytest.raises(st.PlanError, match="two sources of the job are called 'Numbers'"):
        st.job(two)
    with pytest.raises(st.PlanError, match="give at least one sink"):
        st.job([])
