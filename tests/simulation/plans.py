"""The jobs that are simulated, with what each must publish."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import polars as pl

import streame as st
from streame.api.job import Job, write_job
from streame.testing.simulation.ends import Feed, Row, Split
from streame.testing.simulation.oracle import Offsets
from streame.testing.simulation.world import JOB, Plan, World

KEYS = ("ann", "bob", "cid", "dan", "eve")
BEGIN = datetime(2024, 5, 1, tzinfo=UTC)
SCHEMA = pl.Schema(
    {
        "key": pl.String(),
        "split": pl.String(),
        "seq": pl.Int64(),
        "value": pl.Int64(),
        "at": pl.Datetime("us", "UTC"),
    }
)
Made = tuple[str, str, int, int, datetime]


def feed(rng: Random, name: str, splits: int, chunks: int, rows: int, until_s: float) -> Feed:
    """Rows that come until a time; event times are unique, and rise within each split."""
    made: dict[str, Split] = {}
    times = iter(sorted(rng.sample(range(20_000), splits * chunks * rows)))
    places = [f"s{at}" for at in range(splits) for _ in range(chunks * rows)]
    rng.shuffle(places)
    listed: dict[str, list[Made]] = {f"s{at}": [] for at in range(splits)}
    for place in places:
        at = BEGIN + timedelta(milliseconds=next(times))
        listed[place].append((rng.choice(KEYS), place, len(listed[place]), rng.randrange(100), at))
    for place, found in listed.items():
        when = sorted(rng.random() * until_s for _ in range(chunks))
        ends = [round(len(found) * (each + 1) / chunks) for each in range(chunks)]
        made[place] = Split(list(found), list(zip(ends, when, strict=True)))
    return Feed(name, SCHEMA, made)


def rows_of(feed: Feed) -> list[Made]:
    """All rows of a feed in the order of their times."""
    return sorted((row for split in feed.splits.values() for row in split.rows), key=lambda row: row[4])


def numbered(rows: pl.DataFrame, seen: int, group: st.Group) -> tuple[pl.DataFrame, int]:
    """The rows of a key, counted."""
    with_number = rows.select("key", "split", "seq", "value").with_columns(
        n=pl.int_range(seen, seen + rows.height, dtype=pl.Int64)
    )
    return with_number, seen + rows.height


class Numbered(Plan):
    """Each row with its number among those of its key: shows every row that is lost, doubled, or out of order."""

    def __init__(self, rng: Random, until_s: float) -> None:
        self.feeds = {
            "rows": feed(rng, "rows", rng.randint(1, 2), rng.randint(2, 4), rng.randint(1, 6), until_s)
        }
        self.expected = self
        self._wanted: dict[str, list[Row]] = defaultdict(list)
        for key, split, seq, value, _ in rows_of(self.feeds["rows"]):
            self._wanted[key].append((key, split, seq, value, len(self._wanted[key])))
        self._shown: Counter[str] = Counter()

    def job(self, world: World) -> Job:
        schema = {"key": pl.String, "split": pl.String, "seq": pl.Int64, "value": pl.Int64, "n": pl.Int64}
        frame = st.scan(world.source("rows"), event_time="at", idle_timeout="1h", name="rows")
        out = frame.group_by("key").map_with_state(numbered, state=0, schema=schema, ttl=None)
        return st.job([write_job(out.node, world.sink("numbered"), "numbered")], name=JOB)

    def check(self, sink: str, rows: Sequence[Row], new: Sequence[Row], offsets: Offsets) -> str | None:
        for row in new:
            place = self._shown[row[0]]
            wanted = self._wanted[row[0]]
            if place >= len(wanted) or wanted[place] != tuple(row):
                return f"found {row} in place {place}, expected {wanted[place : place + 1]}"
            if row[2] >= offsets["rows"].get(row[1], 0):
                return f"{row} is shown, of which only {offsets} was read"
            self._shown[row[0]] += 1
        return None

    def check_end(self, sink: str, rows: Sequence[Row]) -> str | None:
        missing = {
            key: len(all_) - self._shown[key]
            for key, all_ in self._wanted.items()
            if self._shown[key] != len(all_)
        }
        return f"rows are missing: {missing}" if missing else None


class Folded(Plan):
    """A job whose changes, added up, are at each checkpoint what Python makes of the rows that were read."""

    def __init__(self, rng: Random, until_s: float) -> None:
        self.feeds = {
            "rows": feed(rng, "rows", rng.randint(1, 2), rng.randint(2, 4), rng.randint(1, 6), until_s)
        }
        self.expected = self

    def frame(self, world: World) -> st.StreamDataFrame:
        """What is published."""
        raise NotImplementedError

    def wanted(self, rows: Mapping[str, Sequence[Row]]) -> Counter[Row]:
        """What is to be seen when so much was read."""
        raise NotImplementedError

    def job(self, world: World) -> Job:
        return st.job([write_job(self.frame(world).node, world.sink("folded"), "folded")], name=JOB)

    def check(self, sink: str, rows: Sequence[Row], new: Sequence[Row], offsets: Offsets) -> str | None:
        read = {
            name: [
                row
                for place, split in feed.splits.items()
                for row in split.rows[: offsets.get(name, {}).get(place, 0)]
            ]
            for name, feed in self.feeds.items()
        }
        return self._compare(rows, read)

    def check_end(self, sink: str, rows: Sequence[Row]) -> str | None:
        read = {
            name: [row for split in feed.splits.values() for row in split.rows]
            for name, feed in self.feeds.items()
        }
        return self._compare(rows, read)

    def _compare(self, rows: Sequence[Row], read: Mapping[str, Sequence[Row]]) -> str | None:
        found: Counter[Row] = Counter()
        for *row, weight in rows:
            found[tuple(row)] += weight
        found = Counter({row: count for row, count in found.items() if count})
        wanted = self.wanted(read)
        if found == wanted:
            return None
        return f"found {sorted((found - wanted).items())}, expected {sorted((wanted - found).items())}"


def _sums(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    sums: dict[str, tuple[int, int]] = {}
    for key, _, _, value, _ in rows:
        n, total = sums.get(key, (0, 0))
        sums[key] = n + 1, total + value
    return sums


class Summed(Folded):
    """Sums by key, said with every change."""

    def frame(self, world: World) -> st.StreamDataFrame:
        return (
            st.scan(world.source("rows"), name="rows")
            .group_by("key")
            .agg(n=pl.len(), total=pl.col("value").sum())
        )

    def wanted(self, rows: Mapping[str, Sequence[Row]]) -> Counter[Row]:
        return Counter({(key, n, total): 1 for key, (n, total) in _sums(rows["rows"]).items()})


class TwoStages(Folded):
    """How many keys there are with each count: workers send to workers."""

    def frame(self, world: World) -> st.StreamDataFrame:
        counts = (
            st.scan(world.source("rows"), name="rows")
            .group_by("key")
            .agg(n=pl.len(), total=pl.col("value").sum())
        )
        return counts.group_by("n").agg(keys=pl.len(), total=pl.col("total").sum())

    def wanted(self, rows: Mapping[str, Sequence[Row]]) -> Counter[Row]:
        found: dict[int, tuple[int, int]] = {}
        for n, total in _sums(rows["rows"]).values():
            keys, sum_ = found.get(n, (0, 0))
            found[n] = keys + 1, sum_ + total
        return Counter({(n, keys, total): 1 for n, (keys, total) in found.items()})


class Windows(Plan):
    """Sums by key in windows of two seconds of event time, each said once."""

    def __init__(self, rng: Random, until_s: float) -> None:
        self.feeds = {
            "rows": feed(rng, "rows", rng.randint(1, 2), rng.randint(2, 4), rng.randint(1, 6), until_s)
        }
        self.expected = self
        sums: dict[tuple[str, datetime], tuple[int, int]] = {}
        for key, _, _, value, at in rows_of(self.feeds["rows"]):
            start = BEGIN + (at - BEGIN) // timedelta(seconds=2) * timedelta(seconds=2)
            n, total = sums.get((key, start), (0, 0))
            sums[key, start] = n + 1, total + value
        self._wanted = {(key, str(start)): (n, total) for (key, start), (n, total) in sums.items()}
        self._shown: set[tuple[str, str]] = set()

    def job(self, world: World) -> Job:
        frame = st.scan(world.source("rows"), event_time="at", idle_timeout="1h", name="rows")
        sums = frame.group_by_dynamic("at", every="2s", group_by="key").agg(
            n=pl.len(), total=pl.col("value").sum()
        )
        return st.job(
            [write_job(sums.select("key", "at", "n", "total").node, world.sink("windows"), "windows")],
            name=JOB,
        )

    def check(self, sink: str, rows: Sequence[Row], new: Sequence[Row], offsets: Offsets) -> str | None:
        for key, start, n, total in new:
            if (key, start) in self._shown:
                return f"the window {key}, {start} is shown twice"
            self._shown.add((key, start))
            if self._wanted.get((key, start)) != (n, total):
                return f"the window {key}, {start} is {(n, total)}, expected {self._wanted.get((key, start))}"
        return None

    def check_end(self, sink: str, rows: Sequence[Row]) -> str | None:
        missing = self._wanted.keys() - self._shown
        return f"windows are missing: {sorted(missing)}" if missing else None


class Joined(Folded):
    """Rows with what a table says of their keys."""

    def __init__(self, rng: Random, until_s: float) -> None:
        super().__init__(rng, until_s)
        rows: list[Row] = [(key, "table", at, at * 1000, BEGIN) for at, key in enumerate(KEYS)]
        self.feeds = {**self.feeds, "table": Feed("table", SCHEMA, {"t": Split(rows, [(len(rows), 0.0)])})}

    def frame(self, world: World) -> st.StreamDataFrame:
        table = st.scan(world.source("table", bounded=True), name="table").select("key", more=pl.col("value"))
        joined = st.scan(world.source("rows"), name="rows").join(table.as_table("key"), on="key", how="left")
        return joined.select("key", "split", "seq", "value", "more", _diff=pl.lit(1))

    def wanted(self, rows: Mapping[str, Sequence[Row]]) -> Counter[Row]:
        more = {row[0]: row[3] for row in self.feeds["table"].splits["t"].rows}
        return Counter((key, split, seq, value, more[key]) for key, split, seq, value, _ in rows["rows"])


PLANS: Sequence[Callable[[Random, float], Plan]] = (Numbered, Summed, TwoStages, Windows, Joined)
