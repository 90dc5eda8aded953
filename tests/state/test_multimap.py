"""The multimap and the rows kept by it, against lists: what is found, what goes, what memory is freed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.core.messages import BATCH_ROWS_MAX
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Ticks
from streame.state.index import Slots
from streame.state.keyed_rows import KeyedRows
from streame.state.multimap import Matches, MultiMap
from tests.examples import examples

TIMES = st.sampled_from([WATERMARK_MIN, -(2**62), -3, -1, 0, 1, 2, 3, 2**40, 2**62, WATERMARK_MAX])
SLOTS = st.sampled_from([0, 1, 2, 5, 2**31 - 1])
ROWS = st.lists(st.tuples(SLOTS, TIMES), max_size=8)
PROBES = st.lists(st.tuples(st.one_of(st.just(-1), SLOTS), TIMES, TIMES), max_size=8)


def slots_of(slots: Sequence[int]) -> Slots:
    return np.array(slots, np.int32)


def times_of(times: Sequence[int]) -> Ticks:
    return np.array(times, np.int64)


def pairs_of(found: Matches) -> list[tuple[int, int]]:
    return sorted(pair for probes, rows in found for pair in zip(probes.tolist(), rows.tolist(), strict=True))


def asked(rows: MultiMap | KeyedRows, probes: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    slots, lower, upper = ([probe[part] for probe in probes] for part in range(3))
    return pairs_of(rows.find(slots_of(slots), times_of(lower), times_of(upper)))


@settings(max_examples=examples(300))
@given(st.lists(ROWS, max_size=8), PROBES, st.data())
def test_what_is_found(batches: list[list[tuple[int, int]]], probes: list[Any], data: st.DataObject) -> None:
    found, model = MultiMap(), list[tuple[int, int]]()
    for batch in batches:
        slots, times = ([row[part] for row in batch] for part in range(2))
        found.add(slots_of(slots), times_of(times), len(model))
        model += batch
    expected = [
        (probe, row)
        for probe, (slot, lower, upper) in enumerate(probes)
        for row, (other, time) in enumerate(model)
        if slot == other and lower <= time <= upper
    ]
    assert asked(found, probes) == expected
    kept = data.draw(st.lists(st.booleans(), min_size=len(model), max_size=len(model)))
    numbers = np.where(kept, np.cumsum(kept) - 1, -1) if kept else np.empty(0, np.int64)
    found.keep(numbers)
    assert asked(found, probes) == [(probe, int(numbers[row])) for probe, row in expected if kept[row]]


def test_matches_come_in_pieces_and_as_often_as_they_are_asked_for() -> None:
    found = MultiMap()
    found.add(slots_of([7] * 50_000), times_of(range(50_000)), 0)
    found.add(slots_of([7] * 1_000), times_of(range(1_000)), 50_000)
    matches = found.find(slots_of([7, 7, 8, 7]), times_of([0, 0, 0, 10]), times_of([49_999, 49_999, 0, 19]))
    for _ in range(2):
        pieces = list(matches)
        assert max(len(rows) for _, rows in pieces) <= BATCH_ROWS_MAX
        probes = np.concatenate([each for each, _ in pieces])
        rows = np.concatenate([each for _, each in pieces])
        assert np.bincount(probes).tolist() == [51_000, 51_000, 0, 20]
        assert np.array_equal(np.sort(rows[probes == 0]), np.arange(51_000))
        assert np.array_equal(np.sort(rows[probes == 3]), np.r_[10:20, 50_010:50_020])


def test_slots_and_times_that_do_not_fit_into_one_word() -> None:
    found = MultiMap()
    times = [0, 1, 2**62, 2**62 + 1]
    found.add(slots_of([2**31 - 1] * 4), times_of(times), 0)
    for row, time in enumerate(times):
        assert asked(found, [(2**31 - 1, time, time)]) == [(0, row)]
        assert asked(found, [(2**30, time, time)]) == []


SCHEMA = pl.Schema({"n": pl.Int64(), "text": pl.String()})


def rows_of(numbers: Sequence[int]) -> pl.DataFrame:
    return pl.DataFrame({"n": numbers, "text": [f"row {n % 3}" for n in numbers]}, schema=SCHEMA)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=6)),
        st.tuples(st.just("find"), st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 9)), max_size=4)),
        st.tuples(st.just("remove"), st.integers(0, 5)),
        st.tuples(st.just("expire"), st.integers(0, 12)),
        st.tuples(st.just("settle"), st.just(0)),
        st.tuples(st.just("move"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=examples(200))
@given(STEPS, st.integers(0, 4), st.booleans())
def test_kept_rows_are_like_a_list(steps: list[tuple[str, Any]], life: int, mortal: bool) -> None:
    kept = KeyedRows(SCHEMA, by_content=True, by_time=True)
    model: dict[int, tuple[int, int]] = {}
    count, shift = 0, 0
    for word, argument in steps:
        match word:
            case "add":
                slots, times = (
                    [row[part] + (shift if part == 0 else 0) for row in argument] for part in range(2)
                )
                deadlines = times_of(times) + life if mortal else None
                kept.add(
                    slots_of(slots), times_of(times), rows_of(range(count, count + len(slots))), deadlines
                )
                model |= {count + place: row for place, row in enumerate(argument)}
                count += len(argument)
            case "find":
                slots = [-1 if slot < 0 else slot + shift for slot, _ in argument]
                times = [time for _, time in argument]
                found = kept.find(slots_of(slots), times_of(times) - 1, times_of(times) + 1)
                numbers = [
                    (probe, kept.gather(rows)["n"].to_list()[0])
                    for probes, all_rows in found
                    for probe, rows in zip(probes.tolist(), all_rows.reshape(-1, 1), strict=True)
                ]
                assert sorted(numbers) == [
                    (probe, n)
                    for probe, (slot, time) in enumerate(argument)
                    for n, row in model.items()
                    if row[0] == slot and abs(row[1] - time) <= 1
                ]
            case "remove":
                live = kept.numbers()[argument:][:2]
                for n in kept.gather(live)["n"]:
                    del model[n]
                kept.remove(live)
            case "expire":
                over = kept.gather(kept.expire(argument))["n"].to_list()
                expected = [n for n, row in model.items() if mortal and row[1] + life < argument]
                assert sorted(over) == expected
                model = {n: row for n, row in model.items() if n not in expected}
            case "settle":
                kept.settle()
            case _:
                kept.move(slots_of([slot + 1 for slot in range(4 + shift)]))
                shift += 1
        assert len(kept) == kept.size.rows == len(model)
        assert kept.gather(kept.numbers())["n"].to_list() == list(model)
        assert sorted(kept.live_slots().tolist()) == sorted({slot + shift for slot, _ in model.values()})
        assert kept.least_time == min((time for _, time in model.values()), default=None)
        ends = [time + life for _, time in model.values() if mortal]
        assert kept.least_deadline == min(ends, default=None)
        _check_content(kept, model, shift)


def _check_content(kept: KeyedRows, model: dict[int, tuple[int, int]], shift: int) -> None:
    """Every row is found by what it holds, and one that holds something else is not."""
    slots = slots_of([slot + shift for slot, _ in model.values()])
    times = times_of([time for _, time in model.values()])
    located = kept.locate(slots, times, rows_of(list(model)))
    assert kept.gather(located)["n"].to_list() == list(model)
    for others in (
        kept.locate(slots, times, rows_of([-1] * len(model))),
        kept.locate(slots, times + 1, rows_of(list(model))),
    ):
        assert (others == -1).all()


@pytest.mark.parametrize("deadline", [None, 0])
def test_memory_is_freed(deadline: int | None) -> None:
    kept = KeyedRows(SCHEMA)
    sizes = []
    for start in range(0, 200_000, 2_000):
        numbers = np.arange(start, start + 2_000)
        slots, times = (numbers % 100).astype(np.int32), numbers.astype(np.int64)
        added = kept.add(slots, times, rows_of(numbers.tolist()), None if deadline is None else times)
        if deadline is None:
            kept.remove(added[:-1])
        else:
            kept.expire(start)
        kept.settle()
        sizes.append(kept.size.bytes)
    assert len(kept) == (100 if deadline is None else 2_000)
    assert max(sizes) < 1_500_000
