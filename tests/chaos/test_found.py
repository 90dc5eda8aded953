"""What the disturbed runs have found, each as small as it could be made."""

import polars as pl

import streame as st
from tests.durability.world import World


def test_a_job_with_a_table_that_had_finished_ends_at_once_when_it_is_started_again() -> None:
    world = World()
    for _ in range(2):
        rows = st.scan_frames([pl.DataFrame({"key": [1, 2]})], name="rows")
        table = st.scan_frames([pl.DataFrame({"key": [1], "name": ["a"]})], name="table")
        assert world.run({"out": rows.join(table.as_table("key"), on="key")}, parallelism=1)
    assert world.shelves["out"].rows(pl.Schema({"key": pl.Int64, "name": pl.String}), folds=False).height == 1
