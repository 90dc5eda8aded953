"""A failing plan becomes small, and its script fails by itself; the script of a right one does not."""

import subprocess
import sys

import pytest

from tests.plans.generator import plan
from tests.plans.model import Plan, Source, Step
from tests.plans.running import failure
from tests.plans.shrinking import shrunk

ROWS = tuple((number, number % 5, f"s{number}") for number in range(40))

LARGE = Plan(
    (
        Source({"at": "pl.Int64()", "v": "pl.Int64()", "s": "pl.String()"}, (ROWS[::2], ROWS[1::2]), "at", "5i", (3,)),
        Source({"v": "pl.Int64()"}, (((1,),),)),
        Step("select", (0,), "$a.select('at', 'v')", "$a.select('at', 'v')"),
        Step("wrong", (2,), "$a.filter(pl.col('v') >= 3)", "$a.filter(pl.col('v') > 3)"),
        Step("concat", (3, 2), "st.concat([$a, $b])", "pl.concat([$a, $b])"),
        Step("group_by", (4,), "$a.group_by('v', $name).agg($aggs)", "$a.group_by('v').agg($aggs)", {
            "aggs": ("n=pl.len()", "top=pl.col('at').max()", "low=pl.col('at').min()")
        }),
    ),
    parallelism=3,
)  # fmt: skip


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=False)


def test_a_failing_plan_becomes_small_and_its_script_fails_by_itself() -> None:
    found = failure(LARGE)
    assert found is not None
    smallest, how = shrunk(LARGE, found)
    source, step = smallest.parts
    assert isinstance(source, Source)
    assert isinstance(step, Step)
    assert step.verb == "wrong"
    assert [len(split) for split in source.splits] == [1]
    assert list(source.dtypes) == ["at", "v"]
    assert (smallest.parallelism, smallest.optimized, source.cuts) == (1, False, (1_000,))
    ran = run(smallest.script(f"Seed 5: {how.text}"))
    assert ran.returncode == 1
    assert "AssertionError: 1 rows, of 0" in ran.stderr


@pytest.mark.parametrize("number", range(3))
def test_the_script_of_a_right_plan_runs(number: int, seed: int) -> None:
    ran = run(plan(seed + number)[0].script())
    assert ran.returncode == 0, ran.stderr
