"""Packs: every dtype comes back, what has not changed is not written again, and damage is noticed before parsing."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from streame.errors import CheckpointDamaged, CheckpointError
from streame.state.checkpoint import leaves, packs
from streame.state.checkpoint.manifest import Manifest, Output, SavedState
from streame.state.checkpoint.packs import PACKS_MAX, Known, PackWriting, read_leaf, retired_packs
from streame.state.snapshot import CHUNK_ROWS, Data, Leaf, Savable, Shadow, Snapshot, take_snapshot
from tests.storage.memory_disk import MemoryDisk

AT = datetime(2024, 1, 1)  # noqa: DTZ001 - a local time
ENUM = pl.Enum(["a", "b", "c"])

SERIES = (
    pl.Series("i64", [1, None, -3], pl.Int64),
    pl.Series("i8", [1, None, -3], pl.Int8),
    pl.Series("i128", [1, None, -(2**100)], pl.Int128),
    pl.Series("u128", [1, None, 2**127], pl.UInt128),
    pl.Series("u64", [1, None, 2**64 - 1], pl.UInt64),
    pl.Series("f32", [1.5, float("nan"), -0.0, None], pl.Float32),
    pl.Series("f64", [float("inf"), None, -0.0], pl.Float64),
    pl.Series("bool", [True, None, False]),
    pl.Series("string", ["x", None, "é" * 50, ""]),
    pl.Series("binary", [b"x", None, b"\0" * 50, b""]),
    pl.Series("categorical", ["x", None, "y"], pl.Categorical),
    pl.Series("named", ["x", None, "y"], pl.Categorical(pl.Categories("mine", namespace="tests"))),
    pl.Series("enum", ["a", None, "c"], ENUM),
    pl.Series("decimal", [Decimal("1.50"), None], pl.Decimal(38, 2)),
    pl.Series("date", [date(2024, 1, 1), None]),
    pl.Series("zoned", [AT, None], pl.Datetime("ns")).dt.replace_time_zone("Europe/Rome"),
    pl.Series("naive", [AT, None], pl.Datetime("ms")),
    pl.Series("duration", [timedelta(1), None], pl.Duration("ms")),
    pl.Series("time", [time(1), None]),
    pl.Series("null", [None, None], pl.Null),
    pl.Series("list", [[1, None], None, []], pl.List(pl.Int128)),
    pl.Series("array", [[1, 2], None], pl.Array(pl.Int16, 2)),
    pl.Series("struct", [{"a": 1, "b": ["x"]}, None], pl.Struct({"a": pl.Int8, "b": pl.List(pl.String)})),
    pl.Series("categories in struct", [{"a": "x"}, None], pl.Struct({"a": pl.Categorical})),
    pl.Series("categories in list", [["x", "y"], None], pl.List(pl.Categorical)),
    pl.Series("enum in list", [["a"], None], pl.List(ENUM)),
    pl.Series("decimal in list", [[Decimal("1.5")], None], pl.List(pl.Decimal(20, 1))),
    pl.Series("struct without fields", [{}, {}], pl.Struct({})),
    pl.Series("", [1]),
)

ARRAYS = (
    "i8",
    "u8",
    "<i2",
    "<u4",
    "<i8",
    "<u8",
    "<f4",
    "<f8",
    "?",
    "<M8[ns]",
    "<m8[us]",
    "S5",
    "<U3",
    ">i8",
    "<c16",
)


def snapshot_of(*data: Data, changed: Sequence[bool] | None = None) -> Snapshot:
    hint = None if changed is None else np.array(changed)
    parts = [Leaf(f"/{number}", each, hint) for number, each in enumerate(data)]
    return Snapshot([{"$leaf": number} for number in range(len(data))], parts)


class Chain:
    """Checkpoints one after the other, with their packs in memory."""

    def __init__(self) -> None:
        self.packs: dict[str, bytes] = {}
        self.last: Manifest | None = None

    def write(self, *data: Data, hints: bool = False, changed: Sequence[bool] | None = None) -> int:
        """Write one checkpoint; returns the bytes of its pack."""
        number = 1 if self.last is None else self.last.number + 1
        writing = PackWriting(f"state/{number}/0.1.pack", Known(self.last), hints)
        content = b"".join(writing.parts({"op": [snapshot_of(*data, changed=changed)]}))
        files = {file.path: file for file in (self.last.packs if self.last else ())}
        if writing.file is not None:
            assert writing.file.length == len(content)
            self.packs[writing.path], files[writing.path] = content, writing.file
        used = {chunk.pack for leaf in writing.operators["op"][0].leaves for chunk in leaf.chunks}
        kept = tuple(files[path] for path in sorted(used))
        self.last = Manifest(
            "job", number, 1, None, {}, writing.operators, None, (Output(number, {}),), kept, ()
        )
        return len(content)

    @property
    def state(self) -> SavedState:
        assert self.last is not None
        return self.last.operators["op"][0]

    def read(self, leaf: int = 0) -> Data:
        return read_leaf(self.state.leaves[leaf], MemoryDisk(self.packs))


@pytest.fixture
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Chunks of four rows, so that small data has many."""
    monkeypatch.setattr(leaves, "CHUNK_ROWS", 4)
    monkeypatch.setattr(packs, "CHUNK_ROWS", 4)
    return iter(())


def assert_same(found: Data, expected: Data) -> None:
    match expected:
        case pl.DataFrame():
            assert isinstance(found, pl.DataFrame)
            assert_frame_equal(found, expected)
        case pl.Series():
            assert isinstance(found, pl.Series)
            assert_series_equal(found, expected)
        case _:
            assert isinstance(found, np.ndarray)
            assert found.dtype == expected.dtype.newbyteorder("<")
            np.testing.assert_array_equal(found, expected)
            assert found.flags.writeable


@st.composite
def columns(draw: st.DrawFn) -> list[pl.Series]:
    """Columns of any dtypes, of one length, in several pieces of memory, parts of longer ones."""
    kinds = draw(st.lists(st.sampled_from(SERIES), max_size=4, unique_by=id))
    length = draw(st.integers(0, 13))
    made = []
    for kind in kinds:
        pool = pl.concat([kind] * 8, rechunk=draw(st.booleans()))
        order = draw(st.lists(st.integers(0, len(pool) - 1), min_size=20, max_size=20))
        start = draw(st.integers(0, 20 - length))
        made.append(pool.gather(order).slice(start, length))
    return made


@pytest.mark.usefixtures("_small_chunks")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns())
def test_frames_and_series_of_every_dtype_come_back(made: list[pl.Series]) -> None:
    chain = Chain()
    frame = pl.DataFrame(made)
    chain.write(frame, *made)
    assert_same(chain.read(), frame)
    for number, series in enumerate(made, start=1):
        assert_same(chain.read(number), series)
    assert chain.write(frame.clone(), *made) == 0


@pytest.mark.usefixtures("_small_chunks")
@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_every_dtype_comes_back_at_every_length(series: pl.Series) -> None:
    many = pl.concat([series] * 9)
    for length in (0, 1, 3, 4, 5, 8, 9):
        chain = Chain()
        chain.write(many[:length], many[1 : 1 + length].to_frame())
        assert_same(chain.read(0), many[:length])
        assert_same(chain.read(1), many[1 : 1 + length].to_frame())


@pytest.mark.usefixtures("_small_chunks")
@pytest.mark.parametrize("dtype", ARRAYS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (4,), (9,), (9, 2), (0, 3), (5, 0), (6, 2, 3)])
def test_every_array_comes_back(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(int(np.prod(shape)))
    array = (values % 2 == 0 if dtype == "?" else values).astype(dtype).reshape(shape)
    for each in (array, np.asfortranarray(array), np.repeat(array, 2, axis=0)[::2] if shape else array):
        chain = Chain()
        chain.write(each)
        assert_same(chain.read(), np.asarray(each))


def test_a_frame_without_columns_keeps_its_rows() -> None:
    chain = Chain()
    chain.write(pl.DataFrame(height=5), pl.DataFrame())
    assert chain.read(0).shape == (5, 0)
    assert chain.read(1).shape == (0, 0)


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Object(),
        pl.Array(pl.Int8, 0),
        pl.List(pl.Array(pl.Int8, 0)),
        pl.Struct({"x": pl.Array(pl.Int8, 0)}),
    ],
)
def test_what_cannot_be_saved_is_refused(dtype: pl.DataType) -> None:
    series = pl.Series("odd", [], dtype)
    for data in (series, series.to_frame(), series.to_frame().with_columns(other=1)):
        with pytest.raises(CheckpointError, match=r"the state of op, /0: column 'odd' of type"):
            Chain().write(data)


def test_only_changed_chunks_are_written() -> None:
    array = np.arange(4 * CHUNK_ROWS + 10)
    frame = pl.DataFrame({"x": array.copy()})
    chain = Chain()
    whole = chain.write(array, frame)
    assert whole > 2 * array.nbytes
    array[CHUNK_ROWS] += 1
    assert CHUNK_ROWS * 8 < chain.write(array, frame) < CHUNK_ROWS * 8 + 100
    assert_same(chain.read(0), array)
    assert_same(chain.read(1), frame)
    assert chain.write(array, frame) == 0
    longer = np.concatenate([array, [7]])
    assert chain.write(longer, frame) == 11 * 8 + len(packs.FIRST_LINE)
    assert_same(chain.read(0), longer)


def test_a_chunk_that_is_said_to_be_unchanged_is_not_looked_at() -> None:
    array = np.arange(2 * CHUNK_ROWS + 5)
    chain = Chain()
    chain.write(array)
    before = array.copy()
    array[0] = array[CHUNK_ROWS] = array[-1] = -1
    chain.write(array, hints=True, changed=[False, True])
    expected = before.copy()
    expected[CHUNK_ROWS] = -1
    assert_same(chain.read(), expected)
    chain.write(array, hints=False, changed=[False, False, False])
    assert_same(chain.read(), array)


def test_hints_do_not_hide_what_has_grown_or_has_become_another_thing() -> None:
    chain = Chain()
    chain.write(np.arange(10))
    for other in (
        np.arange(1, 12),
        np.arange(1, 12).astype("f8"),
        np.arange(22).reshape(11, 2),
        np.arange(3),
    ):
        chain.write(other, hints=True, changed=[False])
        assert_same(chain.read(), other)
    for series in (pl.Series("x", [1]), pl.Series("x", [1, 2]), pl.Series("y", [1, 2]).to_frame()):
        chain.write(series, hints=True, changed=[])
        assert_same(chain.read(), series)


def test_a_frame_that_is_still_the_same_object_is_not_looked_at() -> None:
    class Kept(Savable):
        SAVED = ("frame", "series")

        def __init__(self) -> None:
            self.frame = pl.DataFrame({"x": [1, 2]})
            self.series = pl.Series([True])

    kept, shadow = Kept(), Shadow()

    def hinted() -> list[bool]:
        return [leaf.changed is not None for leaf in take_snapshot(kept, shadow).leaves]

    hints = [hinted(), hinted()]
    kept.frame = kept.frame.clone()
    hints += [hinted(), hinted()]
    assert hints == [[False, False], [True, True], [False, True], [True, True]]
    chain = Chain()
    chain.write(kept.frame)
    chain.write(kept.frame.with_columns(x=0), hints=True, changed=[])  # a lie, and nobody looks
    assert_same(chain.read(), kept.frame)


def test_a_pack_of_which_less_than_half_is_needed_is_given_up() -> None:
    rng = np.random.default_rng(7)
    array = rng.integers(0, 100, 6 * CHUNK_ROWS)
    chain = Chain()
    chain.write(array)
    for chunk in range(4):
        array[chunk * CHUNK_ROWS] += 1000
        chain.write(array, hints=True, changed=[each == chunk for each in range(6)])
    assert chain.last is not None
    assert retired_packs(chain.last) == {"state/1/0.1.pack"}
    chain.write(array, hints=True, changed=[False] * 6)
    assert "state/1/0.1.pack" not in {pack.path for pack in chain.last.packs}
    assert_same(chain.read(), array)


def test_many_small_packs_become_few() -> None:
    data = [np.full(5, each) for each in range(PACKS_MAX + 10)]
    chain = Chain()
    chain.write(*data)
    for array in data:
        np.add(array, 1000, out=array)
        chain.write(*data)
        assert chain.last is not None
        assert len(chain.last.packs) <= PACKS_MAX + 1
    for number, array in enumerate(data):
        assert_same(chain.read(number), array)


def test_every_flipped_bit_is_noticed_before_anything_is_parsed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"x": ["some", "text", None] * 30, "y": [[1, 2], None, []] * 30})
    chain = Chain()
    chain.write(frame, np.arange(50), frame["x"])
    ((path, content),) = chain.packs.items()
    bits = rng.choice(len(content) * 8, 500, replace=False).tolist()
    noticed = 0
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << (bit % 8)
        chain.packs[path] = bytes(flipped)
        for number in range(3):
            with suppress(CheckpointDamaged):
                chain.read(number)
                continue
            noticed += 1
    in_first_line = sum(bit // 8 < len(packs.FIRST_LINE) for bit in bits)  # noticed by the digest of the file
    assert noticed == 500 - in_first_line
    chain.packs[path] = content[:-1]
    with pytest.raises(CheckpointDamaged, match=path):
        chain.read(2)


def test_instances_and_operators_are_told_apart() -> None:
    first: dict[str, list[Snapshot]] = {
        "b": [snapshot_of(np.array([1])), snapshot_of(np.array([2]))],
        "a": [snapshot_of(np.array([3]), np.array([4]))],
    }
    writing = PackWriting("state/1/0.1.pack", Known(None), hints=False)
    content = b"".join(writing.parts(first))

    disk = MemoryDisk({"state/1/0.1.pack": content})

    def values(operator: str) -> list[list[Any]]:
        return [
            [np.asarray(read_leaf(leaf, disk)).tolist() for leaf in state.leaves]
            for state in writing.operators[operator]
        ]

    assert values("b") == [[[1]], [[2]]]
    assert values("a") == [[[3], [4]]]
    offsets = [
        leaf.chunks[0].offset
        for name in ("a", "b")
        for state in writing.operators[name]
        for leaf in state.leaves
    ]
    assert offsets == sorted(offsets)
