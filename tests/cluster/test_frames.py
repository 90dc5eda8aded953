"""Frames: what is packed comes back, and whatever else comes is refused."""

import struct

import msgspec
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from streame.cluster import frames
from streame.cluster.frames import (
    FRAME_BYTES_MAX,
    Attempt,
    Data,
    Frame,
    FrameRefused,
    More,
    Ping,
    frames_of,
    pack,
    unpack,
)
from tests.examples import examples

NUMBERS = st.integers(0, 2**62)
TICKS = st.integers(-(2**63), 2**63 - 1)
CHANNELS = st.integers(0, 2**16)
TEXTS = st.text(max_size=20)
PAIRS = st.tuples(TEXTS, TEXTS)
ATTEMPTS = st.builds(Attempt, NUMBERS, NUMBERS)

FRAMES: SearchStrategy[Frame] = st.one_of(
    st.builds(frames.Open, ATTEMPTS, CHANNELS, TEXTS, st.binary(min_size=16, max_size=16), TEXTS),
    st.builds(
        Data, ATTEMPTS, CHANNELS, NUMBERS, st.integers(0, 65_536), st.integers(0, frames.BODY_BYTES_MAX),
        st.lists(st.tuples(CHANNELS, TEXTS), max_size=8).map(tuple),
        st.none() | PAIRS, st.none() | PAIRS, st.none() | st.tuples(TICKS, TICKS),
    ),
    st.builds(frames.More, ATTEMPTS, CHANNELS, NUMBERS),
    st.builds(frames.Barrier, ATTEMPTS, CHANNELS, NUMBERS, NUMBERS),
    st.builds(frames.Watermark, ATTEMPTS, CHANNELS, NUMBERS, st.none() | TICKS),
    st.builds(frames.Split, ATTEMPTS, CHANNELS, NUMBERS, PAIRS, st.text(max_size=16), st.none() | NUMBERS),
    st.builds(frames.End, ATTEMPTS, CHANNELS, NUMBERS),
    st.builds(frames.Credit, ATTEMPTS, CHANNELS, NUMBERS),
    st.builds(frames.Unread, ATTEMPTS, CHANNELS),
    st.builds(frames.Ack, ATTEMPTS, NUMBERS, st.lists(TEXTS).map(tuple), st.lists(st.binary()).map(tuple)),
    st.builds(frames.Ping, ATTEMPTS, NUMBERS),
    st.builds(frames.Pong, ATTEMPTS, NUMBERS),
)  # fmt: skip

PING = pack(Ping(Attempt(7, 1), 3))


def sealed(header: bytes, body: bytes = b"") -> bytes:
    """A frame with a right digest around any header: what an attacker within the cluster can make."""
    lengths = struct.pack("<III", len(header), 0, len(body))
    digest = xxhash.xxh3_64_intdigest(lengths + header + body)
    return b"SF03" + lengths + struct.pack("<Q", digest) + header + body


@given(FRAMES, st.binary(max_size=40))
def test_what_is_packed_comes_back(frame: Frame, body: bytes) -> None:
    body = body if isinstance(frame, Data | More) else b""
    back, found = unpack(pack(frame, body[:3], body[3:]))
    assert (back, bytes(found)) == (frame, body)


@given(st.lists(FRAMES, max_size=5), st.data())
def test_frames_of_one_message_come_apart_again(several: list[Frame], data: st.DataObject) -> None:
    message = b"".join(map(pack, several))
    assert [unpack(each)[0] for each in frames_of(message)] == several
    cut = data.draw(st.integers(0, len(message)))
    whole = 0
    for each in frames_of(message[:cut]):
        try:
            assert unpack(each)[0] == several[whole]
        except FrameRefused:
            continue
        whole += 1
    assert whole == sum(cut >= sum(len(pack(each)) for each in several[: n + 1]) for n in range(len(several)))


@given(FRAMES, st.binary(max_size=40), st.data())
def test_a_frame_with_a_changed_bit_is_refused(frame: Frame, body: bytes, data: st.DataObject) -> None:
    packed = bytearray(pack(frame, body if isinstance(frame, Data | More) else b""))
    bit = data.draw(st.integers(0, 8 * len(packed) - 1))
    packed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FrameRefused):
        unpack(bytes(packed))


@given(FRAMES, st.data())
def test_a_frame_that_was_cut_or_goes_on_is_refused(frame: Frame, data: st.DataObject) -> None:
    packed = pack(frame)
    cut = data.draw(st.integers(0, len(packed) - 1))
    for wrong in (packed[:cut], packed[cut + 1 :], packed + packed, packed + b"\0"):
        with pytest.raises(FrameRefused):
            unpack(wrong)


@settings(max_examples=examples(300))
@given(st.binary(max_size=300))
@example(b"")
@example(b"SF03")
@example(b"\xff" * 64)
def test_bytes_that_are_no_frame_are_refused(data: bytes) -> None:
    with pytest.raises(FrameRefused):
        unpack(data)


@settings(max_examples=examples(300))
@given(st.binary(max_size=60) | FRAMES.map(msgspec.msgpack.encode), st.binary(max_size=4), st.data())
def test_any_header_with_a_right_digest_is_understood_or_refused(
    header: bytes, junk: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(header)))
    changed = header[:at] + junk + header[at + data.draw(st.integers(0, 4)) :]
    try:
        frame, _ = unpack(sealed(changed))
    except FrameRefused:
        return
    assert unpack(pack(frame))[0] == frame


@pytest.mark.parametrize(
    "header",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of four billion
        b"\x9a" * 1000,  # arrays within arrays
        b"\x93\x0a\x92\x07\x01\xc6\xff\xff\xff\xff",  # four billion bytes in the place of a number
        b"\x94\x09\x92\x07\x01\x01\xdd\xff\xff\xff\xff",  # four billion names
        b"\x93\x0a\x92\x07\x01\xff",  # a negative number
        b"\x94\x0a\x92\x07\x01\x03\x03",  # a field too many
        b"\x93\x63\x92\x07\x01\x03",  # a kind that does not exist
    ],
)
def test_a_header_that_promises_too_much_is_refused(header: bytes) -> None:
    with pytest.raises(FrameRefused, match="cannot be understood"):
        unpack(sealed(header))


def test_sizes_are_checked_before_anything_is_made() -> None:
    with pytest.raises(FrameRefused, match=r"there are none of .* more than 16,777,216"):
        unpack(bytes(FRAME_BYTES_MAX + 1))
    with pytest.raises(FrameRefused, match="says that it has a header of"):
        unpack(PING[:4] + struct.pack("<I", 2**31) + PING[8:])
    with pytest.raises(FrameRefused, match="the other node is of another version"):
        unpack(b"SF99" + PING[4:])
    with pytest.raises(FrameRefused, match="only Data and More have one"):
        unpack(sealed(msgspec.msgpack.encode(Ping(Attempt(7, 1), 3)), b"body"))


def test_attempts_are_ordered_by_epoch_first() -> None:
    assert Attempt(7, 9) < Attempt(8, 1) < Attempt(8, 2)
    assert str(Attempt(8, 2)) == "8.2"
