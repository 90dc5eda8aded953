"""Batches as frames: all dtypes, positions, cuts, and bytes that are meant to do harm."""

import struct
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streame.cluster import batches
from streame.cluster.arrow_check import shape_of
from streame.cluster.batches import NARROWED_ROWS, PIECE_BYTES, BatchCodec
from streame.cluster.columns import Columns
from streame.cluster.flow import charge
from streame.cluster.frames import FRAME_BYTES_MAX, Attempt, Bytes, Data, FrameRefused, More, unpack
from streame.cluster.narrowing import NUMBERS_MIN, narrowed, widened
from streame.cluster.record_batch import read_record_batch
from streame.core.hidden import BEHIND, POSITION, WEIGHT
from streame.core.messages import BATCH_ROWS_MAX, Batch, Positions
from streame.core.positions import POSITION_DTYPE
from streame.errors import DataError, PlanError
from streame.testing import strategies
from tests.examples import examples

ATTEMPT = Attempt(7, 1)
DTYPES: tuple[Any, ...] = (
    *strategies.DTYPES,
    pl.Null(),
    pl.Int128(),
    pl.List(pl.Null()),
    pl.List(pl.Categorical()),
    pl.Array(pl.Array(pl.String(), 2), 3),
    pl.Struct({"x": pl.List(pl.Struct({"y": pl.Enum(["a", "ü"]), "z": pl.Time()})), "e": pl.Boolean()}),
)


def codec(schema: Any, **settings: Any) -> BatchCodec:
    return BatchCodec(Columns.of(pl.Schema(schema), "edge"), "edge", **settings)


def there_and_back(codec: BatchCodec, batch: Batch) -> list[Batch]:
    """Through frames, each of which has the next number."""
    back = []
    for seq, (packed, _) in enumerate(codec.encode(batch, ATTEMPT, 3, 11), start=11):
        assert len(packed) <= FRAME_BYTES_MAX
        frame, body = unpack(packed)
        assert isinstance(frame, Data | More)
        assert (frame.attempt, frame.channel, frame.seq) == (ATTEMPT, 3, seq)
        if isinstance(frame, Data):
            data, whole, missing = frame, bytearray(), frame.rest + len(body)
        whole += body
        missing -= len(body)
        if not missing:
            back.append(codec.decode(data, memoryview(whole)))
    return back


def only(codec: BatchCodec, frame: pl.DataFrame) -> tuple[Data, bytearray]:
    """The one frame of a batch, and what its body stands for, to be changed."""
    ((packed, cost),) = codec.encode(Batch(frame), ATTEMPT, 3, 11)
    data, body = unpack(packed)
    assert isinstance(data, Data)
    assert cost == charge(len(packed), data.bytes)
    return data, bytearray(b"".join(widened(body, data.bytes)))


def decoded(codec: BatchCodec, data: Data, wide: Bytes) -> Batch:
    """What comes of a body that stands for these bytes."""
    body = b"".join(narrowed([(memoryview(wide), [])]))
    return codec.decode(msgspec.structs.replace(data, bytes=len(wide)), memoryview(body))


@settings(max_examples=examples(200))
@given(st.data(), strategies.schemas(dtypes=DTYPES))
def test_rows_of_every_dtype_come_back(data: st.DataObject, schema: pl.Schema) -> None:
    frame = data.draw(strategies.frames(schema))
    start = data.draw(st.integers(0, frame.height))
    for rows in (frame, frame[start:], frame[:start]):
        (back,) = there_and_back(codec(schema), Batch(rows))
        assert_frame_equal(back.frame, rows, categorical_as_str=True)
        assert back.frame.schema == schema
        assert (back.positions, back.split) == (None, None)


OFFSETS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.builds(lambda start, step, count: [start + step * i for i in range(count)],
              st.integers(-(2**40), 2**40), st.integers(-9, 9), st.integers(0, 9)),
)  # fmt: skip


@given(OFFSETS, st.sampled_from([None, ("orders", "0")]))
@example([-(2**63), 2**63 - 1], None)
def test_positions_come_back(offsets: list[int], split: tuple[str, str] | None) -> None:
    array = np.array(offsets, np.int64)
    frame = pl.DataFrame({"a": np.arange(len(offsets))})
    batch = Batch(frame, Positions("orders", "ü/1.csv", lambda: array), split)
    (back,) = there_and_back(codec(frame.schema), batch)
    assert back.positions is not None
    assert (back.positions.source, back.positions.split, back.split) == ("orders", "ü/1.csv", split)
    assert back.positions.offsets().tolist() == offsets
    assert back.frame.equals(frame)


def test_numbers_that_are_close_take_few_bytes() -> None:
    rows = NARROWED_ROWS
    at = np.arange(rows)
    frame = pl.DataFrame(
        {
            "ts": pl.Series(1_700_000_000_000_000 + 100 * at).cast(pl.Datetime("us")),
            "user": at * 7 % 1_000,
            "item": [f"item-{number % 90:04}" for number in range(rows)],
        }
    )
    offsets = np.cumsum(at % 3)
    batch = Batch(frame, Positions("s", "t", lambda: offsets))
    ((packed, size),) = codec(frame.schema).encode(batch, ATTEMPT, 3, 11)
    assert size > rows * (8 + 8 + 8 + 9 + 8)
    assert len(packed) < rows * (4 + 2 + 1 + 9 + 1) + 2_000
    (back,) = there_and_back(codec(frame.schema), batch)
    assert back.frame.equals(frame)
    assert back.positions is not None
    assert back.positions.offsets().tolist() == offsets.tolist()


def test_hidden_columns_come_back_where_they_were() -> None:
    rows = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    hidden = {
        WEIGHT: pl.Series([1, -1]),
        BEHIND: pl.Series([None, 5], dtype=pl.Int64),
        POSITION: pl.Series([None, {"source": "s", "split": "t", "offset": 3}], dtype=POSITION_DTYPE),
    }
    channel = codec(rows.schema)
    for names in ((), (WEIGHT,), (BEHIND,), (WEIGHT, POSITION), (POSITION, BEHIND, WEIGHT)):
        for at in range(3):
            frame = rows.clone()
            for name in names:
                frame = frame.insert_column(at, hidden[name].alias(name))
            (back,) = there_and_back(channel, Batch(frame))
            assert back.frame.columns == frame.columns
            assert_frame_equal(back.frame, frame)


def test_rows_without_columns_are_counted() -> None:
    frame = pl.DataFrame(height=3)
    assert there_and_back(codec({}), Batch(frame))[0].frame.shape == (3, 0)
    many = there_and_back(codec({}), Batch(pl.DataFrame(height=BATCH_ROWS_MAX + 1)))
    assert sum(back.frame.height for back in many) == BATCH_ROWS_MAX + 1


def test_large_batches_are_cut_and_keep_their_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(0, 600, 60_000)
    frame = pl.DataFrame({"n": range(60_000), "text": pl.Series(["x" * size for size in sizes])})
    offsets = random.permutation(60_000)
    back = there_and_back(codec(frame.schema), Batch(frame, Positions("s", "t", lambda: offsets)))
    assert len(back) > 1
    assert all(each.frame.estimated_size() <= 2 * PIECE_BYTES for each in back)
    assert pl.concat([each.frame for each in back]).equals(frame)
    found = [each.positions.offsets() for each in back if each.positions is not None]
    assert np.concatenate(found).tolist() == offsets.tolist()


def test_a_row_is_refused_by_its_own_size_whatever_stands_beside_it() -> None:
    channel = codec({"text": pl.String()}, row_bytes_max=10_000)
    large = ["x" * 11_000, "y" * 9_000]
    for neighbours in ([], ["z"] * 5, ["z" * 9_000] * 5):
        with pytest.raises(DataError, match=r"edge: row .* of a batch has 11,.* bytes, .* at most 10,000"):
            there_and_back(channel, Batch(pl.DataFrame({"text": [*neighbours, large[0], *neighbours]})))
        frame = pl.DataFrame({"text": [*neighbours, large[1], *neighbours]})
        assert pl.concat([back.frame for back in there_and_back(channel, Batch(frame))]).equals(frame)


@pytest.mark.parametrize("size", [8_388_000, 8_388_608, 16_777_216, 40_000_000])
def test_a_row_that_does_not_fit_into_a_frame_takes_several(size: int) -> None:
    channel = codec({"text": pl.String()})
    frame = pl.DataFrame({"text": ["a", "x" * size, "b"]})
    back = there_and_back(channel, Batch(frame, Positions("s", "t", lambda: np.array([3, 1, 9]))))
    assert pl.concat([each.frame for each in back]).equals(frame)
    found = [each.positions.offsets() for each in back if each.positions is not None]
    assert np.concatenate(found).tolist() == [3, 1, 9]
    assert size < 8_388_608 - 500 or sum(1 for _ in channel.encode(Batch(frame[1:2]), ATTEMPT, 3, 11)) > 1
    costs = [cost for _, cost in channel.encode(Batch(frame[1:2]), ATTEMPT, 3, 11)]
    assert costs[0] >= size
    assert not any(costs[1:])


def test_a_row_is_refused_that_takes_too_many() -> None:
    with pytest.raises(DataError, match="at most 267,386,880"):
        there_and_back(codec({"text": pl.String()}), Batch(pl.DataFrame({"text": ["x" * 267_386_880]})))


@pytest.mark.parametrize(
    ("dtype", "found"), [(pl.Object(), "Python objects"), (pl.Array(pl.Int8(), 0), "arrays without elements")]
)
def test_columns_that_cannot_travel_are_refused_when_the_channel_opens(dtype: Any, found: str) -> None:
    with pytest.raises(
        PlanError, match=f"edge: column 'a' of type .* cannot go to another node, since it has {found}"
    ):
        codec({"a": pl.List(dtype)})


def test_rows_of_another_dtype_than_the_channel_has_never_leave() -> None:
    """Their bytes would be taken for numbers of the right one."""
    with pytest.raises(AssertionError, match="edge"):
        list(codec({"a": pl.Int64()}).encode(Batch(pl.DataFrame({"a": [1.5]})), ATTEMPT, 3, 11))


def test_deep_dtypes_are_refused() -> None:
    dtype: Any = pl.Int8()
    for _ in range(63):
        dtype = pl.List(dtype)
    codec({"a": dtype})
    with pytest.raises(PlanError, match="more than 64 levels"):
        codec({"a": pl.List(dtype)})


@given(strategies.schemas(dtypes=DTYPES), strategies.schemas(dtypes=DTYPES))
def test_only_equal_columns_have_equal_digests(one: pl.Schema, two: pl.Schema) -> None:
    equal = list(one.items()) == list(two.items())
    assert (Columns.of(one, "").digest == Columns.of(two, "").digest) == equal


FRAME = pl.DataFrame(
    {
        "int": [1, None, 3],
        "text": ["", "häßlich", None],
        "flag": [True, None, False],
        "list": [["a"], None, ["b", "c"]],
        "time": pl.Series([0, None, 86_399_999_999_999], dtype=pl.Int64).cast(pl.Time),
        "item": pl.Series(["a", "b", None], dtype=pl.Enum(["a", "b"])),
        "pair": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int16, 2)),
        "both": [{"x": 1, "y": "z"}, None, {"x": None, "y": "ü"}],
    }
)


def use(frame: pl.DataFrame) -> None:
    """Touch every value."""
    frame.hash_rows()
    frame.rows()
    for column in frame.get_columns():
        column.reverse()
        column.sort(nulls_last=True)
        column.to_frame().unique()


HARM = st.one_of(
    st.integers(0, 255).map(lambda byte: struct.pack("<B", byte)),
    st.sampled_from([-1, 0, 1, 2, 7, 8, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**63)]).map(
        lambda number: struct.pack("<q", number)
    ),
    st.sampled_from([-1, 0, 1, 4, 8, 2**31 - 1, -(2**31)]).map(lambda number: struct.pack("<i", number)),
)


@settings(max_examples=examples(600))
@given(st.data(), st.sampled_from([1, NUMBERS_MIN]))
def test_bytes_that_mean_harm_are_refused_or_harmless(data: st.DataObject, times: int) -> None:
    """The digest is right, as an attacker within the cluster can make it."""
    channel = codec(FRAME.schema)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "NARROWED_ROWS", NUMBERS_MIN)
        ((packed, _),) = channel.encode(Batch(pl.concat([FRAME] * times)), ATTEMPT, 3, 11)
    header, view = unpack(packed)
    assert isinstance(header, Data)
    body = bytearray(view)
    for _ in range(data.draw(st.integers(1, 3))):
        harm = data.draw(HARM)
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + len(harm)] = harm
    if data.draw(st.booleans()):
        del body[data.draw(st.integers(0, len(body) - 1)) :]
    try:
        back = channel.decode(header, memoryview(bytes(body)))
    except FrameRefused:
        return
    use(back.frame)


def numbers_in(body: bytearray, codec: BatchCodec, frame: pl.DataFrame) -> dict[tuple[str, int, int], int]:
    """Where the metadata has each number of each array and buffer."""
    nodes, buffers = shape_of(codec.columns.carried)
    batch = read_record_batch(memoryview(bytes(body)), nodes, len(buffers))
    found: dict[tuple[str, int, int], int] = {}
    for kind, pairs in (("node", batch.nodes), ("buffer", batch.buffers)):
        packed = b"".join(struct.pack("<qq", *pair) for pair in pairs)
        at = body.index(packed)
        found |= {(kind, i, side): at + 16 * i + 8 * side for i in range(len(pairs)) for side in (0, 1)}
    return found


def test_no_number_of_the_metadata_can_be_another_one() -> None:
    channel = codec(FRAME.schema)
    header, body = only(channel, FRAME)
    for at in numbers_in(body, channel, FRAME).values():
        (right,) = struct.unpack_from("<q", body, at)
        for wrong in (-1, right + 65_536, 2**62, -(2**63)):
            changed = bytearray(body)
            struct.pack_into("<q", changed, at, wrong)
            with pytest.raises(FrameRefused):
                decoded(channel, header, changed)


@pytest.mark.parametrize(
    ("values", "dtype", "old", "new", "message"),
    [
        (["ab", "c"], pl.String, struct.pack("<qqq", 0, 2, 3), struct.pack("<qqq", 0, 4, 3), "offsets do not rise"),
        (["ab", "c"], pl.String, struct.pack("<qqq", 0, 2, 3), struct.pack("<qqq", -8, 2, 3), "offsets do not rise"),
        (["ab", "c"], pl.String, struct.pack("<qqq", 0, 2, 3), struct.pack("<qqq", 0, 2, 99), "points beyond 3 bytes"),
        (["aü", "c"], pl.String, struct.pack("<qqq", 0, 3, 4), struct.pack("<qqq", 0, 2, 4), "within a character"),
        (["ab", "c"], pl.String, b"abc", b"a\xffc", "not UTF-8"),
        ([[1, 2], [3]], pl.List(pl.Int8), struct.pack("<qqq", 0, 2, 3), struct.pack("<qqq", 0, 2, 4), "where there must be 4"),
        ([[None] * 3, [None]], pl.List(pl.Null), struct.pack("<qqq", 0, 3, 4), struct.pack("<qqq", 0, 3, 2**40), "more than a body"),
        ([1, 2], pl.Time, struct.pack("<qq", 1, 2), struct.pack("<qq", 1, 2**60), "a time of day"),
        (["aa", "bb"], pl.Enum(["aa", "bb"]), b"aabb", b"aabc", "cannot be read"),
    ],
)  # fmt: skip
def test_arrays_that_point_elsewhere_are_refused(
    values: list[Any], dtype: Any, old: bytes, new: bytes, message: str
) -> None:
    series = (
        pl.Series("a", values, dtype=pl.Int64).cast(pl.Time)
        if dtype == pl.Time
        else pl.Series("a", values, dtype=dtype)
    )
    channel = codec({"a": dtype})
    header, body = only(channel, series.to_frame())
    assert body.count(old) == 1
    with pytest.raises(FrameRefused, match=message):
        decoded(channel, header, bytes(body).replace(old, new))


def test_buffers_that_overlap_are_refused() -> None:
    """Else a frame of 16 MiB could be a thousand columns of 16 MiB each."""
    frame = pl.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})
    channel = codec(frame.schema)
    header, body = only(channel, frame)
    places = numbers_in(body, channel, frame)
    (offset,) = struct.unpack_from("<q", body, places["buffer", 1, 0])
    struct.pack_into("<q", body, places["buffer", 3, 0], offset)
    with pytest.raises(FrameRefused, match="does not lie between"):
        decoded(channel, header, body)


def test_compressed_rows_are_refused(tmp_path: Any) -> None:
    frame = pl.DataFrame({"a": [0] * 65_536})
    channel = codec(frame.schema)
    for compression in ("lz4", "zstd"):
        path = tmp_path / compression
        frame.write_ipc_stream(path, compression=compression, compat_level=pl.CompatLevel.oldest())
        stream = path.read_bytes()
        message = stream[8 + struct.unpack_from("<I", stream, 4)[0] : -8]
        with pytest.raises(FrameRefused, match="is compressed, which is not done between nodes"):
            decoded(channel, Data(ATTEMPT, 3, 11, frame.height, 0), message)


def test_rows_of_other_columns_are_refused() -> None:
    header, body = only(codec({"a": pl.Int64()}), pl.DataFrame({"a": [1, 2]}))
    for schema in (
        {"a": pl.Int8()},
        {"a": pl.String()},
        {"a": pl.Int64(), "b": pl.Int64()},
        {},
        {"a": pl.Null()},
    ):
        with pytest.raises(FrameRefused):
            decoded(codec(schema), header, body)
    with pytest.raises(FrameRefused):
        decoded(codec({"a": pl.Int64()}), Data(ATTEMPT, 3, 11, 3, 0), body)


def test_hidden_columns_that_cannot_be_there_are_refused() -> None:
    channel = codec({"a": pl.Int64()})
    _, body = only(channel, pl.DataFrame({"a": [1]}))
    for hidden in (((9, WEIGHT),), ((0, "a"),), ((0, "__other"),), ((0, WEIGHT), (0, WEIGHT))):
        with pytest.raises(FrameRefused, match="is no hidden column that can be there"):
            decoded(channel, Data(ATTEMPT, 3, 11, 1, 0, hidden), body)


def test_a_refusal_names_the_column() -> None:
    channel = codec({"good": pl.Int64(), "bad": pl.String()})
    header, body = only(channel, pl.DataFrame({"good": [1], "bad": ["xyz"]}))
    with pytest.raises(FrameRefused) as caught:
        decoded(channel, header, bytes(body).replace(b"xyz", b"x\xffz"))
    assert caught.value.__notes__ == ["in column 'bad'"]
