"""A job that is stopped, by `stop` or by a signal, works on what was read and ends in time."""

import queue
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.errors import StreameError
from tests.jobs.fakes import HANG_S, Gate, Numbers, Silent


def test_stop_writes_all_rows_that_were_read() -> None:
    source, gate = Numbers(None), Gate()
    handle = st.sink(st.scan(source).filter(pl.col("n") >= 0), gate).start(channel_rows=5000)
    assert gate.reached.wait(HANG_S)
    handle.stop()
    assert handle.status().state == "stopping"
    gate.gate.set()
    assert handle.wait(HANG_S)
    assert pl.concat(gate.frames)["n"].to_list() == list(range(source.given))
    assert (gate.ended, source.closed, handle.status().state) == ("closed", 1, "finished")
    assert handle.status().rows_in == handle.status().rows_out == source.given


def test_stop_while_a_bounded_table_is_still_read() -> None:
    table = Numbers(10**9)
    handle = st.sink(
        st.scan(Numbers(1000), name="rows").join(st.scan(table).as_table("n")), Gate(is_open=True)
    ).start()
    while table.given < 1000:
        pass
    handle.stop()
    assert handle.wait(HANG_S)


def test_stop_twice_and_after_the_end() -> None:
    handle = st.sink(st.scan(Numbers(10)), Gate(is_open=True)).start()
    assert handle.wait(HANG_S)
    handle.stop()
    handle.stop()
    assert handle.wait(HANG_S)
    assert handle.status().state == "finished"


def test_a_silent_source_can_be_stopped() -> None:
    silent = Silent(pl.Schema({"n": pl.Int64}))
    with st.sink(st.scan(silent), Gate(is_open=True)).start() as handle:
        assert silent.waiting.wait(HANG_S)
        assert not handle.wait(0.01)
    assert handle.status().state == "finished"


def test_an_iterable_that_blocks_can_be_stopped() -> None:
    asked, more = threading.Event(), threading.Event()

    def rows() -> Iterator[dict[str, int]]:
        yield {"n": 1}
        asked.set()
        more.wait(HANG_S)

    out: queue.Queue[Any] = queue.Queue()
    handle = st.scan_rows(rows(), {"n": pl.Int64}).sink_queue(out).start()
    assert out.get(timeout=HANG_S) == {"n": 1}
    assert asked.wait(HANG_S)
    handle.stop()
    assert handle.wait(HANG_S)
    assert out.get(timeout=HANG_S) is st.END
    more.set()


class Blocking(Numbers):
    """A source that breaks the rule: it waits and does not come back."""

    def __init__(self) -> None:
        super().__init__(None)
        self.asked, self.more = threading.Event(), threading.Event()

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        self.asked.set()
        self.more.wait(HANG_S)
        yield None


def test_a_source_that_never_comes_back_is_given_up() -> None:
    source = Blocking()
    handle = st.sink(st.scan(source, name="stuck one"), Gate(is_open=True)).start(shutdown_timeout="100ms")
    assert source.asked.wait(HANG_S)
    handle.stop()
    with pytest.raises(
        StreameError, match=r"did not stop within 0.1 s; still busy: stuck one\b.*shutdown_timeout"
    ):
        handle.wait()
    assert handle.status().state == "failed"
    source.more.set()


def test_a_sink_that_never_comes_back_is_given_up() -> None:
    gate = Gate()
    handle = st.sink(st.scan(Numbers(100)), gate, name="stuck").start(shutdown_timeout="100ms")
    assert gate.reached.wait(HANG_S)
    handle.stop()
    with pytest.raises(StreameError, match=r"did not stop within 0.1 s; still busy: sink stuck"):
        handle.wait()
    gate.gate.set()


def drain(items: "queue.Queue[Any]", handle: st.JobHandle) -> None:
    """Make room until the job has ended, so that no thread stays behind."""
    while True:
        try:
            if handle.wait(0.01):
                return
        except StreameError:
            if not any(thread.name.startswith("streame") for thread in threading.enumerate()):
                return
        while not items.empty():
            items.get_nowait()


def test_a_full_queue_does_not_keep_a_failed_job_alive() -> None:
    out: queue.Queue[Any] = queue.Queue(maxsize=1)
    full = st.scan(Numbers(None)).sink_queue(out)
    broken = st.sink(st.scan(Numbers(500, fails_at=300), name="broken"), Gate(is_open=True))
    handle = st.job([full, broken]).start()
    try:
        with pytest.raises(st.ConnectorError, match="cable"):
            assert handle.wait(3.0), "the job waits for room in the queue"
    finally:
        drain(out, handle)


def test_a_full_queue_that_nobody_reads_is_given_up() -> None:
    out: queue.Queue[Any] = queue.Queue(maxsize=1)
    handle = st.scan(Numbers(None)).sink_queue(out).start(shutdown_timeout="100ms")
    handle.stop()
    try:
        with pytest.raises(StreameError, match="did not stop within"):
            handle.wait()
        for thread in threading.enumerate():
            if thread.name.startswith("streame"):
                thread.join(3.0)
                assert not thread.is_alive(), f"{thread.name} waits for room in the queue for ever"
    finally:
        drain(out, handle)


PROGRAM = textwrap.dedent("""
    import sys
    import polars as pl, streame as st

    class Endless(st.Source):
        bounded = False
        def schema(self):
            return pl.Schema({"n": pl.Int64()})
        def splits(self):
            return ["all"]
        def read(self, split, offset):
            for n in range(10**9):
                yield st.Chunk(pl.DataFrame({"n": [n]}), n + 1)
                if n == 1000:
                    print("running", flush=True)

    done = st.scan(Endless()).filter(pl.col("n") >= 0).sink_ndjson(sys.argv[1]).run()
    print("done", done.state, done.rows_in, done.rows_out, flush=True)
""")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_and_loses_nothing(number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(out)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "running\n"
        program.send_signal(number)
        word, state, rows_in, rows_out = program.stdout.readline().split()
        assert program.wait(HANG_S) == 0
    assert (word, state) == ("done", "finished")
    assert int(rows_in) == int(rows_out) > 1000
    assert pl.read_ndjson(out)["n"].to_list() == list(range(int(rows_in)))


def test_run_works_outside_the_main_thread_and_restores_signal_handlers() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    job = st.sink(st.scan(Numbers(10)), Gate(is_open=True))
    job.run()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    states: list[str] = []
    thread = threading.Thread(
        target=lambda: states.append(st.scan(Numbers(10)).sink_queue(queue.Queue()).run().state)
    )
    thread.start()
    thread.join(HANG_S)
    assert states == ["finished"]
