"""Hypothesis strategies for schemas, frames, and the ways in which a stream's rows may be cut into batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from polars.testing.parametric import column, dataframes

from streame.core.durations import duration_ticks
from streame.core.time import EventTime

DTYPES: tuple[Any, ...] = (
    pl.Int64(),
    pl.Int8(),
    pl.UInt16(),
    pl.Float64(),
    pl.Float32(),
    pl.Boolean(),
    pl.String(),
    pl.Date(),
    pl.Datetime("us"),
    pl.Datetime("ms", "Europe/Berlin"),
    pl.Duration("us"),
    pl.Time(),
    pl.Decimal(10, 2),
    pl.Binary(),
    pl.Categorical(),
    pl.Enum(["a", "b", "c"]),
    pl.List(pl.Int64()),
    pl.List(pl.String()),
    pl.Array(pl.Int32(), 2),
    pl.Struct({"x": pl.Int64(), "y": pl.String()}),
)
"""One dtype of every kind."""

NAMES = ("a", "b", "c", "d", "e", "f", "a b", "ü", "a_right", "literal", "len")

KEYS: dict[Any, Sequence[Any]] = {
    pl.Int64(): (0, 1, -1, 2**53 + 1, 2**63 - 1, None),
    pl.UInt8(): (0, 1, 255, None),
    pl.Float64(): (0.0, -0.0, 1.5, float("nan"), float("inf"), None),
    pl.Float32(): (0.0, -0.0, 0.1, float("nan"), None),
    pl.String(): ("", "a", "b", "a\0", "ü", "a much longer text than twelve bytes", None),
    pl.Boolean(): (True, False, None),
    pl.Date(): (0, 1, -1, None),
    pl.Datetime("us", "UTC"): (0, 1, -1, None),
    pl.Categorical(): ("a", "b", "c", None),
    pl.Enum(["a", "b", "c"]): ("a", "b", "c", None),
    pl.Binary(): (b"", b"a", b"a\0", None),
}
"""By dtype, a few values that meet each other often, those among them that are easily mistaken."""

TIMES: tuple[Any, ...] = (
    pl.Datetime("us"),
    pl.Datetime("ns", "UTC"),
    pl.Datetime("ms", "Europe/Berlin"),
    pl.Date(),
    pl.Int64(),
    pl.Int32(),
)
"""Dtypes of event time."""

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(
        ["", " ", ".", '"', ",", "\n", "\r\n", "\0", "\ufeff", "null", "NaN", "é", "a" * 40, "0", "-1"]
    ),
)
"""Texts, those among them that formats have trouble with."""

SIZES = (0, 1, 2, 1023, 1024, 1025, 65_537)
"""Batch sizes at which mistakes are likely."""


@st.composite
def schemas(
    draw: DrawFn, *, min_cols: int = 1, max_cols: int = 5, dtypes: Sequence[Any] = DTYPES
) -> pl.Schema:
    """Schemas with names that are not always harmless.

    Args:
        draw: given by Hypothesis.
        min_cols: the fewest columns.
        max_cols: the most columns, at most eleven.
        dtypes: what to choose from.

    Returns:
        A strategy, called without `draw`.

    Example:
        >>> from hypothesis import given, settings
        >>> from streame.testing.strategies import schemas
        >>> @settings(max_examples=5, database=None)
        ... @given(schemas(max_cols=3))
        ... def test_width(schema):
        ...     assert 1 <= len(schema) <= 3
        >>> test_width()
    """
    names = draw(st.lists(st.sampled_from(NAMES), min_size=min_cols, max_size=max_cols, unique=True))
    return pl.Schema({name: draw(st.sampled_from(dtypes)) for name in names})


def frames(
    schema: Mapping[str, Any], *, min_size: int = 0, max_size: int = 12, allow_null: bool = True
) -> SearchStrategy[pl.DataFrame]:
    """Frames of a schema, with nulls, NaN, extreme values and several chunks.

    Args:
        schema: the columns.
        min_size: the fewest rows.
        max_size: the most rows.
        allow_null: whether values may be missing.

    Returns:
        A strategy of frames with exactly these columns and dtypes.

    Example:
        >>> import polars as pl
        >>> from hypothesis import given, settings
        >>> from streame.testing.strategies import frames
        >>> @settings(max_examples=5, database=None)
        ... @given(frames({"qty": pl.Int64()}, max_size=4))
        ... def test_height(frame):
        ...     assert frame.height <= 4
        >>> test_height()
    """
    columns = [
        column(name, dtype, strategy=TEXTS if dtype == pl.String else None) for name, dtype in schema.items()
    ]
    return dataframes(columns, min_size=min_size, max_size=max_size, allow_null=allow_null)


@st.composite
def batch_cuts(draw: DrawFn, frame: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of a frame cut into batches: empty ones, single rows, sliced views, and batches of several chunks.

    Args:
        draw: given by Hypothesis.
        frame: the rows; a large one is also cut at sizes around powers of two.

    Returns:
        A strategy, called without `draw`, of lists of at least one batch; together they are the frame, in order.

    Example:
        >>> import polars as pl, streame as st
        >>> from hypothesis import given, settings
        >>> from streame.testing.strategies import batch_cuts
        >>> orders = pl.DataFrame({"qty": [1, 2, 3]})
        >>> @settings(max_examples=5, database=None, deadline=None)
        ... @given(batch_cuts(orders))
        ... def test_cuts_do_not_matter(batches):
        ...     assert st.scan_frames(batches).collect().equals(orders)
        >>> test_cuts_do_not_matter()
    """
    sizes = st.one_of(st.integers(0, max(1, frame.height)), st.sampled_from(SIZES))
    batches, at = [], 0
    for size in draw(st.lists(sizes, max_size=6)):
        batches.append(frame[at : at + size])
        at += size
    batches.append(frame[at:])
    return [_chunked(each) if draw(st.booleans()) else each for each in batches]


@st.composite
def keyed_frames(
    draw: DrawFn, key: Mapping[str, Any], values: Mapping[str, Any], *, max_size: int = 20
) -> pl.DataFrame:
    """Frames whose key columns take few values, so that keys meet: nulls, NaN, -0.0 and look-alikes among them.

    Args:
        draw: given by Hypothesis.
        key: the key columns, of dtypes that are in `KEYS`.
        values: the other columns.
        max_size: the most rows.

    Returns:
        A strategy, called without `draw`; the key columns come first.

    Example:
        >>> import polars as pl
        >>> from hypothesis import given, settings
        >>> from streame.testing.strategies import keyed_frames
        >>> @settings(max_examples=5, database=None)
        ... @given(keyed_frames({"user": pl.String()}, {"qty": pl.Int64()}))
        ... def test_few_keys(frame):
        ...     assert frame["user"].n_unique() <= 7
        >>> test_few_keys()
    """
    height = draw(st.integers(0, max_size))
    columns = {
        name: draw(st.lists(st.sampled_from(KEYS[dtype]), min_size=height, max_size=height))
        for name, dtype in key.items()
    }
    keyed = pl.DataFrame([pl.Series(name, column, dtype=key[name]) for name, column in columns.items()])
    return keyed.hstack(draw(frames(values, min_size=height, max_size=height)))


@st.composite
def timed_frames(
    draw: DrawFn,
    key: Mapping[str, Any],
    values: Mapping[str, Any],
    *,
    time: str = "at",
    dtype: Any = TIMES[0],
    start: Any = 0,
    step: str | int | None = None,
    steps: int = 30,
    max_size: int = 20,
) -> pl.DataFrame:
    """Keyed frames with an event time, in its order: times that meet each other, and stand at the edge of windows.

    Args:
        draw: given by Hypothesis.
        key: the key columns, of dtypes that are in `KEYS`; there may be none.
        values: the other columns.
        time: the name of the time column, which comes first.
        dtype: its dtype, such as one of `TIMES`.
        start: the earliest time, a number of ticks or a value of the dtype.
        step: times are multiples of this after `start`, some of them a tick more or less: a duration, or ticks of
            an integer column. A second or a tick by default, for a Date a day.
        steps: how many multiples there are.
        max_size: the most rows.

    Returns:
        A strategy, called without `draw`, of frames sorted by time; `disordered` mixes them.

    Example:
        >>> import polars as pl
        >>> from hypothesis import given, settings
        >>> from streame.testing.strategies import timed_frames
        >>> @settings(max_examples=5, database=None)
        ... @given(timed_frames({"user": pl.String()}, {"qty": pl.Int64()}))
        ... def test_order(frame):
        ...     assert frame["at"].is_sorted()
        >>> test_order()
    """
    keyed = draw(keyed_frames(key, values, max_size=max_size) if key else frames(values, max_size=max_size))
    event_time = EventTime(time, dtype)
    usual = 1 if dtype.is_integer() else "1d" if dtype == pl.Date else "1s"
    width = _ticks(usual if step is None else step, event_time)
    first = int(pl.Series([start], dtype=dtype).to_physical()[0])
    tick = st.builds(
        lambda count, off: max(first, first + count * width + off),
        st.integers(0, steps),
        st.sampled_from((0, 0, 0, -1, 1)),
    )
    ticks = draw(st.lists(tick, min_size=keyed.height, max_size=keyed.height))
    return keyed.insert_column(0, pl.Series(time, sorted(ticks), dtype=pl.Int64).cast(dtype))


@st.composite
def disordered(draw: DrawFn, frame: pl.DataFrame, time: str, delay: str | int) -> pl.DataFrame:
    """The rows of a frame in a disorder within a bound: with `watermark=delay` no row is late.

    Args:
        draw: given by Hypothesis.
        frame: the rows.
        time: the column that orders them, without null.
        delay: how far a row may come behind a newer one, as the argument `watermark` of a source. Give a source
            less than this, and some rows may be late for it.

    Returns:
        A strategy, called without `draw`. Rows of equal time may change places too, so that what is expected is
        `disordered_frame.sort(time, maintain_order=True)`.

    Example:
        >>> import polars as pl
        >>> from hypothesis import given, settings
        >>> from streame.testing.strategies import disordered
        >>> ticks = pl.DataFrame({"at": [0, 1, 5, 9]})
        >>> @settings(max_examples=5, database=None)
        ... @given(disordered(ticks, "at", 3))
        ... def test_bound(frame):
        ...     assert (frame["at"] >= frame["at"].cum_max() - 3).all()
        >>> test_bound()
    """
    most = _ticks(delay, EventTime(time, frame.schema[time]))
    bumps = draw(st.lists(st.integers(0, 4), min_size=frame.height, max_size=frame.height))
    ticks = frame[time].to_physical()
    held = [(tick + bump * most // 4, bump) for tick, bump in zip(ticks, bumps, strict=True)]
    return frame[sorted(range(frame.height), key=held.__getitem__)]


@st.composite
def dealt(draw: DrawFn, frame: pl.DataFrame, hands: int) -> list[pl.DataFrame]:
    """The rows of a frame dealt out to several splits, which keep their order.

    Args:
        draw: given by Hypothesis.
        frame: the rows.
        hands: how many splits there are.

    Returns:
        A strategy, called without `draw`, of as many frames; some may be empty.

    Example:
        >>> import polars as pl
        >>> from hypothesis import given, settings
        >>> from streame.testing.strategies import dealt
        >>> orders = pl.DataFrame({"qty": [1, 2, 3]})
        >>> @settings(max_examples=5, database=None)
        ... @given(dealt(orders, 2))
        ... def test_nothing_is_lost(splits):
        ...     assert sorted(pl.concat(splits)["qty"]) == [1, 2, 3]
        >>> test_nothing_is_lost()
    """
    hand = draw(st.lists(st.integers(0, hands - 1), min_size=frame.height, max_size=frame.height))
    return [
        frame.filter(pl.Series([each == number for each in hand], dtype=pl.Boolean))
        for number in range(hands)
    ]


def tiled(frame: pl.DataFrame, height: int) -> pl.DataFrame:
    """The rows of a frame again and again until there are `height`; a frame without rows stays as it is.

    Args:
        frame: the rows.
        height: how many rows there shall be; fewer than the frame's cut it.

    Returns:
        A frame of `height` rows, or of none.

    Example:
        >>> import polars as pl
        >>> from streame.testing.strategies import tiled
        >>> tiled(pl.DataFrame({"qty": [1, 2]}), 5)["qty"].to_list()
        [1, 2, 1, 2, 1]
    """
    if frame.height == 0:
        return frame
    return frame[[row % frame.height for row in range(height)]]


def _ticks(duration: str | int, time: EventTime) -> int:
    """A duration in ticks of a time column."""
    return duration_ticks(duration, time, where="strategies")


def _chunked(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows in two chunks."""
    middle = frame.height // 2
    return pl.concat([frame[:middle], frame[middle:]], rechunk=False) if middle else frame
