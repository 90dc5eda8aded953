"""The strategies give what they promise, and importing `streame.testing` does not need Hypothesis."""

import subprocess
import sys
from collections.abc import Callable

import polars as pl
from hypothesis import find, given, settings
from hypothesis import strategies as hst
from polars.testing import assert_frame_equal

from streame.testing import strategies


@given(hst.data())
@settings(max_examples=40)
def test_cuts_are_the_frame_again(data: hst.DataObject) -> None:
    schema = data.draw(strategies.schemas())
    frame = data.draw(strategies.frames(schema))
    assert frame.schema == schema
    cuts = data.draw(strategies.batch_cuts(frame))
    assert_frame_equal(pl.concat(cuts), frame)


@given(hst.data())
@settings(max_examples=20)
def test_keys_meet(data: hst.DataObject) -> None:
    key = {f"k{number}": dtype for number, dtype in enumerate(strategies.KEYS)}
    frame = data.draw(strategies.keyed_frames(key, {"v": pl.Int64()}))
    assert frame.schema == pl.Schema({**key, "v": pl.Int64()})


def _has_height(size: int) -> Callable[[list[pl.DataFrame]], bool]:
    return lambda cuts: any(cut.height == size for cut in cuts)


def test_large_frames_are_cut_at_their_edges() -> None:
    frame = strategies.tiled(pl.DataFrame({"n": [1, 2, 3]}), 70_000)
    assert frame["n"].head(4).to_list() == [1, 2, 3, 1]
    for size in (1023, 65_537):
        cuts = find(strategies.batch_cuts(frame), _has_height(size))
        assert sum(cut.height for cut in cuts) == frame.height


def test_hypothesis_is_not_needed_to_drive_a_pipeline() -> None:
    program = "import sys, streame.testing; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
