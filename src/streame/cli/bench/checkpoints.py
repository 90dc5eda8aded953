"""What checkpoints cost: throughput with one every second, the pause of a large one, and how fast a job is back."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import streame as st
from streame.cli.bench.case import Bar, Case, Outcome, Side, Work
from streame.cli.bench.counting import CountingSink
from streame.cli.bench.groups import totals
from streame.cli.bench.orders import MANY_USERS, USERS
from streame.cli.bench.repeated import Repeated
from streame.cli.bench.windows import tumbling

STATE_GROUPS = 11_000_000
"""Groups of 96 bytes: about a gigabyte."""

BATCH_ROWS = 65_536
COLUMNS = ("a", "b", "c")
CHANGING = 0.05


def _job(plan: Callable[[st.StreamDataFrame], st.StreamDataFrame], users: int, *, checkpoints: bool) -> Side:
    """A job that is run with a checkpoint every second, or without any."""

    def prepare(rows: int, folder: Path) -> Work:
        source = Repeated(rows, users)
        sink = CountingSink("n")
        changes = plan is totals
        job = st.sink(plan(st.scan(source, name="orders", event_time="ts")), sink, changes=changes)
        settings: dict[str, Any] = {}
        # Only then: in a smoke run the other side has its checkpoints in the same folder at the same time.
        if checkpoints:
            settings = {"checkpoints": folder / "checkpoints", "checkpoint_interval": "1s"}
            shutil.rmtree(settings["checkpoints"], ignore_errors=True)

        def work() -> Outcome:
            status = job.run(**settings)
            return Outcome(source.rows, sink.tally.numbers, {"checkpoints": status.checkpoint or 0})

        return work

    return prepare


def state(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """Groups with ten values each, said at the end alone."""
    values = {
        f"{column}_{word}": getattr(pl.col(column), word)()
        for column in COLUMNS
        for word in ("sum", "min", "max")
    }
    return stream.group_by("k", emit="on_close").agg(n=pl.len(), **values)


class Groups(st.Source):
    """Rows that make a number of groups, then rows that change them, until it is told to end.

    Args:
        groups: how many groups there are.
        changing: the part of them that goes on changing.
    """

    bounded = True
    one_split = True

    def __init__(self, groups: int, changing: float) -> None:
        self._groups = groups
        self._changing = int(groups * changing)
        self._random = np.random.default_rng(0)
        self.gaps_s: list[float] = []
        self.ended = False
        self.filled = False

    def schema(self) -> pl.Schema:
        """A key and three numbers."""
        return pl.Schema({"k": pl.Int64(), **dict.fromkeys(COLUMNS, pl.Int64())})

    def splits(self) -> list[str]:
        """One."""
        return ["rows"]

    def read(self, split: str, offset: object) -> Iterator[st.Chunk]:
        """Batches; writes down how long each is worked on."""
        number = int(str(offset or 0))
        while not self.ended:
            start = number * BATCH_ROWS
            if start < self._groups:
                keys = np.arange(start, min(start + BATCH_ROWS, self._groups))
            else:
                self.filled = True
                keys = self._random.integers(0, self._changing, BATCH_ROWS)
            frame = pl.DataFrame({"k": keys, **dict.fromkeys(COLUMNS, keys + 1)})
            number += 1
            began = time.perf_counter()
            yield st.Chunk(frame, number)
            if self.filled:
                self.gaps_s.append(time.perf_counter() - began)

    @property
    def pause_ms(self) -> float:
        """The longest time that a batch has taken, without what it takes usually."""
        return 1e3 * (max(self.gaps_s) - float(np.median(self.gaps_s)))


def _pause(changing: float) -> Side:
    """The longest pause, over some checkpoints of a large state."""

    def prepare(rows: int, folder: Path) -> Work:
        source = Groups(rows, changing)
        job = st.sink(state(st.scan(source, name="rows")), CountingSink("n"))
        place = folder / "checkpoints"
        shutil.rmtree(place, ignore_errors=True)

        def work() -> Outcome:
            with job.start(checkpoints=place, checkpoint_interval="1s") as handle:
                first = _checkpoints(handle, lambda: source.filled, 2)
                source.gaps_s.clear()
                last = _checkpoints(handle, lambda: True, first + 4)
                pause_ms = source.pause_ms
                state_mb = sum(each.state_bytes for each in handle.metrics().values()) / 1e6
            shutil.rmtree(place)
            measures = {"pause_ms": pause_ms, "state_mb": state_mb, "checkpoints": float(last - first)}
            return Outcome(rows, dict, measures)

        return work

    return prepare


def _checkpoints(handle: st.JobHandle, ready: Callable[[], bool], more: int) -> int:
    """Wait until so many checkpoints have been made since something is ready; the number of the last."""
    since = None
    while True:
        handle.wait(timeout=0.02)
        if ready() and since is None:
            since = handle.status().checkpoint or 0
        if since is not None and (handle.status().checkpoint or 0) >= (
            more if more > since else since + more
        ):
            return handle.status().checkpoint or 0


def _kept(rows: int, folder: Path) -> None:
    """The checkpoints of a job with a large state, stopped once all of it is there."""
    source = Groups(rows, 1.0)
    job = st.sink(state(st.scan(source, name="rows")), CountingSink("n"), name="groups")
    with job.start(checkpoints=folder / "kept", checkpoint_interval="2s") as handle:
        _checkpoints(handle, lambda: source.filled, 1)


def _restart(rows: int, folder: Path) -> Work:
    """How long it takes from the start of a job to the first new row that it has worked on."""
    place = folder / "again"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "kept", place)
    source = Groups(rows, 1.0)
    job = st.sink(state(st.scan(source, name="rows")), CountingSink("n"), name="groups")

    def work() -> Outcome:
        began = time.perf_counter()
        with job.start(checkpoints=place, checkpoint_interval="1h") as handle:
            while not source.gaps_s:
                assert not handle.wait(timeout=0.005)
            restart_s = time.perf_counter() - began
        return Outcome(rows, dict, {"restart_s": restart_s})

    return work


def _pushed(rows: int, folder: Path) -> Work:
    """Rows that are given to a queue one by one, each of which lasts when the call returns."""
    queue = st.Queue()
    sink = CountingSink("n")
    job = st.sink(st.scan_queue(queue, {"n": pl.Int64}, name="pushed"), sink)
    place = folder / "checkpoints"
    shutil.rmtree(place, ignore_errors=True)

    def work() -> Outcome:
        seconds = []
        with job.start(checkpoints=place, checkpoint_interval="1s"):
            for number in range(rows):
                began = time.perf_counter()
                queue.put({"n": number})
                seconds.append(time.perf_counter() - began)
        p50, p99 = np.percentile(np.array(seconds[rows // 20 :]), [50, 99])
        return Outcome(rows, dict, {"put_p50_ms": 1e3 * float(p50), "put_p99_ms": 1e3 * float(p99)})

    return work


CASES = (
    Case(
        "checkpoints-windows",
        f"10 s windows of {USERS:,} users, with a checkpoint every second",
        streame=_job(tumbling, USERS, checkpoints=True),
        peer=_job(tumbling, USERS, checkpoints=False),
        peer_name="the same without checkpoints",
        rows=200_000_000,
        smoke_rows=1_000_000,
        bars=(Bar("ratio", 0.95),),
        rounds=5,
    ),
    Case(
        "checkpoints-groups-1m",
        f"totals of {MANY_USERS:,} users, all changing, with a checkpoint every second",
        streame=_job(totals, MANY_USERS, checkpoints=True),
        peer=_job(totals, MANY_USERS, checkpoints=False),
        peer_name="the same without checkpoints",
        rows=40_000_000,
        smoke_rows=1_000_000,
        bars=(Bar("ratio", 0.9),),
        rounds=3,
    ),
    Case(
        "checkpoints-pause",
        "the longest pause for checkpoints of a gigabyte, all of it changing",
        streame=_pause(1.0),
        rows=STATE_GROUPS,
        smoke_rows=300_000,
        bars=(Bar("pause_ms", 100, "at most"),),
        rounds=3,
    ),
    Case(
        "checkpoints-pause-few",
        "the longest pause for checkpoints of a gigabyte, a twentieth of it changing",
        streame=_pause(CHANGING),
        rows=STATE_GROUPS,
        smoke_rows=300_000,
        bars=(Bar("pause_ms", 20, "at most"),),
        rounds=3,
    ),
    Case(
        "checkpoints-restart",
        "from the start of a job with a gigabyte of state to its first new row",
        streame=_restart,
        files=_kept,
        rows=STATE_GROUPS,
        smoke_rows=300_000,
        bars=(Bar("restart_s", 3, "at most"),),
        rounds=3,
    ),
    Case(
        "durable-queue",
        "rows put into st.Queue one by one, each durable when the call returns",
        streame=_pushed,
        rows=5_000,
        smoke_rows=300,
        bars=(Bar("put_p99_ms", 5, "at most"),),
        rounds=3,
    ),
)
