"""Python iterables as sources: of rows, and of frames."""

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import polars as pl

from streame.core.deadletters import BadRow
from streame.errors import ConnectorError, DataError, PlanError, SourceDataLost
from streame.io.formats.rows import RowDecoder, row_bytes
from streame.io.pull import Pull
from streame.io.source import Chunk, Offset, Source

_ROWS_AT_ONCE = 32_768
_FRAMES_AHEAD = 2


class _Iterable:
    """An iterable that is read from some position on, if it can be read again."""

    def __init__(self, iterable: Iterable[Any], what: str) -> None:
        if isinstance(iterable, str | bytes | Mapping) or not isinstance(iterable, Iterable):
            raise PlanError(
                f"found {type(iterable).__name__} where an iterable of {what} is needed; put it into a list"
            )
        self._iterable = iterable
        self._what = what
        self._taken = False
        self.rereadable = not isinstance(iterable, Iterator)
        self.given = 0
        self.left: Sequence[Any] = ()
        """What was read ahead of its use when reading was stopped; it stands behind the first `given` items."""

    @property
    def sequence(self) -> Sequence[Any] | None:
        """The iterable, if its parts can be had by slicing."""
        return self._iterable if isinstance(self._iterable, list | tuple) else None

    def read(self, skip: int, most: int, limit: int) -> Generator[Sequence[Any] | None, None, None]:
        """The items behind the first `skip`, at most `most` in one go; `None` while there are none.

        An iterator that can be read only once stands behind them already: it is what the program goes on with.

        Args:
            skip: how many items were read before.
            most: how many are given in one go.
            limit: how many may be read ahead.

        Raises:
            SourceDataLost: when there are fewer than `skip`.
            ConnectorError: when the iterable raises, or can be read only once and was read.
        """
        items = self.sequence
        if items is not None:
            if skip > len(items):
                raise self._lost(skip, len(items))
            for first in range(skip, len(items), most):
                yield items[first : first + most]
            return
        pull = Pull(self._begin(skip), limit)
        pull.start()
        self.given = skip
        try:
            while (taken := pull.take(most)) is not None:
                self.given += len(taken)
                yield taken or None
            if isinstance(pull.error, SourceDataLost):
                raise pull.error
            if pull.error is not None:
                raise self._failure(self.given, pull.error) from pull.error
        finally:
            self.left = pull.stop()

    def _begin(self, skip: int) -> Iterator[Any]:
        if self._taken and not self.rereadable:
            raise ConnectorError(
                f"the iterator of {self._what} can be read only once and was read before; "
                "give a list, or an object whose __iter__ starts anew"
            )
        self._taken = True
        try:
            iterator = iter(self._iterable)
        except Exception as error:  # whatever user code raises
            raise self._failure(0, error) from error
        return self._behind(iterator, skip) if skip and self.rereadable else iterator

    def _behind(self, iterator: Iterator[Any], skip: int) -> Iterator[Any]:
        for count in range(skip):
            if next(iterator, self) is self:
                raise self._lost(skip, count)
        yield from iterator

    def _lost(self, skip: int, count: int) -> SourceDataLost:
        return SourceDataLost(
            f"{skip} {self._what} were read before, but now the iterable has only {count}; give the same "
            f"{self._what} again, and new ones behind them, or begin anew with other checkpoints"
        )

    def _failure(self, count: int, error: BaseException) -> ConnectorError:
        """The error of an iterable that raised after it had given `count` items."""
        return ConnectorError(
            f"the iterable of {self._what} raised {type(error).__name__} after {count} {self._what}: {error}"
        )


class RowsSource(Source):
    """Rows from a Python iterable of dicts, dataclasses, tuples or lists.

    Args:
        iterable: the rows. Lists and tuples are sliced; anything else is read by a thread, so that rows that
            trickle are handed over at once.
        schema: the columns.
        required: columns that may not be null.

    Raises:
        PlanError: when `iterable` is none, or the schema cannot be read from Python values.
    """

    bounded = True
    one_split = True
    python_rows = True

    def __init__(self, iterable: Iterable[Any], schema: pl.Schema, required: Collection[str] = ()) -> None:
        if isinstance(iterable, pl.DataFrame):
            raise PlanError("found a DataFrame where an iterable of rows is needed; use scan_frames([frame])")
        self._rows = _Iterable(iterable, "rows")
        self._schema = schema
        self._decoder = RowDecoder(schema, required)
        self.replayable = self._rows.rereadable
        self.read_once = not self.replayable

    def schema(self) -> pl.Schema:
        """The columns."""
        return self._schema

    def splits(self) -> Sequence[str]:
        """One."""
        return ("rows",)

    def read(self, split: str, offset: Offset) -> Iterator[Chunk | None]:
        """The rows from number `offset` on."""
        start = int(offset or 0)
        with closing(self._rows.read(start, _ROWS_AT_ONCE, 2 * _ROWS_AT_ONCE)) as reading:
            for rows in reading:
                yield self._chunk(rows, start) if rows else None
                start += len(rows or ())

    def left_over(self, split: str) -> Sequence[Chunk]:
        """See `HoldingSource`."""
        left = self._rows.left
        return [self._chunk(left, self._rows.given)] if left else []

    def _chunk(self, rows: Sequence[Any], start: int) -> Chunk:
        decoded = self._decoder.decode(rows, start)
        return Chunk(decoded.frame, start + len(rows), decoded.offsets, decoded.rejected)


class FramesSource(Source):
    """Rows from an iterable of Polars frames, or of objects with the Arrow C interface.

    Args:
        iterable: the frames.
        schema: the columns that every frame must have, in any order; taken from the first frame of a list or
            tuple if it is not given.
        required: columns that may not be null.

    Raises:
        PlanError: when the schema is neither given nor known.
    """

    bounded = True
    one_split = True

    def __init__(
        self, iterable: Iterable[Any], schema: pl.Schema | None = None, required: Collection[str] = ()
    ) -> None:
        if isinstance(iterable, pl.DataFrame | pl.Series) or hasattr(iterable, "__arrow_c_stream__"):
            raise PlanError("found one frame where an iterable of frames is needed; put it into a list")
        self._frames = _Iterable(iterable, "frames")
        known = self._frames.sequence
        if schema is None and not known:
            raise PlanError(
                "the schema of the frames is not known before the first one is read; give schema="
            )
        self._schema = schema if schema is not None else _frame(known[0] if known else None, 0).schema
        self._names = list(self._schema)
        self._dtypes = list(self._schema.values())
        for name in required:
            if name not in self._schema:
                raise PlanError(
                    f"the required column {name!r} is not in the schema; it has {', '.join(self._schema)}"
                )
        self._required = tuple(required)
        self._ahead = (0, 0)
        self.replayable = self._frames.rereadable
        self.read_once = not self.replayable

    def schema(self) -> pl.Schema:
        """The columns."""
        return self._schema

    def splits(self) -> Sequence[str]:
        """One."""
        return ("frames",)

    def read(self, split: str, offset: Offset) -> Iterator[Chunk | None]:
        """The rows from `offset` on: the number of a frame, and that of its first row."""
        self._ahead = tuple(offset or (0, 0))
        with closing(self._frames.read(self._ahead[0], 1, _FRAMES_AHEAD)) as reading:
            for frames in reading:
                yield self._next(frames[0]) if frames else None

    def left_over(self, split: str) -> Sequence[Chunk]:
        """See `HoldingSource`."""
        return [self._next(frame) for frame in self._frames.left]

    def _next(self, item: Any) -> Chunk:
        number, row = self._ahead
        frame = self._checked(item, number)
        self._ahead = number + 1, row + frame.height
        return self._chunk(frame, row, list(self._ahead))

    def _checked(self, item: Any, number: int) -> pl.DataFrame:
        frame = _frame(item, number)
        if frame.columns == self._names and frame.dtypes == self._dtypes:
            return frame
        found = frame.schema
        wrong = [
            f"column {name!r} is {found.get(name, 'missing')}, expected {dtype}"
            for name, dtype in self._schema.items()
            if found.get(name) != dtype
        ]
        if wrong:
            raise DataError(f"frame {number} does not have the declared schema: {'; '.join(wrong)}")
        return frame.select(self._names)

    def _chunk(self, frame: pl.DataFrame, row: int, ahead: Offset) -> Chunk:
        height = frame.height
        nulls = [name for name in self._required if frame.get_column(name).null_count()]
        if not nulls:
            return Chunk(frame, ahead, lambda: np.arange(row, row + height, dtype=np.int64))
        good = frame.select(pl.all_horizontal(pl.col(nulls).is_not_null())).to_series()
        keep = good.to_numpy()
        bad = (~good).arg_true()
        rejected = [
            _missing(self._required, row + at, values)
            for at, values in zip(bad, frame[bad].iter_rows(named=True), strict=True)
        ]
        return Chunk(frame.filter(good), ahead, lambda: row + np.flatnonzero(keep), rejected)


def _missing(required: Sequence[str], offset: int, values: dict[str, Any]) -> BadRow:
    name = next(name for name in required if values[name] is None)
    return BadRow(offset, "null", f"column {name!r} is required, but has no value", row_bytes(values))


def _frame(item: Any, number: int) -> pl.DataFrame:
    if isinstance(item, pl.DataFrame):
        return item.clone()  # another source, in another thread, may be given the same object
    if hasattr(item, "__arrow_c_stream__") or hasattr(item, "__arrow_c_array__"):
        try:
            return pl.DataFrame(item)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError) as error:
            raise DataError(f"frame {number} cannot be read through the Arrow interface: {error}") from error
    raise DataError(
        f"frame {number} is a {type(item).__name__}; expected a Polars DataFrame or an object with the Arrow C interface"
    )
