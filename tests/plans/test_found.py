"""Random plans that once gave another answer than Polars, made small; each named for what was wrong."""

import pytest

from tests.plans.model import Plan, Source, Step
from tests.plans.prelude import inf
from tests.plans.running import failure

ONE_ROW = Source({"at": "pl.Int64()", "k": "pl.Float64()", "v": "pl.Int64()"}, (((8, 0.5, 1),),), "at")
TWO_SPLITS = Source(
    {"at": "pl.Int64()", "k": "pl.Float64()", "v": "pl.Int64()"},
    (((10, None, 0),), ((1, 1.5, 3), (2, None, 4))),
    "at",
    "1i",
    (1,),
)
INFINITE = Source(
    {"at": "pl.Int64()", "k": "pl.Float64()", "v": "pl.Int64()"},
    (tuple((at, inf, at) for at in range(8)),),
    "at",
)


def step(verb: str, of: int | tuple[int, ...], stream: str, polars: str) -> Step:
    return Step(verb, of if isinstance(of, tuple) else (of,), stream, polars)


WINDOWS = (
    "$a.group_by_dynamic('at', every='3i', period='6i', $name).agg(n=pl.len())",
    "windows($a, 'at', 2, every='3i', period='6i').agg(n=pl.len())",
)
SESSIONS = (
    "$a.group_by_session('at', gap='1i', group_by=['k'], $name).agg(n=pl.len())",
    "sessions($a, 'at', '1i', ['k'], [pl.len().alias('n')])",
)
SUMS = ("$a.group_by('k', $name).agg(v=pl.col('v').sum())", "$a.group_by('k').agg(v=pl.col('v').sum())")
MEDIANS = (
    "$a.rolling('at', period='6i', $name).agg(k=pl.col('k').median())",
    "rolling($a, 'at', period='6i').agg(k=pl.col('k').median())",
)
ASOF = (
    "$a.join_asof($b, on='at', suffix='_0', $name)",
    "asof($a, $b, ('at', 'at'), on='at', suffix='_0')",
)
COUNTS = (
    "$a.group_by('k', emit='on_close', $name).agg(n=pl.len())",
    "$a.group_by('k').agg(n=pl.len())",
)

FOUND = {
    "the end came twice, the first time while others were idle": Plan(
        (TWO_SPLITS, step("sums", 0, *SUMS), step("counts", 1, *COUNTS)), 3
    ),
    "a stream that had ended was idle, and its last windows were late": Plan(
        (ONE_ROW, step("windows", 0, *WINDOWS), ONE_ROW, step("asof", (1, 2), *ASOF))
    ),
    "rows out of a session have no position": Plan(
        (
            TWO_SPLITS,
            step("sessions", 0, *SESSIONS),
            step(
                "top_k",
                1,
                "$a.top_k(2, by=['end', 'k'], $name)",
                "best($a, 2, ['end', 'k'], [False, False], [])",
            ),
        ),
        2,
    ),
    "the median of two infinities was none where Polars' rolling kernels took it": Plan(
        (INFINITE, step("medians", 0, *MEDIANS))
    ),
}


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("parallelism", [0, 1, 3])
def test_it_gives_what_polars_gives(name: str, parallelism: int) -> None:
    plan = FOUND[name]
    for _ in range(5):
        found = failure(Plan(plan.parts, parallelism or plan.parallelism, optimized=bool(parallelism)))
        assert found is None, found.text
