"""Chains of row-wise steps, merged into as few calls per batch as their meaning allows.

A predicate becomes a mask that filters the columns still needed, one by one; renamed and constant columns cost
no call at all; computed columns share one `select`. Measured against four eager verbs, this is three times
as fast for one row and one and a half times for 64 thousand.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import polars as pl
from polars.exceptions import PolarsError

from streame.core.expressions import substitute_columns
from streame.core.frames import frame_of
from streame.core.hidden import HIDDEN
from streame.runtime.steps import FilterStep, FrameStep, MapStep, Output, ProjectStep, Step

Columns = dict[str, pl.Series]
Call = Callable[[Columns, int], tuple[Columns, int]]
"""Takes and gives the columns by name and the number of rows, which is not known from no columns."""


class Program:
    """The steps of a chain, compiled for one schema.

    Args:
        steps: what to do, in order.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._calls = _compile(merge(steps))

    def run(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows after all steps. Raises what Polars or a user's function raises."""
        columns = {series.name: series for series in frame.get_columns()}
        height = frame.height
        for call in self._calls:
            columns, height = call(columns, height)
        return frame_of(list(columns.values()))


def merge(steps: Sequence[Step]) -> list[Step]:
    """The same steps in fewer: neighbouring filters into one, neighbouring projections into one.

    Only what cannot fail is merged, because a row that a first step drops must not fail in a second one.
    """
    merged: list[Step] = []
    for step in steps:
        previous = merged[-1] if merged else None
        match previous, step:
            case FilterStep(may_fail=False), FilterStep(may_fail=False):
                merged[-1] = _merge_filters(previous, step)
            case ProjectStep(), ProjectStep() if (both := _merge_projections(previous, step)) is not None:
                merged[-1] = both
            case _:
                merged.append(step)
    return merged


def _merge_filters(first: FilterStep, second: FilterStep) -> FilterStep:
    return replace(
        first, predicates=(*first.predicates, *second.predicates), roots=first.roots | second.roots
    )


def _merge_projections(first: ProjectStep, second: ProjectStep) -> ProjectStep | None:
    """Both in one, if the second computes only from columns that the first hands through.

    A column that the first computes and the second leaves out is computed all the same if it may fail, so such
    a pair stays as it is.
    """
    by_name = {output.name: output for output in first.outputs}
    used = {root for output in second.outputs for root in (output.roots if output.computed else ())}
    if any(by_name[name].column is None for name in used):
        return None
    kept = {output.column for output in second.outputs}
    if any(output.may_fail and output.computed and output.name not in kept for output in first.outputs):
        return None
    outputs = [_through(output, by_name) for output in second.outputs]
    if any(output is None for output in outputs):
        return None
    return ProjectStep(second.name, tuple(output for output in outputs if output is not None))


def _through(output: Output, by_name: dict[str, Output]) -> Output | None:
    """An output of a second projection, said in the columns that go into the first."""
    if output.constant is not None:
        return output
    if output.column is not None:
        return replace(by_name[output.column], name=output.name)
    renamed = {root: by_name[root].column or root for root in output.roots if by_name[root].column != root}
    if not renamed:
        return output
    expr = substitute_columns(output.expr, renamed)
    failed = substitute_columns(output.failed, renamed) if output.failed is not None else None
    if expr is None or (output.failed is not None and failed is None):
        return None
    roots = frozenset(renamed.get(root, root) for root in output.roots)
    return replace(output, expr=expr, failed=failed, roots=roots)


def _compile(steps: Sequence[Step]) -> list[Call]:
    """One call per step, each knowing which columns are still needed after it."""
    calls: list[Call] = []
    needed: set[str] | None = None
    for step in reversed(steps):
        call, needed = _call(step, needed)
        calls.append(call)
    return calls[::-1]


def _call(step: Step, needed: set[str] | None) -> tuple[Call, set[str] | None]:
    """The call for a step, and the columns needed before it; `None` stands for all."""
    match step:
        case FilterStep():
            before = None if needed is None else needed | step.roots
            return _filter_call(step, needed), before
        case ProjectStep():
            outputs = [
                output
                for output in step.outputs
                if needed is None or output.name in needed or (output.computed and output.may_fail)
            ]
            before = {root for output in outputs for root in output.roots}
            before |= {output.column for output in outputs if output.column is not None}
            return _project_call(outputs), before
        case FrameStep() | MapStep():
            return _frame_call(step), None


def _filter_call(step: FilterStep, needed: set[str] | None) -> Call:
    roots, predicate = step.roots, pl.all_horizontal(step.predicates)

    def call(columns: Columns, height: int) -> tuple[Columns, int]:
        read = [columns[name] for name in columns if name in roots]
        mask = _select(read, predicate).to_series()
        if len(mask) != height:
            mask = mask.new_from_index(0, height)
        kept = {
            name: series.filter(mask)
            for name, series in columns.items()
            if needed is None or name in needed or name in HIDDEN
        }
        for series in kept.values():
            return kept, len(series)
        return kept, int(mask.sum() or 0)

    return call


def _project_call(outputs: Sequence[Output]) -> Call:
    exprs = [output.expr.alias(output.name) for output in outputs if output.computed]
    roots = frozenset(root for output in outputs if output.computed for root in output.roots)

    def call(columns: Columns, height: int) -> tuple[Columns, int]:
        computed: Columns = {}
        if exprs:
            read = [series for name, series in columns.items() if name in roots]
            computed = {series.name: series for series in _select(read, exprs).get_columns()}
        result: Columns = {}
        for output in outputs:
            if output.column is not None:
                result[output.name] = columns[output.column].alias(output.name)
            elif output.constant is not None:
                result[output.name] = output.constant.new_from_index(0, height).alias(output.name)
            else:
                result[output.name] = computed[output.name]
        for name in HIDDEN:
            if name in columns:
                result[name] = columns[name]
        return result, height

    return call


def _frame_call(step: FrameStep | MapStep) -> Call:
    def call(columns: Columns, height: int) -> tuple[Columns, int]:
        frame = step.apply(frame_of(list(columns.values())))
        return {series.name: series for series in frame.get_columns()}, frame.height

    return call


def _select(columns: list[pl.Series], exprs: pl.Expr | list[pl.Expr]) -> pl.DataFrame:
    """What the expressions give, the same whether a row stands alone or among others.

    For a single row Polars computes some things differently (it divides by a literal where it otherwise multiplies
    by the reciprocal), so such a row is computed twice and taken once.
    """
    if columns and len(columns[0]) == 1:
        # An error is said of the row alone: "1 out of 1 values".
        with suppress(PolarsError):
            return frame_of([column.new_from_index(0, 2) for column in columns]).select(exprs).head(1)
    return frame_of(columns).select(exprs)
