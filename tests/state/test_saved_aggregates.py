"""Snapshots of aggregations: what is taken to be unchanged is unchanged, and little is copied where little changes."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import split_aggregates
from streame.core.expressions import parse_exprs
from streame.state import snapshot as snapshots
from streame.state.aggregates import AggregateState, touched, user
from streame.state.snapshot import Shadow, Snapshot, loaded, restore_snapshot, take_snapshot
from tests.core.aggregate_table import KEPT, SCHEMA, SPLIT
from tests.core.aggregate_values import rows
from tests.examples import examples
from tests.runtime.resuming import assert_same, copied
from tests.runtime.streams import Numbers
from tests.state.copies import through_bytes

CHUNK = 4
GROUPS = 40
TABLE = {**SPLIT, **KEPT}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few groups are many chunks, and a few rows are many."""
    monkeypatch.setattr(snapshots, "CHUNK_ROWS", CHUNK)
    monkeypatch.setattr(touched, "CHUNK_ROWS", CHUNK)
    monkeypatch.setattr(user, "CHUNK_ROWS", CHUNK)
    monkeypatch.setattr(touched, "_BITS", CHUNK.bit_length() - 1)
    monkeypatch.setattr(touched, "_FEW_ROWS", 3)


class Kept:
    """The last snapshot as a store has it: chunks that have not changed are those that it has already."""

    def __init__(self) -> None:
        self.shadow = Shadow()
        self.arrays: dict[str, Any] = {}

    def take(self, state: AggregateState) -> None:
        """Take a snapshot; what it says of its chunks is compared with the last one."""
        snapshot = take_snapshot(state, self.shadow)
        assert_same(snapshot, take_snapshot(state, Shadow()))
        before, self.arrays = self.arrays, {}
        for leaf in snapshot.leaves:
            if not isinstance(leaf.data, np.ndarray):
                continue
            self.arrays[leaf.path] = leaf.data.copy()
            if leaf.changed is None:
                continue
            assert len(leaf.changed) >= -(-len(leaf.data) // CHUNK)
            for chunk in np.flatnonzero(~leaf.changed).tolist():
                part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
                np.testing.assert_array_equal(leaf.data[part], before[leaf.path][part], leaf.path)


@settings(max_examples=examples(48))
@given(st.data())
def test_what_has_changed_is_copied_and_nothing_lives_outside(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(TABLE)), min_size=1, max_size=4))
    exprs = [TABLE[name].alias(f"result {number}") for number, name in enumerate(names)]
    own = [Numbers("i").alias("own")] if data.draw(st.booleans(), label="own") else []
    retractable = data.draw(st.booleans(), label="retractable")
    parsed = parse_aggregates([*exprs, *own], {}, SCHEMA, (), where="agg")
    wanted = split_aggregates(parsed, SCHEMA, where="agg", taken_back=retractable)

    def make() -> AggregateState:
        return AggregateState(wanted, retractable=retractable)

    frame = data.draw(rows({"i", *(name for expr in exprs for name in expr.meta.root_names())}))
    times = np.arange(frame.height)

    def prepared(where: Any) -> pl.DataFrame:
        return wanted.prepare(frame[where], pl.Series("t", times[where]))

    state, kept = make(), Kept()
    there: list[tuple[int, int]] = []
    groups = st.integers(0, GROUPS - 1)
    for _ in range(data.draw(st.integers(1, 10))):
        match data.draw(
            st.sampled_from(["add", "add", "take back", "absorb", "merge", "ask", "save", "save", "restore"])
        ):
            case "add" if frame.height:
                which = data.draw(
                    st.lists(st.integers(0, frame.height - 1), min_size=1, max_size=6, unique=True)
                )
                to = data.draw(st.lists(groups, min_size=len(which), max_size=len(which)))
                there += zip(which, to, strict=True)
                state.add(np.array(to), prepared(which), np.ones(len(to), np.int64) if retractable else None)
            case "take back" if there and retractable:
                row, group = there.pop(data.draw(st.integers(0, len(there) - 1)))
                state.add(np.array([group]), prepared([row]), np.array([-1]))
            case "absorb" | "merge" as how if frame.height:
                other, group = make(), data.draw(groups)
                other.add(np.array([1]), prepared([0]))
                there.append((0, group))
                if how == "merge" and other.has_partials:
                    state.add_partials(np.array([group]), other.partials(np.array([1])))
                else:
                    state.absorb(other, np.array([-1, group]))
            case "ask":
                state.results(np.array(data.draw(st.lists(groups, min_size=1, max_size=5))))
            case "save":
                kept.take(state)
            case "restore":
                before = state.results(np.arange(GROUPS))
                state, kept = copied(make, state), Kept()
                assert state.results(np.arange(GROUPS)).equals(before)
    kept.take(state)


def test_little_is_copied_where_little_changes() -> None:
    exprs = [
        pl.col("i").sum(),
        pl.col("f").var(),
        pl.col("f").max().alias("most"),
        pl.col("i").last().alias("last"),
    ]
    wanted = split_aggregates(parse_exprs(exprs, {}, SCHEMA, where="agg"), SCHEMA, where="agg")
    state, shadow = AggregateState(wanted), Shadow()

    def add(groups: range) -> None:
        frame = pl.DataFrame({"i": groups, "f": groups}, {"i": pl.Int64, "f": pl.Float64})
        state.add(np.array(groups), wanted.prepare(frame, frame["i"]))

    def changed(snapshot: Snapshot) -> set[tuple[int, ...]]:
        hints = [leaf.changed for leaf in snapshot.leaves if len(loaded(leaf.data)) == GROUPS]
        assert len(hints) >= 9
        assert all(each is not None for each in hints)
        return {tuple(np.flatnonzero(each).tolist()) for each in hints if each is not None}

    add(range(GROUPS - 1))
    take_snapshot(state, shadow)
    add(range(9, 13))
    add(range(GROUPS - 1, GROUPS))
    assert changed(take_snapshot(state, shadow)) == {(2, 3, 9)}
    assert changed(take_snapshot(state, shadow)) == {()}
    add(range(2, 4))
    snapshot = take_snapshot(state, shadow)
    assert changed(snapshot) == {(0,)}
    again = AggregateState(wanted)
    restore_snapshot(again, through_bytes(snapshot))
    assert changed(take_snapshot(again, shadow)) == {tuple(range(10))}, (
        "nobody knows what it was compared with"
    )
