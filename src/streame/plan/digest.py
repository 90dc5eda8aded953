"""A digest of all that a job does, by which nodes find out whether they run the same; and what can have one."""

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib.metadata import version
from types import FunctionType, MethodType
from typing import Any

import polars as pl
from xxhash import xxh3_128_hexdigest

from streame.core.aggregates import Aggregation
from streame.core.config import Config
from streame.core.expression_tree import to_tree
from streame.core.expressions import NamedExpr, full_text
from streame.core.user_aggregates import UserAggregate
from streame.errors import PlanError
from streame.io.queues import QueueSource
from streame.io.rows import FramesSource, RowsSource
from streame.plan.description import (
    CONSTANTS,
    Description,
    attributes,
    contents,
    is_library,
    methods,
    source,
)
from streame.plan.identity import plan_identity
from streame.plan.names import operator_names
from streame.plan.nodes import MapBatches, Node, Scan, Write, walk
from streame.plan.user import MapWithState

IN_MEMORY = (RowsSource, FramesSource, QueueSource)
"""Sources whose rows are in the program: these are no part of what it does."""


def program_digest(writes: Sequence[Write], config: Config) -> str:
    """Equal for equal programs, in any process; another one when anything that matters is different.

    Args:
        writes: the sinks of the job, optimized, with everything above them.
        config: its settings.
    """
    numbers = {id(node): number for number, node in enumerate(walk(*writes))}
    nodes = [_node(node, numbers) for node in walk(*writes)]
    whole = [version("streame"), plan_identity(writes), nodes, config.parallelism]
    return xxh3_128_hexdigest(json.dumps(whole).encode())


def _node(node: Node, numbers: dict[int, int]) -> list[str]:
    """A node with all that it was told."""
    texts = [type(node).__name__, *(f"input {numbers[id(each)]}" for each in node.inputs)]
    texts += [f"{name}: {dtype}" for name, dtype in node.schema.items()]
    if isinstance(node, Write):
        # What makes the sink is made anew in each process; the sink is the same, and its place.
        told: Any = node.make_sink() if node.file is None else node.file
        return [*texts, node.name, node.text, str(node.target), node.delivery, Description().of(told)]
    for each in fields(node):
        value = getattr(node, each.name)
        # Inputs stand above, and an aggregation is made of the expressions.
        if each.init and not isinstance(value, Node | Aggregation):
            texts.append(f"{each.name}: {_value(value)}")
    return texts


def _value(value: Any) -> str:
    if isinstance(value, tuple) and any(isinstance(each, Node) for each in value):
        return ""
    return type(value).__name__ if isinstance(value, IN_MEMORY) else Description().of(value)


def check_functions(writes: Sequence[Write]) -> None:
    """Refuse what the user has given if nodes cannot tell whether the others have the same.

    Args:
        writes: the sinks of the job, with everything above them.

    Raises:
        PlanError: with the reason and the way out.
    """
    names = operator_names(writes)
    for node in walk(*writes):
        where = names[id(node)]
        for value in _given(node):
            if isinstance(value, NamedExpr):
                _check_expression(value, where)
            else:
                _check(value, where)


def _given(node: Node) -> Iterator[Any]:
    """What a node has from the user that is Python, or may hold some."""
    match node:
        case MapBatches() | MapWithState():
            yield node.function
        case Scan():
            yield node.source
        case Write() if node.file is None:
            yield node.make_sink()
        case _:
            for each in getattr(node, "aggs", ()):
                yield each.aggregate if isinstance(each, UserAggregate) else each


def _check_expression(named: NamedExpr, where: str) -> None:
    text = full_text(named.expr)
    if to_tree(named.expr) is None and "python_udf" in text:
        raise PlanError(
            f"{where}: {named.name!r} is made by a Python function within an expression, which cannot be seen from "
            "outside, so nodes cannot tell whether all have the same one; use an st.Aggregate or .map_batches(function)"
        )


def _check(value: Any, where: str) -> None:
    """Refuse a function, a class or an object of the user's."""
    match value:
        case functools.partial():
            _check(value.func, where)
            for each in (*value.args, *value.keywords.values()):
                _check_plain(each, f"{where}: an argument of functools.partial({_called(value.func)})")
        case FunctionType():
            _check_function(value, where)
        case MethodType():
            _check(value.__func__, where)
            _check_self(value.__self__, value.__func__.__name__, where)
        case type():
            _check_class(value, where)
        case _ if isinstance(getattr(value, "__wrapped__", None), FunctionType):
            _check(value.__wrapped__, where)
        case _:
            if is_library(type(value)):
                return
            _check_class(type(value), where)
            for each in attributes(value).values():
                if isinstance(each, FunctionType | functools.partial):
                    _check(each, where)
            if callable(value) and not hasattr(value, "__qualname__"):
                _check_self(value, "__call__", where)


def _check_function(function: FunctionType, where: str) -> None:
    if is_library(function):
        return
    if around := contents(function):
        code = function.__code__
        raise PlanError(
            f"{where}: the function {_called(function)} ({code.co_filename}, line {code.co_firstlineno}) uses "
            f"{', '.join(map(repr, around))} from the function around it, and nodes of a cluster cannot tell whether that is "
            "the same on all of them; use a function of a module, or functools.partial(function, ...) with plain values"
        )
    if source(function) is None:
        raise PlanError(
            f"{where}: the source of the function {_called(function)} cannot be read, as it was typed at a prompt or made "
            "by exec, so nodes of a cluster cannot tell whether all have the same one; put it into a file"
        )


def _check_class(kind: type, where: str) -> None:
    for each in kind.__mro__:
        if is_library(each):
            continue
        if source(each) is None:
            raise PlanError(
                f"{where}: the source of the class {_called(each)} cannot be read, so nodes of a cluster cannot tell whether "
                "all have the same one; put it into a file"
            )
        for method in methods(each):
            _check_function(method, where)


def _check_self(value: Any, method: str, where: str) -> None:
    if isinstance(value, type):
        return
    for name, each in attributes(value).items():
        _check_plain(each, f"{where}: {method} is called on a {type(value).__name__}, whose {name!r}")


def _check_plain(value: Any, what: str) -> None:
    """Refuse a value that does not say all that it is."""
    match value:
        case None | pl.Expr() | pl.DataFrame() | pl.Series() | pl.DataType():
            return
        case dict():
            for each in value.values():
                _check_plain(each, what)
        case list() | tuple() | set() | frozenset():
            for each in value:
                _check_plain(each, what)
        case FunctionType() | functools.partial() | type() | MethodType():
            _check(value, what)
        case _ if isinstance(value, CONSTANTS):
            return
        case _ if hasattr(value, "__dataclass_fields__") or hasattr(value, "__struct_fields__"):
            for each in attributes(value).values():
                _check_plain(each, what)
        case _ if not hasattr(value, "__qualname__"):
            raise PlanError(
                f"{what} is a {type(value).__name__}, and nodes of a cluster cannot tell whether it is the same on all of "
                "them; use a function of a module, or functools.partial(function, ...) with plain values"
            )


def _called(value: Any) -> str:
    return repr(getattr(value, "__qualname__", type(value).__name__))
