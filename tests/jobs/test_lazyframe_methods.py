"""Every public method of `polars.LazyFrame` works on a stream, or is refused by name with the reason."""

import inspect

import polars as pl
import pytest

import streame as st
from streame.api.refused import REFUSED

METHODS = sorted(name for name in dir(pl.LazyFrame) if not name.startswith("_"))


def stream() -> st.StreamDataFrame:
    return st.scan_frames([pl.DataFrame({"n": [1]})])


def works(name: str) -> bool:
    return name in dir(st.StreamDataFrame)


def test_there_are_methods() -> None:
    assert len(METHODS) > 80
    assert {"filter", "select", "join", "collect", "schema"} <= {name for name in METHODS if works(name)}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_works_or_is_refused_with_the_reason(name: str) -> None:
    if works(name):
        assert name not in REFUSED, "it is there, so it is not refused"
        getattr(stream(), name)
        return
    with pytest.raises(st.PlanError, match=f"^{name} is refused: .{{8,}}"):
        getattr(stream(), name)
    assert not hasattr(stream(), name)


def test_only_methods_of_polars_are_refused() -> None:
    assert set(REFUSED) <= set(METHODS), set(REFUSED) - set(METHODS)


@pytest.mark.parametrize(
    "name", [name for name in METHODS if works(name) and callable(getattr(pl.LazyFrame, name))]
)
def test_arguments_are_those_of_polars_in_their_order(name: str) -> None:
    theirs = inspect.signature(getattr(pl.LazyFrame, name)).parameters
    ours = inspect.signature(getattr(st.StreamDataFrame, name)).parameters
    if name.startswith("sink_") or name in {"collect", "explain", "map_batches"}:
        return  # these run something, or have arguments of a stream
    assert [each for each in ours if each in theirs] == [each for each in theirs if each in ours]
    missing = set(theirs) - set(ours)
    assert not missing, f"arguments of Polars that are not there: {missing}"


def test_an_unknown_name_is_no_method() -> None:
    with pytest.raises(AttributeError, match="no method 'fliter'"):
        stream().fliter  # noqa: B018
    assert not hasattr(stream(), "__array__")
