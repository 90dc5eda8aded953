"""What every StreamDataFrame is underneath: a node of a plan."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import reduce
from operator import and_
from typing import Any, Self

import polars as pl
from polars._typing import ColumnNameOrSelector
from polars.exceptions import PanicException, PolarsError

from streame.core.expressions import NamedExpr, parse_exprs, to_text, unknown_column
from streame.core.foreign_errors import first_paragraph
from streame.core.hidden import check_names
from streame.core.row_wise import require_row_wise, require_row_wise_selection
from streame.errors import PlanError
from streame.plan.nodes import Filter, Node, Project, Reshape

Columns = ColumnNameOrSelector | Collection[ColumnNameOrSelector]
FrameVerb = Callable[[pl.LazyFrame], pl.LazyFrame]


class Handle:
    """An immutable plan and its schema. Verbs return a new one; nothing runs."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def _with(self, node: Node) -> Self:
        check_names(node.schema, "")
        return type(self)(node)

    @property
    def node(self) -> Node:
        """The plan that this frame stands for."""
        return self._node

    @property
    def schema(self) -> pl.Schema:
        """Columns and dtypes."""
        return self._node.schema

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self._node.schema)

    @property
    def dtypes(self) -> list[pl.DataType]:
        """The dtypes of the columns, in order."""
        return list(self._node.schema.values())

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self._node.schema)

    def collect_schema(self) -> pl.Schema:
        """Columns and dtypes; as in Polars, though here it costs nothing."""
        return self._node.schema

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {dtype}" for name, dtype in self._node.schema.items())
        return f"{type(self).__name__}({columns})"

    def _with_columns(self, verb: str, exprs: Iterable[Any], named_exprs: Mapping[str, Any]) -> Self:
        """All columns, those of `exprs` in the place of the old ones or behind them."""
        new = {each.name: each for each in parse_exprs(list(exprs), named_exprs, self.schema, where=verb)}
        old = [NamedExpr(name, pl.col(name), dtype) for name, dtype in self.schema.items()]
        require_row_wise_selection([*new.values(), *old[:1]], self.schema, where=verb)
        outputs = (*(new.pop(each.name, each) for each in old), *new.values())
        return self._with(Project(self._node, outputs, verb))

    def _filter(self, verb: str, predicate: pl.Expr) -> Self:
        """The rows for which a predicate is true."""
        require_row_wise(predicate, self.schema, where=verb)
        return self._with(Filter(self._node, predicate))

    def _all_of(self, verb: str, predicates: Iterable[Any], constraints: Mapping[str, Any]) -> pl.Expr:
        """One predicate that is true where all are."""
        self._require(constraints, verb)
        equal = [pl.col(name) == value for name, value in constraints.items()]
        given = [*_flat(predicates, verb), *equal]
        # One by one: two predicates on a column have the same name, and that is no mistake here.
        parts = [part for each in given for part in parse_exprs([each], {}, self.schema, where=verb)]
        if not parts:
            raise PlanError(f"{verb}: give at least one predicate")
        for part in parts:
            if part.dtype != pl.Boolean:
                raise PlanError(
                    f"{verb}: {to_text(part.expr)} is of dtype {part.dtype}; a predicate must be Boolean, for "
                    "example a comparison"
                )
        return reduce(and_, [part.expr for part in parts])

    def _keep_where(self, verb: str, columns: Columns | None, test: Callable[[pl.Expr], pl.Expr]) -> Self:
        """The rows for which a test of each column is true."""
        chosen = pl.all() if columns is None else _as_exprs(columns)
        parts = [test(pl.col(each.name)) for each in parse_exprs([chosen], {}, self.schema, where=verb)]
        return self._filter(verb, reduce(and_, parts)) if parts else self

    def _columns_of(
        self, verb: str, columns: Columns, more: Iterable[ColumnNameOrSelector]
    ) -> tuple[NamedExpr, ...]:
        """The columns that names and selectors mean."""
        return parse_exprs([_as_exprs(columns), *more], {}, self.schema, where=verb)

    def _reshaped(self, verb: str, function: FrameVerb, text: str, *, carries: bool = False) -> Self:
        """A verb that Polars does on a whole frame."""
        if self._node.is_changes and not carries:
            raise PlanError(
                f"{verb}: the rows are a changes stream, and their weights would be lost; use this verb before the "
                "one that says changes, or make a list column and explode() it"
            )
        schema = self._schema_after(verb, function)
        return self._with(Reshape(self._node, verb, text, function, schema, carries))

    def _schema_after(self, verb: str, function: FrameVerb) -> pl.Schema:
        """What Polars says that a verb puts out."""
        try:
            return function(pl.LazyFrame(schema=self.schema)).collect(engine="in-memory").schema
        except (PolarsError, PanicException, TypeError) as error:
            columns = ", ".join(self.schema)
            raise PlanError(f"{verb}: {first_paragraph(error)} (available columns: {columns})") from error

    def _require(self, names: Iterable[str], verb: str) -> None:
        for name in names:
            if not isinstance(name, str):
                raise PlanError(f"{verb}: found a {type(name).__name__} where the name of a column is needed")
            if name not in self.schema:
                raise unknown_column(name, self.schema, where=verb)


def _flat(predicates: Iterable[Any], verb: str) -> Iterator[Any]:
    for predicate in predicates:
        if isinstance(predicate, str | pl.Expr) or not isinstance(predicate, Iterable):
            yield predicate
            continue
        for each in predicate:
            if isinstance(each, bool):
                raise PlanError(
                    f"{verb}: a mask with a value for each row needs to know all rows; give an expression"
                )
            yield each


def _as_exprs(columns: Columns) -> Any:
    return (
        columns if isinstance(columns, (str, pl.Expr)) or not isinstance(columns, Iterable) else list(columns)
    )
