"""Compares the output of a run with that of an undisturbed one: what is lost, doubled, changed, out of order."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streame.core.changes import DIFF

EXAMPLES_MAX = 3
CLOSE_ROWS_MAX = 10_000
"""So many rows at most are compared number by number, where floats may differ in the last digits."""

Hashes: TypeAlias = NDArray[np.uint64]
Counts: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is known of the output of a sink beforehand.

    Args:
        is_changes: whether it is a changes stream, of which only the fold is the same every time.
        in_order: whether all rows come in the same order every time.
        keys: columns; rows that are equal in them come in the same order every time.
    """

    is_changes: bool = False
    in_order: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """How an output differs from the undisturbed one.

    Args:
        lost: rows that are missing.
        doubled: rows that came, and come once more.
        changed: rows that the undisturbed output does not have at all.
        reordered: rows that stand elsewhere; of changes, those that are taken back before they were said.
        examples: some of these rows, in words.
    """

    lost: int = 0
    doubled: int = 0
    changed: int = 0
    reordered: int = 0
    examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.changed or self.reordered)

    def __add__(self, other: "Difference") -> "Difference":
        return Difference(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.changed + other.changed,
            self.reordered + other.reordered,
            (*self.examples, *other.examples)[: 4 * EXAMPLES_MAX],
        )

    def __str__(self) -> str:
        counts = [(name, getattr(self, name)) for name in ("lost", "doubled", "changed", "reordered")]
        said = ", ".join(f"{count:,} {name}" for name, count in counts if count) or "no difference"
        return "; ".join([said, *self.examples])


def compare(
    expected: pl.DataFrame, found: pl.DataFrame, expectation: Expectation, *, partial: bool = False
) -> Difference:
    """How an output differs from the undisturbed one.

    Args:
        expected: the rows of the undisturbed run, in order.
        found: the rows of the other run, in order.
        expectation: what is the same every time.
        partial: whether the run has ended too early, so that rows may be missing.
    """
    if expectation.is_changes:
        return _compare_changes(expected, found, partial=partial)
    (names, before), (_, after) = _counted(expected, found)
    lost, extra = np.maximum(before - after, 0), np.maximum(after - before, 0)
    difference = Difference()
    if not partial and lost.any() and extra.any():
        _forgive_last_digits(lost, extra, _row_of(names, expected, found))
    if (not partial and lost.any()) or extra.any():
        row = _row_of(names, expected, found)
        difference = _told(np.zeros_like(lost) if partial else lost, extra, before > 0, row)
    elif not partial and (before == after).all():
        difference = Difference(reordered=_out_of_order(expected, found, expectation))
    return difference


def _compare_changes(expected: pl.DataFrame, found: pl.DataFrame, *, partial: bool) -> Difference:
    """Of changes what they come to, and that nothing is taken back before it was said."""
    rows = expected.drop(DIFF), found.drop(DIFF)
    weights = expected[DIFF].cast(pl.Int64).to_numpy(), found[DIFF].cast(pl.Int64).to_numpy()
    early = _taken_back_early(hashes_of(rows[1]), weights[1])
    if partial:
        return Difference(reordered=early)
    (names, before), (_, after) = _counted(*rows, *weights)
    lost, extra = np.maximum(before - after, 0), np.maximum(after - before, 0)
    row = _row_of(names, *rows)
    if lost.any() and extra.any():
        _forgive_last_digits(lost, extra, row)
    return _told(lost, extra, before > 0, row) + Difference(reordered=early)


def hashes_of(frame: pl.DataFrame) -> Hashes:
    """A hash of every row; rows that are written alike have the same."""
    if not frame.width:
        return np.zeros(frame.height, np.uint64)
    nested = [column.name for column in frame if column.dtype.is_nested() or column.dtype == pl.Binary]
    plain = frame.with_columns(
        pl.Series(name, [repr(value) for value in frame[name].to_list()], pl.String) for name in nested
    )
    return plain.hash_rows(seed=0).to_numpy()


def _counted(
    expected: pl.DataFrame,
    found: pl.DataFrame,
    before: Counts | None = None,
    after: Counts | None = None,
) -> tuple[tuple[Hashes, Counts], tuple[Hashes, Counts]]:
    """All different rows by their hashes, and how often each is there, or what its weights come to."""
    hashes = hashes_of(expected), hashes_of(found)
    names, places = np.unique(np.concatenate(hashes), return_inverse=True)
    counts = []
    for part, weights in ((places[: len(hashes[0])], before), (places[len(hashes[0]) :], after)):
        count = np.zeros(len(names), np.int64)
        np.add.at(count, part, 1 if weights is None else weights)
        counts.append(count)
    return (names, counts[0]), (names, counts[1])


def _row_of(names: Hashes, expected: pl.DataFrame, found: pl.DataFrame) -> Callable[[int], tuple[Any, ...]]:
    """Finds the row that a hash belongs to."""
    hashes = hashes_of(expected), hashes_of(found)

    def row(index: int) -> tuple[Any, ...]:
        for of, frame in zip(hashes, (expected, found), strict=True):
            places = np.flatnonzero(of == names[index])
            if len(places):
                return frame.row(int(places[0]))
        raise AssertionError(index)

    return row


def _told(
    lost: Counts, extra: Counts, known: NDArray[np.bool_], row: Callable[[int], tuple[Any, ...]]
) -> Difference:
    doubled, changed = np.where(known, extra, 0), np.where(known, 0, extra)
    examples = [
        f"{what}: {row(int(index))}"
        for what, counts in (("lost", lost), ("doubled", doubled), ("changed", changed))
        for index in np.flatnonzero(counts)[:EXAMPLES_MAX]
    ]
    return Difference(int(lost.sum()), int(doubled.sum()), int(changed.sum()), 0, tuple(examples))


def _out_of_order(expected: pl.DataFrame, found: pl.DataFrame, expectation: Expectation) -> int:
    """How many rows stand elsewhere, of the same rows."""
    if expectation.keys:
        keys = list(expectation.keys)
        expected, found = (frame.sort(keys, maintain_order=True) for frame in (expected, found))
    elif not expectation.in_order:
        return 0
    return int((hashes_of(expected) != hashes_of(found)).sum())


def _taken_back_early(hashes: Hashes, weights: Counts) -> int:
    """How many rows were taken back at a moment when they did not hold."""
    order = np.argsort(hashes, kind="stable")
    sums = np.cumsum(weights[order])
    ordered = hashes[order]
    ends = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, np.bool_)
    begins = np.flatnonzero(np.roll(ends, 1))
    held = np.repeat(np.append(0, sums)[begins], np.diff(np.append(begins, len(ordered))))
    return len(np.unique(ordered[sums < held]))


def _forgive_last_digits(lost: Counts, extra: Counts, row: Callable[[int], tuple[Any, ...]]) -> None:
    """Take pairs of rows out that differ in the last digits of floats only: these depend on the order of adding."""
    missing, surplus = np.flatnonzero(lost), np.flatnonzero(extra)
    if len(missing) + len(surplus) > CLOSE_ROWS_MAX:
        return
    waiting: dict[str, list[tuple[int, list[float]]]] = defaultdict(list)
    for index in missing:
        frame, floats = _taken_apart(row(int(index)))
        waiting[frame].append((int(index), floats))
    for index in surplus:
        frame, floats = _taken_apart(row(int(index)))
        if not floats:
            continue
        for candidate in waiting[frame]:
            place, others = candidate
            if lost[place] and lost[place] == extra[index] and _close(floats, others):
                lost[place] = extra[index] = 0
                break


def _taken_apart(row: Sequence[Any]) -> tuple[str, list[float]]:
    """A row without its floats, as a text, and these."""
    floats: list[float] = []

    def without(value: Any) -> Any:
        match value:
            case float():
                floats.append(value)
                return "~"
            case str():
                return without(parsed) if (parsed := _parsed(value)) is not None else value
            case dict():
                return {name: without(each) for name, each in value.items()}
            case list() | tuple():
                return [without(each) for each in value]
        return value

    return repr(without(row)), floats


def _parsed(text: str) -> Any:
    """What a line of JSON or a field of CSV says, if it can hold floats."""
    if text[:1] not in "{[-0123456789" or not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict | list | float) else None


def _close(left: Sequence[float], right: Sequence[float]) -> bool:
    pairs: Iterator[tuple[float, float]] = zip(left, right, strict=True)
    return len(left) == len(right) and all(
        math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))
        for one, other in pairs
    )
