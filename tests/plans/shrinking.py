"""Makes a failing plan small: whatever can be left out without the failure going away is left out."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.plans.model import Part, Plan, Source, Step
from tests.plans.running import Failure, OracleError, failure

SHRINKS_FOR_S = 60.0

T = TypeVar("T")


def shrunk(plan: Plan, found: Failure) -> tuple[Plan, Failure]:
    """The smallest plan that was found to fail in the same way, and how it fails."""
    deadline = time.monotonic() + SHRINKS_FOR_S
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(plan):
            if time.monotonic() > deadline:
                return plan, found
            other = _failure(candidate)
            if other is not None and other.kind == found.kind:
                plan, found, smaller = candidate, other, True
                break
    return plan, found


def _failure(plan: Plan) -> Failure | None:
    try:
        return failure(plan)
    except OracleError:
        return None


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans that are a little smaller, the much smaller ones first."""
    for last in range(1, len(plan.parts)):
        yield replace(plan, parts=plan.parts[:last]).tidy()
    for number, part in enumerate(plan.parts):
        if isinstance(part, Step):
            yield from (_without(plan, number, each) for each in part.inputs)
    if plan.parallelism > 1:
        yield from (replace(plan, parallelism=each) for each in (1, 2) if each < plan.parallelism)
    if plan.optimized:
        yield replace(plan, optimized=False)
    for number, part in enumerate(plan.parts):
        smaller = _smaller_source(part) if isinstance(part, Source) else _smaller_step(part)
        for each in smaller:
            yield replace(plan, parts=(*plan.parts[:number], each, *plan.parts[number + 1 :]))


def _without(plan: Plan, number: int, instead: int) -> Plan:
    """The plan without a verb: what takes from it takes from one of its inputs."""

    def rewired(part: Part) -> Part:
        if isinstance(part, Source):
            return part
        return replace(part, inputs=tuple(instead if each == number else each for each in part.inputs))

    parts = [rewired(part) for part in plan.parts]
    if number == len(parts) - 1:
        return replace(plan, parts=tuple(parts[: instead + 1])).tidy()
    return replace(plan, parts=tuple(parts)).tidy()


def _smaller_step(step: Step) -> Iterator[Step]:
    for name, parts in step.lists.items():
        if len(parts) > 1:
            yield from (replace(step, lists={**step.lists, name: rest}) for rest in _fewer(parts))


def _smaller_source(source: Source) -> Iterator[Source]:
    if source.times > 1:
        yield from (replace(source, times=each) for each in (1, source.times // 8, source.times // 2) if each)
    if source.how != "plain":
        yield replace(source, how="plain")
    if source.cuts != (1_000,):
        yield replace(source, cuts=(1_000,))
    if len(source.cuts) > 1:
        yield from (replace(source, cuts=(each,)) for each in source.cuts if each)
    if len(source.splits) > 1:
        yield from (replace(source, splits=rest) for rest in _fewer(source.splits))
    for number, split in enumerate(source.splits):
        for rest in _fewer(split):
            yield replace(source, splits=(*source.splits[:number], rest, *source.splits[number + 1 :]))
    for place, name in enumerate(source.dtypes):
        if len(source.dtypes) > 1 and name != source.time:
            yield replace(
                source,
                dtypes={other: dtype for other, dtype in source.dtypes.items() if other != name},
                splits=tuple(
                    tuple((*row[:place], *row[place + 1 :]) for row in split) for split in source.splits
                ),
            )


def _fewer(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """Without a half, a quarter, and so on, down to one item."""
    size = len(items)
    while size > 0:
        size = size // 2 if size > 1 else 0
        for start in range(0, len(items), max(1, size)):
            if size:
                yield (*items[:start], *items[start + size :])
