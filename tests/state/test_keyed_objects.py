"""Keyed objects against a dict: values, timers, what is forgotten, and that forgetting frees."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as hst

from streame.core.group import NO_TIMER, Fired
from streame.state.keyed_objects import KeyedObjects
from tests.examples import examples

KEYS = pl.Schema({"k": pl.Int64()})
TTL = 10

steps = hst.lists(
    hst.one_of(
        hst.tuples(hst.just("row"), hst.integers(0, 5), hst.binary(max_size=2)),
        hst.tuples(hst.just("drop"), hst.integers(0, 5), hst.none()),
        hst.tuples(hst.sampled_from(["time", "clock"]), hst.integers(0, 5), hst.integers(0, 30) | hst.none()),
        hst.tuples(hst.just("pass"), hst.integers(1, 8), hst.none()),
    ),
    max_size=40,
)


def key_of(objects: KeyedObjects, slot: int) -> int:
    """The key of a slot."""
    return int(objects.keys(np.array([slot]))["k"][0])


@given(steps)
@settings(max_examples=examples(200))
def test_as_a_dict_would_have_it(done: list[tuple[str, int, object]]) -> None:
    objects, now = KeyedObjects(KEYS, TTL), 0
    values: dict[int, bytes] = {}
    last: dict[int, int] = {}
    timers: dict[tuple[str, int], int] = {}
    for what, number, given_value in done:
        slot = int(objects.slots(pl.DataFrame({"k": [number]}))[0])
        match what, given_value:
            case "row", bytes(value):
                if last.get(number, now) + TTL <= now and not any(key == number for _, key in timers):
                    values.pop(number, None)
                objects.saw(slot, now, now)
                assert objects.value(slot) == values.get(number)
                objects.put(slot, value)
                values[number], last[number] = value, now
            case "drop", _:
                objects.put(slot, None)
                values.pop(number, None)
            case "time" | "clock" as kind, at:
                objects.set_timer(kind, slot, NO_TIMER if at is None else int(at))  # type: ignore[call-overload]
                timers.pop((kind, number), None)
                if at is not None:
                    timers[kind, number] = int(at)  # type: ignore[call-overload]
            case _:
                now += number
                due = sorted((at, key) for (kind, key), at in timers.items() if kind == "time" and at <= now)
                fired = objects.take_due("time", now)
                assert sorted((at, key_of(objects, slot)) for at, slot in fired) == due
                assert fired == sorted(fired)
                for _, key in due:
                    del timers["time", key]
                objects.expire(now)
                held = {key for _, key in timers}
                values = {
                    key: value
                    for key, value in values.items()
                    if last.get(key, -(2**62)) + TTL > now or key in held
                }
        assert objects.size().rows == len(values)
        clocks = [at for (kind, _), at in timers.items() if kind == "clock"]
        assert objects.next_timer("clock") <= min(clocks, default=NO_TIMER)


def test_forgotten_keys_are_freed() -> None:
    objects = KeyedObjects(KEYS, TTL)
    sizes = []
    for step in range(50):
        keys = pl.DataFrame({"k": range(step * 1_000, (step + 1) * 1_000)})
        for slot in objects.slots(keys).tolist():
            objects.saw(slot, step * TTL, step * TTL)
            objects.put(slot, b"a state of some size")
        objects.expire(step * TTL)
        objects.compact()
        sizes.append(objects.size())
    assert max(size.rows for size in sizes) == 1_000
    assert sizes[-1].bytes < 3 * sizes[2].bytes


def test_numbering_anew_loses_nothing() -> None:
    objects = KeyedObjects(KEYS, None)
    kinds: tuple[Fired, ...] = ("time", "clock")
    slots = objects.slots(pl.DataFrame({"k": range(5_000)}))
    for key in range(0, 5_000, 7):
        objects.put(int(slots[key]), str(key).encode())
    for key in range(0, 5_000, 11):
        objects.set_timer(kinds[key % 2], int(slots[key]), key)
    objects.compact()
    slots = objects.slots(pl.DataFrame({"k": range(5_000)}))
    for key, slot in enumerate(slots.tolist()):
        assert objects.value(slot) == (None if key % 7 else str(key).encode())
        for number, kind in enumerate(kinds):
            is_set = key % 11 == 0 and key % 2 == number
            assert objects.timer(kind, slot) == (key if is_set else NO_TIMER)
