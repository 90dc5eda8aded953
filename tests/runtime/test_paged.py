"""Paged operators: when state leaves the memory, when rows are answered, and what becomes of files."""

import errno
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

import streame as st
from streame.core import disk_room
from streame.core.config import Config
from streame.core.sizes import size_bytes
from streame.errors import PlanError, StreameError
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.runtime.operators import paged
from streame.runtime.operators.paged import Memory, PagedOperator
from streame.runtime.paging import MemoryBudget
from streame.storage.scratch import Scratch, ScratchFile
from tests.runtime.recorder import OperatorBench

SCHEMA = {"k": pl.Int64, "at": pl.Int64}


class FullScratch(Scratch):
    """Scratch files on a disk that is full for some calls."""

    full = 0
    error = errno.ENOSPC

    def write(self, parts: Sequence[memoryview]) -> ScratchFile:
        if self.full:
            self.full -= 1
            raise OSError(self.error, "no space")
        return super().write(parts)


def bench(
    stream: st.StreamDataFrame, scratch: Scratch, limit: int = 1
) -> tuple[OperatorBench, PagedOperator]:
    """A bench with the last keyed operator of a stream."""
    graph = lower([Write(stream.node, st.Sink, "out")], Config(memory_limit=1))
    made = [vertex.make() for vertex in graph.operators()]
    keyed = [operator for operator in made if isinstance(operator, PagedOperator)][-1]
    operator = PagedOperator(keyed._make, keyed._keys, Memory(MemoryBudget(limit), scratch))
    return OperatorBench(operator), operator


def counted() -> st.StreamDataFrame:
    return st.scan_frames([], schema=SCHEMA).group_by("k").agg(n=pl.len())


def rows(*keys: int, at: int = 0) -> pl.DataFrame:
    return pl.DataFrame({"k": keys, "at": [at] * len(keys)}, SCHEMA)


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("streame-spill-*/*") if path.name != "in-use"]


def test_state_below_the_limit_stays_in_memory(tmp_path: Path) -> None:
    stepped, operator = bench(counted(), Scratch(tmp_path), 10**9)
    for _ in range(5):
        stepped.push(rows(*range(1000)))
    assert sum(batch.frame.height for batch in stepped.out.batches) == 9_000
    assert operator.state_size().disk_bytes == 0
    assert operator.state_size().rows == 1000
    assert not list(tmp_path.iterdir())


def test_rows_are_answered_within_a_second_or_before_a_barrier(tmp_path: Path) -> None:
    stepped, operator = bench(counted(), Scratch(tmp_path), 200_000)
    stepped.push(rows(*range(2_000)))
    assert len(files(tmp_path)) > 10
    stepped.out.batches.clear()
    stepped.push(rows(1, 1, 2))
    assert not stepped.out.batches
    due = stepped.timer_us
    assert due == stepped.clock.now_us() + paged.PUT_OFF_US
    stepped.advance(1)
    stepped.fire()
    assert sorted(stepped.out.rows) == [(1, 1, -1), (1, 3, 1), (2, 1, -1), (2, 2, 1)]
    assert not stepped.timer_us
    stepped.push(rows(5))
    operator.flush(stepped.out)
    assert sorted(stepped.out.rows)[-2:] == [(5, 1, -1), (5, 2, 1)]
    assert operator.state_size().rows == 2_000
    assert operator.state_size().disk_bytes > 0


def test_what_has_expired_has_no_file(tmp_path: Path) -> None:
    stream = st.scan_frames([], schema=SCHEMA, event_time="at", watermark="0i")
    windows = stream.group_by_dynamic("at", every="10i", group_by="k", emit="on_close").agg(n=pl.len())
    stepped, _ = bench(windows, Scratch(tmp_path))
    for start in (0, 10, 20):
        stepped.push(rows(*range(100), at=start))
        stepped.watermark(start + 5)
    stepped.advance(1)
    stepped.fire()
    assert len(stepped.out.rows) == 200
    assert files(tmp_path)
    stepped.watermark(30)
    stepped.advance(1)
    stepped.fire()
    assert len(stepped.out.rows) == 300
    assert not files(tmp_path)


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_room, "RETRY_S", 0.001)
    scratch = FullScratch(tmp_path)
    scratch.full = 3
    stepped, operator = bench(counted(), scratch)
    stepped.push(rows(*range(50)))
    assert scratch.full == 0
    assert operator.state_size().rows == 50
    assert operator.waits_for is None


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_disk_that_cannot_be_written_is_an_error(tmp_path: Path, interrupted: bool) -> None:
    scratch = FullScratch(tmp_path)
    scratch.full, scratch.error = 100, errno.ENOSPC if interrupted else errno.EIO
    stepped, operator = bench(counted(), scratch)
    if interrupted:
        operator.interrupt()
    with pytest.raises(StreameError, match="state beyond memory_limit could not be put aside"):
        stepped.push(rows(*range(50)))


def test_the_folder_goes_with_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("streame.core.config.MEMORY_LIMIT_MIN", 1)
    frames = [rows(*range(100)) for _ in range(3)]
    stream = st.scan_frames(frames, schema=SCHEMA, name="rows").group_by("k", emit="on_close").agg(n=pl.len())
    stream.sink_csv(tmp_path / "out.csv").run(memory_limit=1)
    assert pl.read_csv(tmp_path / "out.csv")["n"].to_list() == [3] * 100
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_rows_whose_order_counts_are_not_paged() -> None:
    stream = st.scan_frames([], schema=SCHEMA, event_time="at", watermark="0i").unique("k", keep="last")
    ordered = st.scan_frames([], schema=SCHEMA, name="other").join(stream.as_table("k"), on="k")
    graph = lower([Write(ordered.node, st.Sink, "out")], Config(memory_limit=1))
    made = {vertex.name: isinstance(vertex.make(), PagedOperator) for vertex in graph.operators()}
    assert not any(is_paged for name, is_paged in made.items() if name.startswith("unique"))
    assert any(made.values()), "the table itself is"


@pytest.mark.parametrize(
    ("text", "size"),
    [("84MB", 84_000_000), ("1.5 GB", 1_500_000_000), ("2MiB", 2_097_152), (17, 17), ("9", 9)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert size_bytes(text, "the limit") == size


@pytest.mark.parametrize("wrong", ["", "much", "-1MB", "1 mb", 0, True, None, 1.5])
def test_what_is_no_size(wrong: object) -> None:
    with pytest.raises(PlanError, match=r'the limit is .*such as "84MB"'):
        size_bytes(wrong, "the limit")


def test_the_memory_stays_within_the_limit() -> None:
    """In a process of its own; idle is what the same job takes with a few rows."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.runtime.updating", "500000", "60MB"],
        check=True,
        capture_output=True,
        text=True,
    )
    above_idle, disk, groups = map(int, found.stdout.split())
    assert groups == 500_000
    assert disk > 0, "the state must not fit into the memory"
    assert above_idle <= 1.2 * 60e6, above_idle
