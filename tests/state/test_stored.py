"""Stored states: what is put into files comes back, what has not changed stays where it is, and damage is found."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from streame.errors import StreameError
from streame.state.snapshot import InPlace, Savable, Shadow, take_snapshot
from streame.state.stored import StoredState, store
from streame.storage.scratch import Scratch
from tests.runtime.resuming import assert_same
from tests.state.copies import through_bytes


class Thing(Savable):
    """Something with parts of every kind."""

    SAVED = ("numbers", "table", "words", "few", "nothing")
    DERIVED = ("doubled",)
    HERE = ("doubled",)

    def __init__(self) -> None:
        self.numbers = np.arange(50_000)
        self.table = pl.DataFrame({"a": ["x", None, "z"], "b": [[1], [], None]})
        self.words = pl.Series("w", ["one"] * 20_000)
        self.few: Any = {"bytes": b"\x00\xff", "float": float("inf"), "grid": np.ones((2, 3), np.int8)}
        self.nothing = np.empty(0, np.float32)
        self.doubled = self.numbers * 2
        self.made_anew = 0

    def restored(self) -> None:
        self.doubled = self.numbers * 2
        self.made_anew += 1


@pytest.fixture
def scratch(tmp_path: Path) -> Any:
    made = Scratch(tmp_path)
    made.join()
    yield made
    made.leave()


def files(stored: StoredState) -> set[str]:
    return {stored.tree.file.path, *(part.extent.file.path for part in stored.parts)}


def test_everything_comes_back(scratch: Scratch) -> None:
    thing, other = Thing(), Thing()
    thing.few["float"] = -1.5
    thing.numbers[7] = 0
    other.restore(store(thing, scratch.write).load().values)
    assert_same(take_snapshot(other, Shadow()), take_snapshot(thing, Shadow()))
    assert other.made_anew == 0, "what is dear to make is kept within the process"
    np.testing.assert_array_equal(other.doubled, thing.doubled)
    other.numbers[0] = 1  # it may be written to


def test_what_another_process_restores_is_made_anew() -> None:
    thing, other = Thing(), Thing()
    snapshot = through_bytes(take_snapshot(thing, Shadow()))
    assert "doubled" not in snapshot.tree
    assert "doubled" in take_snapshot(thing, InPlace()).tree
    parts = {name: getattr(thing, name) for name in Thing.SAVED}
    other.restore(parts)
    assert other.made_anew == 1


def test_what_has_not_changed_is_not_written_again(scratch: Scratch) -> None:
    thing = Thing()
    first = store(thing, scratch.write)
    loaded = first.load()
    thing.restore(loaded.values)
    assert store(thing, scratch.write, loaded) is first
    thing.numbers[3] = -1
    second = store(thing, scratch.write, loaded)
    assert files(first) < files(second), "the words and the doubled numbers stay where they are"
    assert second.nbytes < 2 * first.nbytes
    versions = {part.path: part.version for part in first.parts}
    changed = {part.path for part in second.parts if part.version != versions[part.path]}
    assert changed == {"/numbers"}


def test_a_file_of_which_little_is_left_is_given_up(scratch: Scratch) -> None:
    thing = Thing()
    first = store(thing, scratch.write)
    loaded = first.load()
    thing.restore(loaded.values)
    thing.numbers[3] = thing.doubled[3] = -1
    second = store(thing, scratch.write, loaded)
    assert not files(first) & files(second)
    other = Thing()
    other.restore(second.load().values)
    assert_same(take_snapshot(other, Shadow()), take_snapshot(thing, Shadow()))


def test_it_is_part_of_a_snapshot_without_being_read(scratch: Scratch) -> None:
    thing, other = Thing(), Thing()
    thing.numbers[3] = -1
    apart = store(thing, scratch.write).apart()
    assert not any(isinstance(apart.leaf(number), np.ndarray) for number in range(3))
    other.restore(apart.values())
    assert_same(take_snapshot(other, Shadow()), take_snapshot(thing, Shadow()))


@pytest.mark.parametrize("how", ["flipped", "cut off"])
def test_damage_is_found(scratch: Scratch, how: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    stored = store(Thing(), scratch.write)
    path = Path(stored.tree.file.path)
    whole = path.read_bytes()
    for place in random.integers(0, len(whole), 25).tolist():
        if how == "cut off":
            path.write_bytes(whole[:place])
        else:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StreameError, match="are not the ones that were put aside"):
            stored.load()
