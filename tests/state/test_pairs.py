"""Pairs get dense numbers, in a table or in an index, the same as in a dict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hst

from streame.state import pairs as module
from streame.state.pairs import Pairs


@pytest.mark.parametrize("table_max", [0, 4096, module.TABLE_MAX])
@given(hst.data())
def test_pairs_are_numbered_in_the_order_of_their_first_row(table_max: int, data: hst.DataObject) -> None:
    places = data.draw(hst.integers(1, 5))
    pairs, known = Pairs(places, table_max), dict[tuple[int, int], int]()
    if places == 1 and (taken := data.draw(hst.sampled_from([0, 3, 1024]))):
        pairs.take_all(taken)
        known = {(0, slot): slot for slot in range(taken)}
    assert pairs.may_be_empty == bool(known)
    for _ in range(data.draw(hst.integers(1, 6))):
        slots = np.array(
            data.draw(hst.lists(hst.sampled_from([0, 1, 2, 5, 700, 1023, 1024, 3000]))), np.int32
        )
        match data.draw(hst.sampled_from(["one", "many", "find", "rest", "renumber"])):
            case "one":
                place = data.draw(hst.integers(0, places - 1))
                found = pairs.numbers(place, slots)
                asked = [(place, slot) for slot in slots.tolist()]
                assert found.tolist() == [known.setdefault(pair, len(known)) for pair in asked]
            case "many":
                at = np.array([data.draw(hst.integers(0, places - 1)) for _ in slots], np.intp)
                found = pairs.numbers(at, slots)
                asked = list(zip(at.tolist(), slots.tolist(), strict=True))
                assert found.tolist() == [known.setdefault(pair, len(known)) for pair in asked]
            case "find":
                assert pairs.find(0, slots).tolist() == [known.get((0, slot), -1) for slot in slots.tolist()]
            case "rest":
                pairs.rest()
            case "renumber":
                pairs.renumber(np.arange(4000, dtype=np.int32)[::-1] % 3001)
                known = {(place, (3999 - slot) % 3001): number for (place, slot), number in known.items()}
        assert len(pairs) == len(known)
        assert list(zip(pairs.places.tolist(), pairs.slots.tolist(), strict=True)) == list(known)


def test_a_table_that_rests_takes_no_memory() -> None:
    pairs = Pairs(2)
    pairs.numbers(1, np.array([5], np.int32))
    size = pairs.memory_bytes
    pairs.rest()
    assert pairs.memory_bytes < size // 10
    assert pairs.numbers(1, np.array([5], np.int32)).tolist() == [0]
