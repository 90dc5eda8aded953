"""A split that is handed on in parts goes on at the exact row, however it is cut after the restart."""

import numpy as np
import polars as pl
import pytest

from streame.core.clock import SystemClock
from streame.errors import SourceDataLost
from streame.io.source import Chunk
from streame.runtime.cut_chunks import cut
from streame.runtime.split_reader import SplitReader
from tests.isolation.deaths import Pieces

BAD = range(0, 300, 7)


def reader_of(numbers: range, random: np.random.Generator) -> SplitReader:
    return SplitReader("numbers", Pieces({"a": numbers}, random, BAD, size=40), SystemClock())


def chunks_of(reader: SplitReader) -> list[Chunk]:
    found = []
    while not reader.ended:
        found += [item[1] for item in reader.round() if isinstance(item, tuple)]
    return found


def test_rows_and_their_positions_stay_together() -> None:
    bad = Pieces({"a": range(20)}, np.random.default_rng(0), [3], size=100)
    (whole, *_) = (chunk for chunk in bad.read("a", None) if chunk is not None)
    head, rest = cut(whole, 2)
    assert head.frame["n"].to_list() == [0, 1]
    assert head.offsets is not None
    assert head.offsets().tolist() == [0, 1]
    assert (len(head.rejected), len(rest.rejected)) == (len(whole.rejected), 0)
    assert rest.offsets is not None
    assert rest.offsets().tolist() == rest.frame["n"].to_list()
    assert pl.concat([head.frame, rest.frame]).equals(whole.frame)
    assert rest.next_offset == whole.next_offset


@pytest.mark.parametrize("number", range(50))
def test_every_row_goes_on_once_however_it_is_cut(number: int, seed: int) -> None:
    random = np.random.default_rng([seed, number])
    position, rows, bad = None, list[int](), list[int | None]()
    while True:
        reader = reader_of(range(300), random)
        if position is not None:
            reader.restore(position)
        ends = random.random() < 0.1
        for split, chunk in (item for _ in range(3) for item in reader.round() if isinstance(item, tuple)):
            rest: Chunk | None = chunk
            while rest is not None and chunk.frame.height:
                part, rest = cut(rest, int(random.integers(1, 1 + rest.frame.height)))
                rows += part.frame["n"].to_list()
                bad += [each.offset for each in part.rejected]
                reader.handed_on_part(split, part)
                if not rest.frame.height:
                    rest = None
                elif not ends and random.random() < 0.3:
                    break
            else:
                bad += [] if chunk.frame.height else [each.offset for each in chunk.rejected]
                reader.handed_on(split, chunk)
                continue
            break
        position = reader.position()
        if reader.ended:
            break
        reader.close()
    assert rows == [each for each in range(300) if each not in BAD]
    assert bad == list(BAD)


def test_a_split_that_ends_before_the_place_has_lost_rows() -> None:
    random = np.random.default_rng(0)
    reader = reader_of(range(300), random)
    reader.restore({"offsets": {}, "read": [], "within": {"a": [50, 0]}})
    assert sum(chunk.frame.height for chunk in chunks_of(reader)) == 300 - len(BAD) - 50
    reader = reader_of(range(20), random)
    reader.restore({"offsets": {}, "read": [], "within": {"a": [50, 0]}})
    with pytest.raises(SourceDataLost, match="split a: it ends 33 rows before the place"):
        chunks_of(reader)
