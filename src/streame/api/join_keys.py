"""The arguments of joins: which columns must be equal, and how far apart times may be."""

from collections.abc import Sequence

import polars as pl

from streame.core.expressions import is_column, unknown_column
from streame.core.hashing import check_key_dtypes
from streame.core.time import EventTime
from streame.errors import PlanError
from streame.plan.nodes import Node, Scan, walk

Keys = str | pl.Expr | Sequence[str | pl.Expr]


def key_names(keys: Keys, *, where: str) -> tuple[str, ...]:
    """The names of key columns.

    Args:
        keys: names or expressions that are nothing but a column.
        where: the verb, named in the error.

    Raises:
        PlanError: when an expression is more than a column.
    """
    listed = [keys] if isinstance(keys, str | pl.Expr) else list(keys)
    names = [is_column(key) if isinstance(key, pl.Expr) else key for key in listed]
    if any(name is None for name in names):
        verb, _, argument = where.partition(": ")
        raise PlanError(
            f"{verb}: {argument} must name columns; compute the key with with_columns before the join"
        )
    return tuple(name for name in names if name is not None)


def both_keys(
    on: Keys | None,
    left_on: Keys | None,
    right_on: Keys | None,
    schemas: tuple[pl.Schema, pl.Schema],
    *,
    verb: str,
    words: tuple[str, str, str] = ("on", "left_on", "right_on"),
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The key columns of both sides; none where no argument is given.

    Args:
        on: the columns, where both sides call them the same.
        left_on: those of the left side.
        right_on: those of the right side.
        schemas: the schemas of both sides.
        verb: the verb, named in the error.
        words: what it calls these arguments.

    Raises:
        PlanError: when columns do not exist or cannot be keys, or the arguments do not fit together.
    """
    if on is not None and (left_on is not None or right_on is not None):
        raise PlanError(f"{verb}: give {words[0]}, or {words[1]} and {words[2]}, not both")
    if (left_on is None) != (right_on is None):
        raise PlanError(f"{verb}: {words[1]} and {words[2]} need each other")
    sides = [
        (on if on is not None else given, word)
        for given, word in zip((left_on, right_on), words[1:], strict=True)
    ]
    left, right = (() if keys is None else key_names(keys, where=f"{verb}: {word}") for keys, word in sides)
    if len(left) != len(right):
        raise PlanError(f"{verb}: {words[1]} names {len(left)} columns and {words[2]} names {len(right)}")
    for names, schema in zip((left, right), schemas, strict=True):
        for name in names:
            if name not in schema:
                raise unknown_column(name, schema, where=verb)
        check_key_dtypes(pl.Schema({name: schema[name] for name in names}), where=verb)
    return left, right


def both_times(left: Node, right: Node, *, verb: str) -> tuple[EventTime, EventTime]:
    """The event times of both sides, which must mean the same.

    Raises:
        PlanError: when a side has none, or one counts ticks and the other does not.
    """
    for side, node in (("left", left), ("right", right)):
        if node.event_time is None:
            raise PlanError(
                f"{verb}: the {side} side has no event time; declare it at its source (event_time=) or with "
                "with_event_time"
            )
        if node.is_changes:
            raise PlanError(
                f"{verb}: the {side} side is a changes stream, whose rows are taken back; use join(..., ttl=...), or "
                'make it a stream of final rows with emit="on_close"'
            )
    assert left.event_time is not None
    assert right.event_time is not None
    check_same_clock(left.event_time, right.event_time, verb=verb)
    return left.event_time, right.event_time


def check_same_clock(left: EventTime, right: EventTime, *, verb: str) -> None:
    """Refuse to compare a time with ticks, or a local time with one that has a zone.

    Raises:
        PlanError: when they cannot be compared.
    """
    zones = [getattr(each.dtype, "time_zone", None) is None for each in (left, right)]
    if left.is_ticks != right.is_ticks or zones[0] != zones[1]:
        raise PlanError(
            f"{verb}: the event times {left.column} ({left.dtype}) and {right.column} ({right.dtype}) cannot be "
            "compared; cast one of them before it is declared"
        )


def source_names(node: Node) -> str:
    """The sources above a node, for the name of a join."""
    return "+".join(each.name for each in walk(node) if isinstance(each, Scan))
