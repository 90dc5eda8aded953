"""What is large on its way to another node: rows longer than a frame, lists of bits, and rows that wait for a table."""

import numpy as np
import polars as pl
import pytest

import streame as st
from streame.io.memory import MemorySink
from streame.plan.nodes import Write
from streame.plan.optimizer import optimize
from tests.cluster.together import run_together

ON_ANOTHER_NODE = [1, 1]

pytestmark = pytest.mark.timeout(120)


def there(stream: st.StreamDataFrame) -> pl.DataFrame:
    """The rows of a stream whose keyed verbs are on another node."""
    sink = MemorySink(folds=stream.node.is_changes)
    written = optimize((Write(stream.node, lambda: sink, "out"),))
    run_together([node for node in written if isinstance(node, Write)], ON_ANOTHER_NODE)
    return sink.frame()


def test_rows_that_wait_for_a_table_made_of_the_same_rows_do_not_hold_them_up() -> None:
    text = "x" * 200_000
    frames = [pl.DataFrame({"k": range(at, at + 10), "text": [text] * 10}) for at in range(0, 300, 10)]
    rows = st.scan_frames(frames, name="rows")
    joined = rows.join(rows.select("k", n=pl.col("k") * 2).as_table("k"), on="k")
    found = there(joined.select("k", "n", size=pl.col("text").str.len_bytes())).sort("k")
    assert found.rows() == [(k, 2 * k, 200_000) for k in range(300)]


def test_one_key_of_a_window_may_have_more_distinct_values_than_fit_into_a_frame() -> None:
    frames = [
        pl.DataFrame({"at": [5 + at] * 30_000, "page": ["home"] * 30_000, "visit": range(at * 30_000, (at + 1) * 30_000)})
        .with_columns(visit=pl.format("visit-{}-of-somebody-on-the-home-page", "visit"))
        for at in range(16)
    ]  # fmt: skip
    rows = st.scan_frames(frames, name="rows").with_event_time("at")
    windows = rows.group_by_dynamic("at", every="1000i", group_by="page").agg(n=pl.col("visit").n_unique())
    assert there(windows)["n"].to_list() == [480_000]


@pytest.mark.parametrize("size", [8_388_609, 15_000_000, 40_000_000])
def test_a_row_may_be_longer_than_a_frame(size: int) -> None:
    frames = [pl.DataFrame({"k": [1, 2, 3], "text": ["a", letter * size, "c"]}) for letter in ("x", "y", "z")]
    found = there(st.scan_frames(frames, name="rows").unique("k", keep="first")).sort("k")
    assert found["text"].str.len_bytes().to_list() == [1, size, 1]
    assert found["text"][1] == "x" * size


def test_lists_of_bits_may_have_more_elements_than_a_frame_has_bytes() -> None:
    values = pl.Series("bits", np.arange(65_536 * 300) % 7 == 0).reshape((65_536, 300)).arr.to_list()
    bits = pl.DataFrame({"k": range(65_536), "bits": values})
    found = there(st.scan_frames([bits], name="rows").unique("k", keep="first")).sort("k")
    assert found.equals(bits)
