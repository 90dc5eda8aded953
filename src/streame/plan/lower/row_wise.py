"""Row-wise verbs become steps of a chain."""

import polars as pl

from streame.core.expressions import NamedExpr, referenced_columns
from streame.core.salvage import failure_mask, may_fail
from streame.plan.nodes import Filter, MapBatches, Project, Reshape, RowWise
from streame.runtime.steps import FilterStep, FrameStep, MapStep, Output, ProjectStep, Step


def step_of(node: RowWise, name: str) -> Step:
    """The step for a verb, under the name of its operator."""
    schema = node.input.schema
    match node:
        case Filter():
            return FilterStep(
                name,
                (node.predicate,),
                may_fail=may_fail(node.predicate, schema),
                roots=frozenset(referenced_columns(node.predicate)),
                failed=failure_mask(node.predicate, schema),
            )
        case Project():
            return ProjectStep(name, tuple(_output(each, schema) for each in node.outputs))
        case Reshape():
            return FrameStep(name, node.function, node.carries)
        case MapBatches():
            return MapStep(name, node.function, node.output, node.row_wise)


def _output(output: NamedExpr, schema: pl.Schema) -> Output:
    column = output.column
    if column is not None:
        return Output(output.name, output.expr, column=column, may_fail=False)
    roots = output.roots
    if not roots:
        constant = pl.select(output.expr.alias(output.name)).to_series().cast(output.dtype)
        return Output(output.name, output.expr, constant=constant, may_fail=False)
    fallible = may_fail(output.expr, schema)
    return Output(
        output.name,
        output.expr,
        may_fail=fallible,
        roots=roots,
        failed=failure_mask(output.expr, schema) if fallible else None,
    )


def is_fallible(step: Step) -> bool:
    """Whether a row may fail in a step."""
    match step:
        case FilterStep():
            return step.may_fail
        case ProjectStep():
            return any(output.may_fail for output in step.outputs)
        case FrameStep() | MapStep():
            return True
