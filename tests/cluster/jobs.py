"""The jobs that nodes run in processes of their own, and how what they wrote is compared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

import streame as st
from tests.cluster.feed import Feed, SplitFeed

USERS = 24
DIFF = "_diff"


@dataclass(frozen=True)
class Written:
    """A folder that a job writes.

    Args:
        name: of the folder.
        changes: whether rows are taken back.
        order: columns within whose values the last column goes up.
    """

    name: str
    changes: bool = False
    order: tuple[str, str] | None = None


def _rows(folder: Path) -> st.StreamDataFrame:
    return st.scan(Feed(folder), event_time="at", watermark="2s", name="orders")


def fed(folder: Path) -> st.Job:
    """Windows, and counts that are taken back and said anew, by one key."""
    rows = _rows(folder)
    windows = rows.group_by_dynamic("at", every="10s", group_by="key", name="windows").agg(
        n=pl.len(), cents=pl.col("cents").sum(), last=pl.col("seq").max()
    )
    counts = rows.group_by("key", name="counts").agg(n=pl.len(), cents=pl.col("cents").sum())
    return st.job(
        [
            rows.sink_ndjson(folder / "raw", name="raw"),
            windows.sink_ndjson(folder / "windows", name="windows"),
            counts.sink_ndjson(folder / "counts", changes=True, name="counts"),
        ],
        name="fed",
    )


def rekeyed(folder: Path) -> st.Job:
    """Counts by one key, counts of those by another one, and a table."""
    rows = _rows(folder)
    counts = rows.group_by("key", name="counts").agg(n=pl.len(), cents=pl.col("cents").sum())
    return st.job(
        [
            rows.sink_ndjson(folder / "raw", name="raw"),
            _named(rows, None).sink_ndjson(folder / "named", name="named"),
            counts.group_by(pl.col("n") // 10, name="sizes")
            .agg(keys=pl.len(), cents=pl.col("cents").sum())
            .sink_ndjson(folder / "sizes", changes=True, name="sizes"),
        ],
        name="rekeyed",
    )


def split(folder: Path, state: Literal["etcd"] | None = "etcd") -> st.Job:
    """Rows that the nodes read themselves, each its own splits; windows, windows of those by another key, a table in etcd."""
    rows = st.scan(SplitFeed(folder), event_time="at", watermark="2s", name="orders")
    windows = rows.group_by_dynamic("at", every="10s", group_by="key", name="windows").agg(
        n=pl.len(), cents=pl.col("cents").sum(), last=pl.col("seq").max()
    )
    sizes = windows.group_by(pl.col("key") % 5, name="sizes").agg(rows=pl.sum("n"), cents=pl.sum("cents"))
    return st.job(
        [
            rows.sink_ndjson(folder / "raw", name="raw"),
            _named(rows, state).sink_ndjson(folder / "named", name="named"),
            windows.sink_ndjson(folder / "windows", name="windows"),
            sizes.sink_ndjson(folder / "sizes", changes=True, name="sizes"),
        ],
        name="split",
    )


def _named(rows: st.StreamDataFrame, state: Literal["etcd"] | None) -> st.StreamDataFrame:
    names = [f"user {key}" for key in range(USERS)]
    users = st.scan_frames([pl.DataFrame({"key": range(USERS), "name": names})], name="users")
    named = rows.join(users.as_table("key", state=state), on="key", how="left", name="names")
    return named.select("key", "seq", "name")


def queued(folder: Path, items: st.Queue) -> st.Job:
    """Rows that are put into a queue, and how many each client has put."""
    rows = st.scan_queue(items, {"client": pl.String, "n": pl.Int64}, name="rows")
    counts = rows.group_by("client", name="counts").agg(n=pl.len())
    return st.job(
        [
            rows.sink_ndjson(folder / "raw", name="raw"),
            counts.sink_ndjson(folder / "counts", changes=True, name="counts"),
        ],
        name="queued",
    )


def other(folder: Path) -> st.Job:
    """Another plan under the name of `fed`."""
    return st.job([_rows(folder).sink_ndjson(folder / "raw", name="raw")], name="fed")


JOBS: dict[str, Callable[[Path], st.Job]] = {"fed": fed, "rekeyed": rekeyed, "split": split, "other": other}

ALONE = JOBS | {"split": lambda folder: split(folder, None)}
"""The same in one process, where no state is in etcd."""

WRITTEN = {
    "fed": (Written("raw", order=("key", "seq")), Written("windows"), Written("counts", changes=True)),
    "rekeyed": (
        Written("raw", order=("key", "seq")),
        Written("named", order=("key", "seq")),
        Written("sizes", changes=True),
    ),
    "split": (
        Written("raw", order=("key", "seq")),
        Written("named", order=("key", "seq")),
        Written("windows"),
        Written("sizes", changes=True),
    ),
}


def parts(folder: Path) -> list[Path]:
    """What is published in a folder, the oldest first."""
    return sorted(folder.glob("part-*.ndjson"))


def read(folder: Path) -> pl.DataFrame:
    """All rows that are published in a folder, in order."""
    found = [pl.read_ndjson(part) for part in parts(folder)]
    return pl.concat(found) if found else pl.DataFrame()


def difference(job: str, folder: Path, expected: Path) -> str:
    """What the outputs of a job have more or less than those of the same job elsewhere; nothing if they are equal."""
    found: list[str] = []
    for written in WRITTEN[job]:
        ours, theirs = read(folder / written.name), read(expected / written.name)
        if written.changes:
            ours, theirs = _folded(ours), _folded(theirs)
        counted, wanted = _counted(ours), _counted(theirs)
        for name, one, two in (("too much", counted, wanted), ("missing", wanted, counted)):
            if (left := one.join(two, on=one.columns, how="anti", nulls_equal=True)).height:
                found.append(f"{written.name}: {left.height} {name}: {left.sort(pl.all()).head(5).rows()}")
        if written.order is not None and not _is_ordered(ours, *written.order):
            found.append(f"{written.name}: {written.order[1]} does not go up")
    return "\n".join(found)


def _folded(rows: pl.DataFrame) -> pl.DataFrame:
    """What is left of rows that were taken back."""
    values = [column for column in rows.columns if column != DIFF]
    return rows.group_by(values).agg(pl.col(DIFF).sum()).filter(pl.col(DIFF) != 0)


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by(rows.columns).len("times")


def _is_ordered(rows: pl.DataFrame, by: str, column: str) -> bool:
    goes_up = (pl.col(column).diff() > 0).fill_null(value=True).all()
    return bool(rows.group_by(by, maintain_order=True).agg(goes_up)[column].all())
