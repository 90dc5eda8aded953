"""What a changes stream has said so far comes, at every moment, to what Polars gives for the rows so far."""

import re
from dataclasses import replace
from random import Random
from typing import Any

import polars as pl
import pytest

from streame.core.changes import fold
from streame.testing import Driver
from tests.examples import examples
from tests.plans import prelude, row_wise_verbs
from tests.plans.generator import Verb, plan
from tests.plans.grouping_verbs import group_by, top_k
from tests.plans.join_verbs import join
from tests.plans.model import Part, Plan, Source
from tests.plans.running import Built, OracleError

PLANS = 40

pytestmark = pytest.mark.timeout(600)

VERBS: dict[Verb, int] = {**row_wise_verbs.VERBS, group_by: 8, top_k: 4, join: 6}
"""Verbs that answer every batch at once."""


def at_once(one: Plan) -> Plan:
    """The same plan, each of whose verbs answers every batch at once."""

    def changed(part: Part) -> Part:
        if isinstance(part, Source):
            return replace(part, times=1, on_error="fail")
        return replace(part, stream=re.sub(r", emit='\w+'", "", part.stream))

    return replace(one, parts=tuple(changed(part) for part in one.parts))


def follow(one: Plan, random: Random) -> None:
    """Push the rows in small batches, sources and splits by chance; compare after each."""
    built = Built()
    for number, part in enumerate(one.parts):
        built.add(number, part)
    last = len(one.parts) - 1
    stream = built.stream(last)
    sources = [number for number, part in enumerate(one.parts) if isinstance(part, Source)]
    left = {(each, place): frame for each in sources for place, frame in enumerate(built.names[f"s{each}"])}
    given = {place: frame.clear() for place, frame in left.items()}
    splits = {f"source {each}": [f"split {split}" for n, split in left if n == each] for each in sources}
    said = [pl.DataFrame(schema={**stream.schema, "_diff": pl.Int64})]
    with Driver(stream, splits=splits, parallelism=one.parallelism) as driver:
        while left := {place: frame for place, frame in left.items() if frame.height}:
            source, split = place = random.choice(list(left))
            size = random.randint(1, 6)
            batch, left[place] = left[place][:size], left[place][size:]
            given[place] = pl.concat([given[place], batch])
            driver.push(batch, to=f"source {source}", split=f"split {split}")
            said += driver.take()
            differs = prelude.difference(fold(pl.concat(said)), in_polars(one, given))
            assert not differs, f"{differs}\n{one.script()}"


def in_polars(one: Plan, given: dict[tuple[int, int], pl.DataFrame]) -> pl.DataFrame:
    """What Polars gives for the rows so far of each source and split."""
    names: dict[str, Any] = dict(vars(prelude))
    for number, part in enumerate(one.parts):
        if isinstance(part, Source):
            splits = [frame for (source, _), frame in given.items() if source == number]
            names[f"p{number}"] = prelude.in_order(splits, part.time)
        else:
            *_, line = part.code(number)
            exec(line, names)  # noqa: S102 - it is our own
    return names[f"p{len(one.parts) - 1}"]  # type: ignore[no-any-return]


def test_folds_are_right_after_every_batch(seed: int) -> None:
    done = number = 0
    while done < examples(PLANS):
        number += 1
        one, stream, _ = plan(seed + number, VERBS)
        if not stream.node.is_changes:
            continue
        try:
            follow(at_once(one), Random(seed + number))
        except OracleError:
            continue
        done += 1
