"""What is kept as bytes comes back as it was, or is refused at once."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as hst
from polars.testing import assert_frame_equal

from streame.core.encoding import ValueCodec

scalars = hst.one_of(
    hst.none(), hst.booleans(), hst.integers(-(2**63), 2**63 - 1), hst.floats(), hst.text(), hst.binary()
)
values = hst.recursive(
    scalars,
    lambda below: hst.lists(below, max_size=4) | hst.dictionaries(hst.text(max_size=3), below, max_size=4),
    max_leaves=12,
)


def kept(value: Any) -> Any:
    """The value after a round trip."""
    codec = ValueCodec(type(value))
    return codec.decode(codec.encode(value))


@given(values)
def test_plain_values_come_back(value: Any) -> None:
    assert repr(kept(value)) == repr(value)


class Visit(NamedTuple):
    page: str
    at: datetime


class Totals(msgspec.Struct):
    count: int = 0
    days: list[date] = []


@dataclass
class Cart:
    items: dict[str, tuple[int, float]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    rows: pl.DataFrame | None = None


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        (1, "a", None),
        datetime(2024, 1, 1),  # noqa: DTZ001 - a state may have no zone
        {"at": datetime(2024, 1, 1, tzinfo=UTC)},
        Visit("home", datetime(2024, 1, 1, tzinfo=UTC)),
        Totals(3, [date(2024, 1, 1)]),
        Cart({"tea": (2, 1.5)}, {"a", "b"}),
        Cart({"tea": (2, math.nan)}),
        {"nan": [math.nan]},
    ],
)
def test_values_of_a_class_come_back(value: Any) -> None:
    assert repr(kept(value)) == repr(value)
    assert type(kept(value)) is type(value)


def test_frames_come_back_wherever_they_stand() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [["x"], []], "c": pl.Series(["u", "v"], dtype=pl.Categorical)})
    assert_frame_equal(kept(frame), frame)
    assert_frame_equal(kept({"rows": [frame]})["rows"][0], frame)
    series = kept({"last": frame["c"]})["last"]
    assert series.name == "c"
    assert series.to_list() == ["u", "v"]

    class Kept(msgspec.Struct):
        frame: pl.DataFrame

    assert_frame_equal(kept(Kept(frame)).frame, frame)


def test_what_comes_back_is_another_object() -> None:
    codec = ValueCodec(dict)
    data = codec.encode({"a": []})
    codec.decode(data)["a"].append(1)
    assert codec.decode(data) == {"a": []}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": (1, 2)}, r"it\['a'\] is a tuple and would come back as a list"),
        ({"a": [{"b": {1}}]}, r"it\['a'\]\[0\]\['b'\] is a set"),
        ({"at": datetime(2024, 1, 1)}, r"it\['at'\] is a datetime and would come back as a str"),  # noqa: DTZ001
        (defaultdict(int), "defaultdict"),
        ({"a": 2**70}, "cannot be encoded"),
        (object(), "a object has no encoding"),
        (len, "has no encoding"),
        ({"f": [pl.col("a")]}, "a Expr has no encoding"),
    ],
)
def test_what_would_not_come_back_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kept(value)


def test_a_state_keeps_its_class() -> None:
    codec = ValueCodec(Totals)
    with pytest.raises(ValueError, match="it is a dict, but began as a Totals"):
        codec.encode({"count": 1})
    plain = ValueCodec(type(None))
    assert plain.decode(plain.encode({"n": 1})) == {"n": 1}
