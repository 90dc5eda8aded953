"""What was said last: a dict from group to row, in columns."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streame.state.said import Said

SCHEMA = pl.Schema({"n": pl.Int64()})
GROUPS = st.lists(st.integers(0, 20), unique=True, max_size=8)


@given(st.lists(st.tuples(st.sampled_from(["say", "forget"]), GROUPS), max_size=30))
def test_it_is_a_dict_from_group_to_row(steps: list[tuple[str, list[int]]]) -> None:
    said, known = Said(SCHEMA), dict[int, int]()
    for number, (step, listed) in enumerate(steps):
        groups = np.array(listed, np.int32)
        if step == "say":
            said.say(groups, pl.DataFrame({"n": [number] * len(listed)}, schema=SCHEMA))
            known.update(dict.fromkeys(listed, number))
        else:
            said.forget(groups)
            known = {group: row for group, row in known.items() if group not in listed}
        assert len(said) == len(known)
        rows, there = said.last(np.arange(21))
        assert rows["n"].to_list() == [known.get(group) for group in range(21)]
        assert there.tolist() == [group in known for group in range(21)]


def test_what_was_replaced_is_freed() -> None:
    said = Said(SCHEMA)
    groups = np.arange(100)
    for number in range(200):
        said.say(groups, pl.DataFrame({"n": np.full(100, number)}))
    assert said.memory_bytes < 50_000
    assert said.last(groups)[0]["n"].unique().to_list() == [199]
