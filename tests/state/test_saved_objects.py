"""The states and timers of user functions, saved and shared out anew."""

from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest

from streame.core.group import NO_TIMER, Fired
from streame.state.keyed_objects import KeyedObjects
from tests.state.copies import Remaking, owned_by

KEYS = pl.Schema({"k": pl.String(), "l": pl.Int16()})
KINDS: tuple[Fired, ...] = ("time", "clock")


def keys_of(numbers: list[int]) -> pl.DataFrame:
    """A key for each number."""
    names = [None if number == 0 else str(number // 2) for number in numbers]
    return pl.DataFrame({"k": names, "l": [number % 2 for number in numbers]}, schema=KEYS)


def step(objects: KeyedObjects, numbers: list[int], now: int) -> list[Any]:
    """Take rows of some keys, each once, set and fire timers, and forget; what is heard of that, in any order."""
    heard: list[Any] = []
    for number, slot in zip(numbers, objects.slots(keys_of(numbers)).tolist(), strict=True):
        objects.saw(slot, now, now + number % 3)
        heard.append((number, objects.value(slot), *(objects.timer(kind, slot) for kind in KINDS)))
        what = (number * 31 + now) % 7
        objects.put(slot, None if what == 0 else b"" if what == 1 else f"{now} {number}".encode() * what)
        if what > 4:
            objects.set_timer(KINDS[what % 2], slot, now + number % 11)
    for kind in KINDS:
        fired = objects.take_due(kind, now)
        assert [at for at, _ in fired] == sorted(at for at, _ in fired)
        keys = objects.keys(np.array([slot for _, slot in fired], np.int64)).rows()
        heard += [(kind, at, key, objects.value(slot)) for (at, slot), key in zip(fired, keys, strict=True)]
    objects.expire(now)
    objects.compact()
    return sorted(map(repr, heard))


def drawn(random: np.random.Generator, count: int, among: int) -> list[list[int]]:
    """Numbers of keys for each step."""
    return [random.permutation(among)[: random.integers(0, among)].tolist() for _ in range(count)]


@pytest.mark.parametrize(("ttl", "among"), [(None, 30), (12, 30), (3, 4000)])
def test_what_is_restored_goes_on_as_it_was(ttl: int | None, among: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    make = partial(KeyedObjects, KEYS, ttl)
    kept, again, remaking = make(), make(), Remaking(make)
    for now, numbers in enumerate(drawn(random, 40 if among < 100 else 8, among)):
        if random.random() < 0.4:
            again = remaking.again(again)
        assert step(again, numbers, 4 * now) == step(kept, numbers, 4 * now), now
        assert again.size() == kept.size(), now
        assert again.expires == kept.expires
        assert [again.next_timer(kind) for kind in KINDS] == [kept.next_timer(kind) for kind in KINDS]


@pytest.mark.parametrize("ttl", [None, 12])
def test_keys_are_shared_out_anew(ttl: int | None, seed: int) -> None:
    random = np.random.default_rng(seed)
    make = partial(KeyedObjects, KEYS, ttl)
    whole, parts, width = make(), [make()], 1
    for now, numbers in enumerate(drawn(random, 30, 200)):
        if now % 8 == 7:
            old, width = [Remaking(make).again(part) for part in parts], [3, 2, 1][now // 8 % 3]
            parts = [make() for _ in range(width)]
            for place, part in enumerate(parts):
                for other in old:
                    part.absorb(other, owned_by(place, width))
        heard = []
        for place, part in enumerate(parts):
            mine = owned_by(place, width)(keys_of(numbers))
            heard += step(part, np.array(numbers, np.int64)[mine].tolist(), 4 * now)
        assert sorted(heard) == step(whole, numbers, 4 * now), now
        assert sum(part.size().rows for part in parts) == whole.size().rows
        for kind in KINDS:
            assert min(part.next_timer(kind) for part in parts) <= whole.next_timer(kind) <= NO_TIMER
