"""Numbers in fewer bytes: all come back, close ones take less, and bytes that mean harm are refused."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.cluster.frames import FrameRefused
from streame.cluster.narrowing import NUMBERS_MIN, Kind, Run, narrowed, widened
from tests.examples import examples

LEAST, MOST = -(2**63), 2**63 - 1
NUMBERS = st.one_of(
    st.lists(st.integers(LEAST, MOST), max_size=4),
    st.builds(
        lambda start, span, count, seed: np.random.default_rng(seed).integers(start, start + span, count).tolist(),
        st.integers(LEAST, MOST - 2**40),
        st.sampled_from([1, 2, 255, 256, 257, 65_536, 65_537, 2**32, 2**32 + 1, 2**40]),
        st.integers(0, 2 * NUMBERS_MIN),
        st.integers(0, 99),
    ),
)  # fmt: skip
PART = st.tuples(st.binary(max_size=20), NUMBERS, st.sampled_from([Kind.NEAR, Kind.RISING]), st.booleans())


def part(before: bytes, numbers: list[int], kind: Kind, rises: bool) -> tuple[memoryview, list[Run]]:
    """Some bytes, and then numbers."""
    array = np.array(sorted(numbers) if rises else numbers, np.int64)
    return memoryview(before + array.tobytes()), [Run(len(before), array.nbytes, kind)]


def body_of(*parts: tuple[memoryview, list[Run]]) -> tuple[memoryview, int]:
    return memoryview(b"".join(narrowed(parts))), sum(len(data) for data, _ in parts)


@settings(max_examples=examples(300))
@given(st.lists(PART, max_size=2))
def test_all_numbers_come_back(drawn: list[tuple[bytes, list[int], Kind, bool]]) -> None:
    parts = [part(*each) for each in drawn]
    assert b"".join(widened(*body_of(*parts))) == b"".join(data for data, _ in parts)


@pytest.mark.parametrize(
    ("numbers", "kind", "width"),
    [
        (range(LEAST, LEAST + 256), Kind.NEAR, 1),
        (range(MOST - 256, MOST), Kind.NEAR, 1),
        (range(257), Kind.NEAR, 2),
        (range(257), Kind.RISING, 1),
        (range(0, 2**40, 2**32 - 1), Kind.RISING, 4),
        (range(0, 2**40, 2**32), Kind.RISING, 8),
        (range(300, 0, -1), Kind.RISING, 8),
        ([LEAST, MOST] * NUMBERS_MIN, Kind.NEAR, 8),
        ([LEAST] * NUMBERS_MIN + [MOST], Kind.RISING, 8),
        (range(NUMBERS_MIN - 1), Kind.NEAR, 8),
    ],
)
def test_each_number_takes_as_few_bytes_as_it_can(numbers: list[int], kind: Kind, width: int) -> None:
    body, size = body_of(part(b"", list(numbers), kind, rises=False))
    table = 8 + 16
    assert len(body) == table + -(-len(numbers) * width // 8) * 8
    assert b"".join(widened(body, size)) == np.array(numbers, np.int64).tobytes()


@pytest.mark.parametrize(
    ("body", "size", "message"),
    [
        (b"1234567", 0, "has no segments"),
        (struct.pack("<Q", 2**60), 0, "says that it has"),
        (struct.pack("<QBBxxIq", 1, 1, 4, 128, 0), 1024, "has a segment of 512 at 24"),
        (struct.pack("<QBBxxIq512x", 1, 1, 4, 128, 0), 1023, "which stands for 1,024"),
        (struct.pack("<QBBxxIq8x", 1, 1, 3, 1, 0), 8, "numbers of 3 bytes"),
        (struct.pack("<QBBxxIq128x", 1, 9, 1, 128, 0), 1024, "no segments of kind 9"),
        (struct.pack("<QBBxxIq128x", 1, 1, 1, 127, 0), 1016, "a segment of 127 would take more"),
        (struct.pack("<QBBxxIq", 1, 0, 1, 0, 0), 0, "a segment of 0 would take more"),
        (struct.pack("<Q", 3) + struct.pack("<BBxxIq", 0, 1, 8, 0) * 3 + bytes(24), 24, "follow each other"),
        (struct.pack("<QBBxxIq8x", 1, 0, 1, 8, 5), 8, "numbers of 1 bytes"),
        (struct.pack("<QBBxxIq8x", 1, 0, 1, 8, 0), 9, "lacks 1 of 9"),
        (struct.pack("<QBBxxIq16x", 1, 0, 1, 8, 0), 8, "ends at 32"),
        (struct.pack("<QBBxxIq4x", 1, 0, 1, 4, 0), 4, "ends at 32"),
    ],
)
def test_bodies_that_are_none_are_refused(body: bytes, size: int, message: str) -> None:
    with pytest.raises(FrameRefused, match=message):
        widened(memoryview(body), size)
