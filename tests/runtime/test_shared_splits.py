"""Several readers of one source: who reads what, and that a position does not depend on who did."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as hst

import streame as st
from streame.api.job import write_job
from streame.core.clock import ManualClock
from streame.core.config import Config
from streame.core.messages import SplitStatus
from streame.plan.identity import plan_identity
from streame.plan.lower import lower
from streame.runtime.checkpointing import Durable
from streame.runtime.local import LocalRun
from streame.runtime.shared_splits import Share, merged
from streame.runtime.split_reader import SplitReader
from streame.testing.memory_checkpoints import MemoryCheckpoints
from tests.durability.world import Shelf, ShelfSink

NAMES = hst.lists(hst.text(max_size=4), unique=True, max_size=12)
READERS = hst.integers(1, 7)


def shares(readers: int) -> list[Share]:
    return [Share(number, readers) for number in range(readers)]


@given(NAMES, READERS)
def test_every_split_is_read_by_one(names: list[str], readers: int) -> None:
    read = [share.of(names) for share in shares(readers)]
    assert sorted(name for each in read for name in each) == sorted(names)
    for each in read:
        assert each == [name for name in names if name in each], "in their order"


def test_who_reads_a_split_never_changes() -> None:
    names = [f"data/part-{number}.ndjson" for number in range(8)]
    assert [share.of(names) for share in shares(3)] == [
        [names[number] for number in numbers] for numbers in [[1, 6], [2, 3, 5], [0, 4, 7]]
    ]


@given(NAMES, READERS, READERS, hst.data())
def test_a_position_is_the_same_whoever_reads(names: list[str], one: int, other: int, data: Any) -> None:
    kinds = [data.draw(hst.sampled_from(["new", "begun", "within", "read"])) for _ in names]
    begun = {name: [3, "x"] for name, kind in zip(names, kinds, strict=True) if kind in {"begun", "within"}}
    within = {name: [1, 0] for name, kind in zip(names, kinds, strict=True) if kind == "within"}
    read = sorted(name for name, kind in zip(names, kinds, strict=True) if kind == "read")
    splits = {"offsets": begun, "read": read, **({"within": within} if within else {})}
    position = {"done": False, "splits": splits}
    for readers in (one, other):
        position = merged([share.part(position) for share in shares(readers)])
        assert position == {"done": False, "splits": splits}


def test_a_source_has_ended_when_all_its_readers_have() -> None:
    ended: Any = {"done": True, "splits": {"offsets": {}, "read": []}}
    going: Any = {"done": False, "splits": {"offsets": {}, "read": []}}
    assert merged([ended, ended])["done"]
    assert not merged([ended, going])["done"]


class Names(st.Source):
    """Splits without rows."""

    bounded = True

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def schema(self) -> pl.Schema:
        return pl.Schema({"a": pl.Int64})

    def splits(self) -> Sequence[str]:
        return self.names

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        yield from ()


@pytest.mark.parametrize("read", [[], ["a"]])
def test_a_reader_that_has_nothing_to_read_says_so_for_who_waits(read: list[str]) -> None:
    reader = SplitReader("s", Names(["a"]), ManualClock(), (), lambda names: names if read else ())
    if read:
        reader.restore({"offsets": {}, "read": read})
    assert list(reader.round()) == [SplitStatus(("s", ""), "ended")]
    assert reader.ended


def lines(*values: int) -> str:
    return "".join(json.dumps({"a": value}) + "\n" for value in values)


def test_a_folder_that_grows_is_read_on_by_another_number_of_readers(tmp_path: Path) -> None:
    folder, store, shelf = tmp_path / "in", MemoryCheckpoints(), Shelf()
    folder.mkdir()
    stream = st.scan_ndjson(folder, {"a": pl.Int64}, follow=True)
    job = write_job(stream.node, lambda: ShelfSink(shelf), "out")
    writes = st.job([job]).writes
    value = 0
    for round_number, readers in enumerate((1, 4, 3, 1)):
        for number in range(6):
            with (folder / f"{round_number}-{number}.ndjson").open("w") as file:
                file.write(lines(value, value + 1))
            value += 2
        for number in range(6):
            with (folder / f"0-{number}.ndjson").open("a") as file:
                file.write(lines(value))
            value += 1
        config = Config(parallelism=readers, checkpoint_interval_us=20_000)
        graph = lower(writes, config, apart=True)
        assert [vertex.parallelism for vertex in graph.vertices.values()] == [readers, 1]
        run = LocalRun(graph, config, durable=Durable(store, plan_identity(writes), {}))
        run.start()
        began = monotonic()
        while len(shelf_rows(shelf)) < value and monotonic() - began < 20:
            run.wait(0.02)
        run.stop()
        assert run.wait(20)
        assert shelf_rows(shelf) == list(range(value))


def shelf_rows(shelf: Shelf) -> list[int]:
    return sorted(shelf.rows(pl.Schema({"a": pl.Int64}), folds=False)["a"].to_list())
