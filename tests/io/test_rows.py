"""Python rows and frames as sources."""

import threading
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streame.errors import ConnectorError, DataError, PlanError
from streame.io.rows import FramesSource, RowsSource
from streame.io.source import Chunk, Source

ORDERS = pl.Schema({"user": pl.String, "qty": pl.Int64})


def drain(source: Source, offset: Any = None) -> list[Chunk]:
    (split,) = source.splits()
    return [chunk for chunk in source.read(split, offset) if chunk is not None]


def frame_of(chunks: list[Chunk], schema: pl.Schema) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=schema), *(chunk.frame for chunk in chunks)])


def test_lists_are_sliced_and_resumed() -> None:
    rows = [("ann", n) for n in range(70_000)]
    chunks = drain(RowsSource(rows, ORDERS))
    assert len(chunks) > 1
    assert frame_of(chunks, ORDERS)["qty"].to_list() == list(range(70_000))
    rest = drain(RowsSource(rows, ORDERS), chunks[0].next_offset)
    assert_frame_equal(frame_of(rest, ORDERS), frame_of(chunks[1:], ORDERS))
    assert rest[0].offsets is not None
    assert rest[0].offsets()[0] == chunks[0].next_offset


def test_generator_is_read_to_its_end_and_only_once() -> None:
    source = RowsSource((("ann", n) for n in range(100_000)), ORDERS)
    assert frame_of(drain(source), ORDERS)["qty"].to_list() == list(range(100_000))
    with pytest.raises(ConnectorError, match="only once"):
        drain(source)


def test_an_iterable_that_starts_anew_is_resumed_by_skipping() -> None:
    class Orders:
        def __iter__(self) -> Iterator[tuple[str, int]]:
            return iter([("ann", 1), ("bob", 2), ("cid", 3)])

    source = RowsSource(Orders(), ORDERS)
    assert frame_of(drain(source), ORDERS).height == 3
    assert frame_of(drain(source, 2), ORDERS).rows() == [("cid", 3)]


def test_rows_that_trickle_are_handed_over_at_once_and_never_block() -> None:
    more = threading.Event()

    def trickle() -> Iterator[tuple[str, int]]:
        yield "ann", 1
        more.wait(30)
        yield "bob", 2

    steps = RowsSource(trickle(), ORDERS).read("rows", None)
    first = next(step for step in steps if step is not None)
    assert first.frame.rows() == [("ann", 1)]
    assert next(steps) is None
    more.set()
    second = next(step for step in steps if step is not None)
    assert second.frame.rows() == [("bob", 2)]
    assert list(steps) in ([], [None])


def test_closing_the_source_stops_the_generator() -> None:
    closed = threading.Event()

    def endless() -> Iterator[tuple[str, int]]:
        try:
            while True:
                yield "ann", 1
        finally:
            closed.set()

    steps = RowsSource(endless(), ORDERS).read("rows", None)
    next(steps)
    assert isinstance(steps, Iterator)
    steps.close()  # type: ignore[attr-defined]
    assert closed.wait(10)


def test_an_iterable_that_raises_gives_its_good_rows_first() -> None:
    def broken() -> Iterator[tuple[str, int]]:
        yield "ann", 1
        yield "bob", 2
        raise ValueError("the tap is dry")

    got: list[Chunk] = []
    steps = (chunk for chunk in RowsSource(broken(), ORDERS).read("rows", None) if chunk is not None)
    with pytest.raises(ConnectorError, match="raised ValueError after 2 rows: the tap is dry") as caught:
        got.extend(steps)
    assert frame_of(got, ORDERS).height == 2
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_iterable_that_cannot_start() -> None:
    class Broken:
        def __iter__(self) -> Iterator[Any]:
            raise OSError("closed")

    with pytest.raises(ConnectorError, match="after 0 rows: closed"):
        drain(RowsSource(Broken(), ORDERS))


@pytest.mark.parametrize("thing", [5, "abc", {"a": 1}, pl.DataFrame()], ids=str)
def test_things_that_are_no_iterable_of_rows(thing: Any) -> None:
    with pytest.raises(PlanError, match="iterable of rows"):
        RowsSource(thing, ORDERS)


FRAME = pl.DataFrame({"user": ["ann", "bob"], "qty": [1, None]})


def test_frames_of_a_list_and_resume() -> None:
    source = FramesSource([FRAME, FRAME.select("qty", "user"), FRAME])
    chunks = drain(source)
    assert source.schema() == FRAME.schema
    assert_frame_equal(frame_of(chunks, FRAME.schema), pl.concat([FRAME] * 3))
    assert [chunk.offsets().tolist() for chunk in chunks if chunk.offsets] == [[0, 1], [2, 3], [4, 5]]
    rest = drain(source, chunks[0].next_offset)
    assert_frame_equal(frame_of(rest, FRAME.schema), pl.concat([FRAME] * 2))


def test_frames_are_resumed_at_the_next_one() -> None:
    frame = pl.DataFrame({"n": range(150)})
    source = FramesSource([frame, frame, frame])
    chunks = drain(source)
    again = drain(source, chunks[0].next_offset)
    assert_frame_equal(frame_of(again, frame.schema), frame_of(chunks[1:], frame.schema))
    assert [chunk.next_offset for chunk in again] == [chunk.next_offset for chunk in chunks[1:]]


def test_frames_through_the_arrow_interface() -> None:
    class Foreign:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return FRAME.__arrow_c_stream__(requested_schema)

    assert_frame_equal(
        frame_of(drain(FramesSource([Foreign(), FRAME])), FRAME.schema), pl.concat([FRAME, FRAME])
    )


def test_frames_of_a_generator_need_a_schema() -> None:
    with pytest.raises(PlanError, match="give schema="):
        FramesSource(frame for frame in [FRAME])
    with pytest.raises(PlanError, match="give schema="):
        FramesSource([])
    source = FramesSource((frame for frame in [FRAME] * 5), schema=FRAME.schema)
    assert frame_of(drain(source), FRAME.schema).height == 10


def test_a_frame_with_another_schema() -> None:
    source = FramesSource([FRAME, FRAME.select(pl.col("qty").cast(pl.String))])
    with pytest.raises(DataError, match=r"frame 1 .*'user' is missing, .*'qty' is String, expected Int64"):
        drain(source)


def test_things_that_are_no_frames() -> None:
    with pytest.raises(DataError, match="frame 1 is a int"):
        drain(FramesSource([FRAME, 5]))
    with pytest.raises(PlanError, match="put it into a list"):
        FramesSource(FRAME)


def test_a_generator_of_frames_that_raises() -> None:
    def broken() -> Iterator[pl.DataFrame]:
        yield FRAME
        raise KeyError("gone")

    with pytest.raises(ConnectorError, match="raised KeyError after 1 frames"):
        drain(FramesSource(broken(), schema=FRAME.schema))


def test_required_columns_of_frames() -> None:
    (chunk,) = drain(FramesSource([FRAME], required=["qty"]))
    assert chunk.frame.rows() == [("ann", 1)]
    (bad,) = chunk.rejected
    assert (bad.offset, bad.kind, bad.raw) == (1, "null", b'{"user":"bob","qty":null}')
    with pytest.raises(PlanError, match="required column 'x'"):
        FramesSource([FRAME], required=["x"])
