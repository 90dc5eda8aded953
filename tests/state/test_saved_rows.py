"""What is saved of stores of rows goes on as if nothing had happened, and can be shared out among others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from streame.core.positions import POSITION_DTYPE
from streame.core.ranking import Ranking
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN
from streame.state.best_rows import BestRows
from streame.state.index import KeyIndex
from streame.state.keyed_rows import KeyedRows
from streame.state.latest import LatestRows
from streame.state.ranked_rows import RankedRows
from streame.state.recent import RecentRows
from streame.state.seen import SeenKeys
from streame.state.shared_keys import SharedKeys
from streame.state.snapshot import Savable
from streame.state.table import Table
from streame.state.waiting import WaitingRows
from tests.state.copies import Remaking, owned_by

KEYS = pl.Schema({"k": pl.String(), "l": pl.Int32()})
ROWS = pl.Schema({"k": pl.String(), "n": pl.Int64(), "x": pl.List(pl.String()), "c": pl.Categorical()})
Random = np.random.Generator
Heard = list[Any]


def keys_of(random: Random, count: int, among: int = 40) -> pl.DataFrame:
    """Keys, some of them null."""
    names = [None if n == 0 else f"key {n}" for n in random.integers(0, among, count).tolist()]
    return pl.DataFrame({"k": names, "l": random.integers(0, 2, count)}, schema=KEYS)


def rows_of(random: Random, keys: pl.DataFrame) -> pl.DataFrame:
    """Rows with texts, lists and nulls."""
    count = keys.height
    texts = [None if n == 0 else [f"text {n}" * n] * (n % 3) for n in random.integers(0, 9, count).tolist()]
    values = {"n": random.integers(0, 10_000, count), "x": texts, "c": random.choice(["a", "b"], count)}
    return pl.DataFrame({"k": keys["k"], **values}, schema=ROWS)


class Store(Savable):
    """Something that is stepped at random, and says what it does.

    Its keys are shared out with `absorb`; what it says is the same in whatever order of its keys, if sorted.
    """

    def step(self, random: Random, keys: pl.DataFrame, rows: pl.DataFrame, time: int) -> Heard:
        """Take rows, ask for some and forget some. Those that say something go into the answer."""
        raise NotImplementedError

    def absorb(self, other: Any, mine: Any) -> None:
        """Take what is owned here."""
        raise NotImplementedError


def said(rows: pl.DataFrame) -> Heard:
    """Rows as texts, which can be sorted."""
    return sorted(map(repr, rows.rows()))


class Keyed(Store):
    """`KeyedRows` with keys of their own."""

    SAVED = ("rows", "keys")

    def __init__(self) -> None:
        self.rows = KeyedRows(ROWS, by_content=True, by_time=True)
        self.keys = SharedKeys(KEYS, [self.rows])

    def step(self, random: Random, keys: pl.DataFrame, rows: pl.DataFrame, time: int) -> Heard:
        """Add, find, locate, reweigh, remove and expire."""
        rows = rows.with_columns(pl.col("n") % 3, x=pl.lit([], ROWS["x"]))
        first = rows.drop("x").with_columns(l=keys["l"]).to_struct().is_first_distinct()
        keys, rows = keys.filter(first), rows.filter(first)
        hashes = rows["n"].to_numpy()
        slots, times = self.keys.slots(keys), time // 50 * 50 + hashes
        numbers = self.rows.locate(slots, times, rows)
        known = np.unique(numbers[numbers >= 0])
        self.rows.reweigh(known, np.where(self.rows.weights[known] > 1, -1, 1))
        new = numbers < 0
        ends = np.where(hashes % 5 == 0, WATERMARK_MAX, times + hashes % 11)[new]
        added = self.rows.add(slots[new], times[new], rows.filter(pl.Series(new)), ends, hashes[new] % 3 + 1)
        self.rows.matches[added] = hashes[new]
        found: Heard = []
        for probes, others in self.rows.find(slots, times - 8, times + 2):
            parts = (keys[probes].rows(), self.rows.gather(others).rows())
            counts = (self.rows.weights[others].tolist(), self.rows.matches[others].tolist())
            found += zip(*parts, *counts, strict=True)
        some = keys["k"].str.ends_with("7").fill_null(value=False).to_numpy()
        gone = self.rows.find(slots[some], times[some], times[some])
        self.rows.remove(np.unique(np.concatenate([np.empty(0, np.int64), *(each for _, each in gone)])))
        over = said(self.rows.gather(self.rows.expire(time - 40)))
        least = self.rows.least_time, self.rows.least_deadline, len(self.rows)
        self.keys.settle()
        return [sorted(map(repr, found)), over, least]

    def absorb(self, other: Any, mine: Any) -> None:
        """Take what is owned here."""
        self.keys.absorb(other.keys, mine)


class Latest(Store):
    """`LatestRows` beside another store with the same keys."""

    SAVED = ("rows", "others", "keys")

    def __init__(self) -> None:
        self.rows, self.others = LatestRows(ROWS), LatestRows(ROWS)
        self.keys = SharedKeys(KEYS, [self.rows, self.others])

    def step(self, random: Random, keys: pl.DataFrame, rows: pl.DataFrame, time: int) -> Heard:
        """Put, look up, remove and expire."""
        slots = self.keys.slots(keys)
        self.rows.put(slots, rows, time + rows["n"].to_numpy() % 9)
        numbers, times = self.rows.lookup(slots)
        heard: Heard = [said(self.rows.gather(numbers)), sorted(times.tolist()), len(self.rows)]
        numbers, _ = self.others.lookup(slots)
        heard += [said(self.others.gather(numbers)), len(self.others)]
        some = keys["l"] == 1
        self.others.put(slots[some.to_numpy()], rows.filter(some))
        self.rows.remove(np.unique(slots[rows["n"].to_numpy() % 4 == 0]))
        self.keys.settle()
        return heard

    def absorb(self, other: Any, mine: Any) -> None:
        """Take what is owned here."""
        self.keys.absorb(other.keys, mine)


class Tabled(Store):
    """`Table`."""

    SAVED = ("table",)

    def __init__(self) -> None:
        self.table = Table(KEYS, ROWS)

    def step(self, random: Random, keys: pl.DataFrame, rows: pl.DataFrame, time: int) -> Heard:
        """Change and look up."""
        self.table.upsert(keys, rows)
        found = self.table.gather(self.table.lookup(keys))
        back = rows["n"].to_numpy() % 3 == 0
        self.table.change(keys, found, np.where(back, -1, 1))
        return [said(found), said(self.table.gather(self.table.lookup(keys))), len(self.table)]

    def absorb(self, other: Any, mine: Any) -> None:
        """Take what is owned here."""
        self.table.absorb(other.table, mine)


class Waiting(Store):
    """`WaitingRows`."""

    SAVED = ("rows",)

    def __init__(self) -> None:
        self.rows = WaitingRows(KEYS, ROWS)

    def step(self, random: Random, keys: pl.DataFrame, rows: pl.DataFrame, time: int) -> Heard:
        """Add, take and expire."""
        taken, met = self.rows.take(keys.filter(rows["n"] % 3 == 0))
        times = time + rows["n"].to_numpy() % 13
        self.rows.add(keys, rows, times + 20, times)
        over = self.rows.expire(time)
        return [said(taken), len(met), said(over), self.rows.least_time, self.rows.least_deadline]

    def absorb(self, other: Any, mine: Any) -> None:
        """Take what is owned here."""
        self.rows.absorb(other.rows, mine)


class Recent(Store):
    """`RecentRows`."""

    SAVED = ("rows", "keys")

    def __init__(self) -> None:
        self.rows = RecentRows()
        self.keys = SharedKeys(KEYS, [self.rows])

    def step(self, random: Random, keys: pl.DataFrame, rows: pl.DataFrame, time: int) -> Heard:
        """Add, find, and forget."""
        order = np.argsort(rows["n"].to_numpy() % 9)
        keys, rows = keys[order], rows[order]
        slots = self.keys.slots(keys)
        self.rows.add(slots, time + rows["n"].to_numpy() % 9, rows)
        lower = np.full(len(slots), time - 15)
        found: Heard = []
        for _, numbers in self.rows.find(slots, lower, np.full(len(slots), WATERMARK_MAX)):
            found += map(repr, self.rows.gather(numbers).rows())
            found += map(repr, self.rows.times(numbers).tolist())
        between = self.rows.between(time - 10, time + 1)
        heard = [
            sorted(found),
            said(self.rows.gather(between)),
            said(self.keys.keys(self.rows.slots(between))),
        ]
        assert (np.diff(self.rows.times(between)) >= 0).all()
        self.rows.forget(time - 15)
        self.keys.settle()
        return [*heard, self.rows.size.rows]

    def absorb(self, other: Any, mine: Any) -> None:
        """Take what is owned here."""
        self.keys.absorb(other.keys, mine)


class Seen(Store):
    """`SeenKeys`, for ever and for a time."""

    SAVED = ("ever", "now", "ever_keys", "now_keys")

    def __init__(self) -> None:
        self.ever, self.now = SeenKeys(None), SeenKeys(30)
        self.ever_keys, self.now_keys = SharedKeys(KEYS, [self.ever]), SharedKeys(KEYS, [self.now])

    def step(self, random: Random, keys: pl.DataFrame, rows: pl.DataFrame, time: int) -> Heard:
        """Take and forget."""
        times = np.full(rows.height, time)
        ever = self.ever.take(self.ever_keys.slots(keys), None)
        now = self.now.take(self.now_keys.slots(keys), times)
        self.now.forget(time)
        self.ever_keys.settle()
        self.now_keys.settle()
        return [said(keys.filter(pl.Series(ever))), said(keys.filter(pl.Series(now)))]

    def absorb(self, other: Any, mine: Any) -> None:
        """Take what is owned here."""
        self.ever_keys.absorb(other.ever_keys, mine)
        self.now_keys.absorb(other.now_keys, mine)


RANKING = Ranking(("n",), (False,), None)
SETTLED = Ranking(("n",), (False,), None, ("k", "n"))
RANKED = pl.Schema({"k": pl.String(), "l": pl.Int32(), "n": pl.Int64()})


class Best(Store):
    """`BestRows`, with positions."""

    SAVED = ("rows", "index")

    def __init__(self) -> None:
        self.rows = BestRows(pl.Schema({**ROWS, "__position": POSITION_DTYPE}), RANKING, 7)
        self.index = KeyIndex(KEYS)

    def step(self, random: Random, keys: pl.DataFrame, rows: pl.DataFrame, time: int) -> Heard:
        """Take rows."""
        position = pl.struct(source=pl.lit("s"), split=pl.lit(""), offset=pl.col("n") * 1000 + time)
        slots = self.index.slots(keys)
        gone, entered = self.rows.update(slots, rows.with_columns(__position=position), len(self.index))
        return [said(gone), said(entered), len(self.rows)]

    def absorb(self, other: Any, mine: Any) -> None:
        """Take what is owned here."""
        self.rows.absorb(other.rows, self.index.absorb(other.index, mine))


class Ranked(Store):
    """`RankedRows`."""

    SAVED = ("rows", "index")

    def __init__(self) -> None:
        self.rows = RankedRows(RANKED, SETTLED, 3)
        self.index = KeyIndex(KEYS)

    def step(self, random: Random, keys: pl.DataFrame, rows: pl.DataFrame, time: int) -> Heard:
        """Take rows, and take some back."""
        number = rows["n"].to_numpy() % 50
        mine = keys.with_columns(n=pl.Series(number))
        slots = self.index.slots(keys)
        gone, entered = self.rows.update(slots, mine, np.where(number % 2, 1, -1), len(self.index))
        return [said(gone), said(entered), len(self.rows)]

    def absorb(self, other: Any, mine: Any) -> None:
        """Take what is owned here."""
        self.rows.absorb(other.rows, self.index.absorb(other.index, mine))


STORES = [Keyed, Latest, Tabled, Waiting, Recent, Seen, Best, Ranked]


def batches(
    random: Random, count: int, rows: int, among: int = 40
) -> list[tuple[pl.DataFrame, pl.DataFrame, int]]:
    """Keys, rows and a time each."""
    made = []
    for time in range(0, 10 * count, 10):
        keys = keys_of(random, int(random.integers(0, rows)), among)
        made.append((keys, rows_of(random, keys), time))
    return made


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize(("count", "rows", "among"), [(25, 12, 40), (12, 600, 40), (8, 4000, 1_000_000)])
def test_a_store_that_is_restored_goes_on_as_it_was(
    kind: Callable[[], Store], count: int, rows: int, among: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    kept, again, remaking = kind(), kind(), Remaking(kind)
    for number, (keys, frame, time) in enumerate(batches(random, count, rows, among)):
        if random.random() < 0.4:
            again = remaking.again(again)
        assert again.step(random, keys, frame, time) == kept.step(random, keys, frame, time), number


def test_the_shadow_of_a_store_forgets_what_is_gone() -> None:
    random = np.random.default_rng(0)
    kept, remaking = Keyed(), Remaking(Keyed)
    for keys, frame, time in batches(random, 3, 500):
        kept.step(random, keys, frame, time)
        kept = remaking.again(kept)
    kept.rows.clear()
    kept = remaking.again(kept)
    assert len(kept.rows) == 0
    assert kept.rows.least_time is None
    assert (
        kept.rows.find(np.zeros(1, np.int32), np.full(1, WATERMARK_MIN), np.full(1, WATERMARK_MAX)).most == 0
    )


def flat(heard: list[Heard]) -> Heard:
    """What several instances say, as one would."""
    if not heard:
        return []
    joined: Heard = []
    for parts in zip(*heard, strict=True):
        match parts[0]:
            case list():
                joined.append(sorted(each for part in parts for each in part))
            case tuple():
                joined.append(flat([list(part) for part in parts]))
            case _:
                numbers = [part for part in parts if part is not None]
                joined.append(numbers)
    return joined


@pytest.mark.parametrize("kind", STORES)
def test_keys_are_shared_out_anew(kind: Callable[[], Store], seed: int) -> None:
    random = np.random.default_rng(seed)
    whole = kind()
    stores, width = [kind()], 1
    for number, (keys, frame, time) in enumerate(batches(random, 24, 300)):
        if number % 6 == 5:
            old, width = [Remaking(kind).again(store) for store in stores], [3, 2, 1][number // 6 % 3]
            stores = [kind() for _ in range(width)]
            for place, store in enumerate(stores):
                for other in old:
                    store.absorb(other, owned_by(place, width))
        heard = []
        for place, store in enumerate(stores):
            mine = pl.Series(owned_by(place, width)(keys))
            heard.append(store.step(random, keys.filter(mine), frame.filter(mine), time))
        alone = whole.step(random, keys, frame, time)
        _assert_same(flat(heard), alone, number)


def _assert_same(together: Heard, alone: Heard, number: int) -> None:
    """What instances say together is what one says; of numbers the sum, of times the least."""
    for parts, one in zip(together, alone, strict=True):
        match one:
            case list():
                assert parts == sorted(one), number
            case tuple():
                _assert_same(parts, list(one), number)
            case None:
                assert parts == [], number
            case _:
                assert one in {sum(parts), min(parts, default=None)}, (number, parts, one)
