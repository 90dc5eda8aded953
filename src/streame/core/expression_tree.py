"""The inside of a Polars expression as plain data, and back.

Polars writes an expression as MessagePack whose nodes are `{kind: body}`, or a bare string for a kind without a
body. Unlike Polars' JSON it keeps NaN and infinite literals. The shapes may change with any version of Polars, so
`to_tree` returns nothing unless the tree leads back to an equal expression, and a node that is not known is never
guessed at: `inputs` returns `None` for it.
"""

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any

import msgspec
import polars as pl
from polars.exceptions import PolarsError

Node = Any
"""A node: `{kind: body}` or a string."""


def to_tree(expr: pl.Expr) -> Node | None:
    """The tree of an expression, or `None` where it cannot be had (a Python function) or does not lead back."""
    try:
        tree = msgspec.msgpack.decode(expr.meta.serialize())
        return tree if from_tree(tree).meta.eq(expr) else None
    except (PolarsError, msgspec.DecodeError):
        return None


def from_tree(node: Node) -> pl.Expr:
    """The expression of a tree.

    Raises:
        PolarsError: when Polars does not know a node.
    """
    return pl.Expr.deserialize(BytesIO(msgspec.msgpack.encode(node)))


def kind(node: Node) -> str:
    """The kind of a node: `Column`, `Function`, `Agg`."""
    return node if isinstance(node, str) else next(iter(node))


def inputs(node: Node) -> tuple[Node, ...] | None:
    """The expressions that a node computes with, row by row; `None` for a kind that is not known here."""
    match node:
        case {"Column": _} | {"Literal": _} | {"Field": _} | {"Selector": _} | "Element":
            return ()
        case {"Alias": [inner, _]} | {"KeepName": inner} | {"RenameAlias": {"expr": inner}}:
            return (inner,)
        case {"Cast": {"expr": inner}} | {"Explode": {"input": inner}}:
            return (inner,)
        case {"Eval": {"expr": inner}} | {"StructEval": {"expr": inner}}:
            return (inner,)
        case {"BinaryExpr": {"left": left, "right": right}}:
            return left, right
        case {"Ternary": {"predicate": predicate, "truthy": truthy, "falsy": falsy}}:
            return predicate, truthy, falsy
        case {"Filter": {"input": inner, "by": by}}:
            return inner, by
        case {"Function": {"input": list(given)}}:
            return tuple(given)
        case _:
            return None


def with_inputs(node: Node, new: Sequence[Node]) -> Node:
    """The same node over other inputs, in the order of `inputs`."""
    match node:
        case {"Alias": [_, name]}:
            return {"Alias": [new[0], name]}
        case {"KeepName": _}:
            return {"KeepName": new[0]}
        case {"Function": body}:
            return {"Function": {**body, "input": list(new)}}
        case {"BinaryExpr": body}:
            return {"BinaryExpr": {**body, "left": new[0], "right": new[1]}}
        case {"Ternary": body}:
            return {"Ternary": {**body, "predicate": new[0], "truthy": new[1], "falsy": new[2]}}
        case {"Filter": body}:
            return {"Filter": {**body, "input": new[0], "by": new[1]}}
        case {"Explode": body}:
            return {"Explode": {**body, "input": new[0]}}
        case {"RenameAlias": _} | {"Cast": _} | {"Eval": _} | {"StructEval": _}:
            return {kind(node): {**node[kind(node)], "expr": new[0]}}
        case _:
            assert not new, node
            return node


def function_name(node: Node) -> str:
    """The function of a `Function` node with its namespace: `Abs`, `StringExpr.Strptime`, `Boolean.IsIn`."""
    function = node["Function"]["function"]
    names: list[str] = []
    while isinstance(function, dict) and len(function) == 1 and len(names) < 2:
        ((name, function),) = function.items()
        names.append(name)
    if isinstance(function, str) and len(names) < 2:
        names.append(function)
    return ".".join(name for name in names if name[0].isupper())


def walk(node: Node) -> Iterator[Node]:
    """Every node below and at `node`, also inside kinds that are not known; not the values of literals."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        yield node
        for name, body in node.items():
            if name != "Literal":
                yield from walk(body)
    elif isinstance(node, list):
        for item in node:
            yield from walk(item)


def rewrite(node: Node, change: Callable[[Node], Node | None]) -> Node:
    """The tree with `change(node)` in the place of each node for which that is not `None`, from the top down."""
    if isinstance(node, list):
        return [rewrite(item, change) for item in node]
    if not isinstance(node, dict):
        return node
    changed = change(node)
    if changed is not None:
        return changed
    return {name: body if name == "Literal" else rewrite(body, change) for name, body in node.items()}


def columns_of(node: Node) -> set[str]:
    """The names of the columns that a tree reads."""
    return {each["Column"] for each in walk(node) if isinstance(each, dict) and _is_column(each)}


def _is_column(node: dict[str, Any]) -> bool:
    return len(node) == 1 and isinstance(node.get("Column"), str) and node["Column"] != ""
