"""Batches as text tables: short to write in a test, and to paste from a failing one."""

import ast
import json
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from streame.core.durations import duration_us
from streame.errors import PlanError

LETTERS: dict[str, pl.DataType] = {
    "s": pl.String(),
    "i": pl.Int64(),
    "f": pl.Float64(),
    "b": pl.Boolean(),
    "d": pl.Date(),
    "t": pl.Datetime("us"),
    "z": pl.Datetime("us", "UTC"),
    "u": pl.Duration("us"),
}
"""The dtypes that have a letter; any other is written in brackets as Polars prints it: `tags:[List(String)]`."""

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_COLUMN = re.compile(rf"\s*({_QUOTED}|[^\s:\"]+):(\[.*?\](?=\s|$)|\w+)")
_CELL = re.compile(rf"\s*({_QUOTED}|[\[{{].*?[\]}}](?=\s|$)|[^\s#\"\[{{]\S*)(?=\s|$)")
_BARE = re.compile(r"[^\s#\"\[{.]\S*|\.\S+")


def batch(text: str) -> pl.DataFrame:
    r"""The frame that a text table describes.

    Args:
        text: first a line of `name:type`, then a line per row. A type is a letter (`s` String, `i` Int64, `f` Float64,
            `b` Boolean, `d` Date, `t` Datetime, `z` Datetime in UTC, `u` Duration) or a Polars dtype in brackets. A
            cell is `.` for null, a bare word, a JSON string in quotes (for spaces, an empty text, a dot), or a JSON
            list or object for nested dtypes; dates and times are in ISO format. `#` begins a comment.

    Returns:
        A frame of these columns with a row per line.

    Raises:
        PlanError: when the text cannot be read; names the line and the column.

    Example:
        >>> from streame.testing import batch
        >>> batch('''
        ...     user:s   amount:i  tags:[List(String)]
        ...     ann      5         ["new", "vip"]
        ...     "cid d"  .         []               # null
        ... ''').to_dicts()
        [{'user': 'ann', 'amount': 5, 'tags': ['new', 'vip']}, {'user': 'cid d', 'amount': None, 'tags': []}]
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if _content(line)]
    if not lines:
        raise PlanError("batch: the text is empty; begin with a line such as 'user:s amount:i'")
    schema = _header(*lines[0])
    rows = [_row(number, line, schema) for number, line in lines[1:]]
    return pl.DataFrame(rows, schema=schema, orient="row", strict=True)


def to_text(frame: pl.DataFrame) -> str:
    """The text table of a frame, for `batch`.

    Args:
        frame: any frame of dtypes that have a Python value; times finer than a microsecond are cut.

    Returns:
        Lines without one at the end; `batch(to_text(frame))` is the frame again.

    Example:
        >>> import polars as pl
        >>> from streame.testing import to_text
        >>> print(to_text(pl.DataFrame({"user": ["ann", None], "amount": [5, 10]})))
        user:s  amount:i
        ann     5
        .       10
    """
    letters = {dtype: letter for letter, dtype in LETTERS.items()}
    columns = []
    for series in frame.get_columns():
        name = series.name if re.fullmatch(r"[^\s:\"#]+", series.name) else json.dumps(series.name)
        kind = letters.get(series.dtype) or f"[{series.dtype!r}]"
        columns.append([f"{name}:{kind}", *(_cell(value, series.dtype) for value in series)])
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _content(line: str) -> str:
    stripped = line.strip()
    return "" if stripped.startswith("#") else stripped


def _tokens(number: int, line: str, pattern: re.Pattern[str], what: str) -> list[re.Match[str]]:
    """The parts of a line, up to a comment."""
    found, at = [], 0
    while _content(line[at:]):
        match = pattern.match(line, at)
        if match is None:
            raise PlanError(f"batch: line {number}: cannot read {what} at {line[at:].strip()!r}")
        found.append(match)
        at = match.end()
    return found


def _header(number: int, line: str) -> pl.Schema:
    schema: dict[str, pl.DataType] = {}
    for match in _tokens(number, line, _COLUMN, "a column such as 'user:s'"):
        name = json.loads(match[1]) if match[1].startswith('"') else match[1]
        if name in schema:
            raise PlanError(f"batch: line {number}: column {name!r} stands there twice")
        schema[name] = _dtype(number, match[2])
    return pl.Schema(schema)


def _dtype(number: int, text: str) -> pl.DataType:
    if text in LETTERS:
        return LETTERS[text]
    try:
        tree = ast.parse(text[1:-1] if text.startswith("[") else "?", mode="eval")
        return pl.Series(dtype=_built(tree.body)).dtype
    except (SyntaxError, TypeError, ValueError, AttributeError) as error:
        letters = ", ".join(f"{letter} {dtype}" for letter, dtype in LETTERS.items())
        raise PlanError(
            f"batch: line {number}: {text!r} is no type; there are {letters}, and Polars dtypes in brackets, for "
            "example [List(Int64)]"
        ) from error


def _built(node: ast.AST) -> Any:
    """The dtype that an expression of dtype names, calls and literals stands for."""
    match node:
        case ast.Name(id=name):
            found = getattr(pl, name)
            if not (isinstance(found, type) and issubclass(found, pl.DataType)):
                raise TypeError(name)
            return found
        case ast.Call(func=function, args=args, keywords=keywords):
            named = {each.arg or "": _built(each.value) for each in keywords}
            return _built(function)(*map(_built, args), **named)
        case ast.Dict(keys=keys, values=values):
            names = [ast.literal_eval(key) for key in keys if key is not None]
            return dict(zip(names, map(_built, values), strict=True))
        case _:
            return ast.literal_eval(node)


def _row(number: int, line: str, schema: pl.Schema) -> list[Any]:
    cells = [match[1] for match in _tokens(number, line, _CELL, "a cell")]
    if len(cells) != len(schema):
        raise PlanError(f"batch: line {number} has {len(cells)} cells for {len(schema)} columns")
    row = []
    for (name, dtype), cell in zip(schema.items(), cells, strict=True):
        try:
            value = None if cell == "." else json.loads(cell) if cell[0] in '"[{' else cell
            row.append(_parsed(value, dtype))
            pl.Series([row[-1]], dtype=dtype, strict=True)
        except (ValueError, TypeError, LookupError, ArithmeticError, PlanError, PolarsError) as error:
            raise PlanError(f"batch: line {number}, column {name!r}: {cell} is no {dtype}") from error
    return row


_BOOLEANS = {"true": True, "false": False, True: True, False: False}

_PARSERS: dict[type[pl.DataType], Callable[[Any], Any]] = {
    pl.Boolean: lambda value: _BOOLEANS[value],
    pl.Date: date.fromisoformat,
    pl.Datetime: datetime.fromisoformat,
    pl.Time: time.fromisoformat,
    pl.Duration: lambda text: (
        (-1 if text[0] == "-" else 1)
        * timedelta(microseconds=duration_us(text.removeprefix("-"), where="batch"))
    ),
    pl.Decimal: Decimal,
    pl.Binary: str.encode,
    pl.Null: lambda _: None,
}


def _parsed(value: Any, dtype: pl.DataType) -> Any:
    """The Python value of a cell or of a part of one."""
    match dtype:
        case _ if value is None:
            return None
        case pl.List() | pl.Array():
            return [_parsed(item, dtype.inner) for item in _of(list, value)]  # type: ignore[arg-type]
        case pl.Struct(fields=fields):
            given = _of(dict, value)
            return {field.name: _parsed(given.get(field.name), field.dtype) for field in fields}  # type: ignore[arg-type]
        case _ if dtype.is_integer():
            return int(value)
        case _ if dtype.is_float():
            return float(value)
        case _:
            return _PARSERS.get(type(dtype), str)(value)


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(kind)
    return value


def _cell(value: Any, dtype: pl.DataType) -> str:
    """The text of a value."""
    if value is None:
        return "."
    plain = _plain(value, dtype)
    if isinstance(plain, str):
        return plain if _BARE.fullmatch(plain) else json.dumps(plain)
    return json.dumps(plain)


def _plain(value: Any, dtype: pl.DataType) -> Any:
    """The value as JSON has it."""
    match value:
        case pl.Series():
            return [_plain(item, dtype.inner) for item in value]  # type: ignore[attr-defined]
        case list() | tuple():
            return [_plain(item, dtype.inner) for item in value]  # type: ignore[attr-defined]
        case dict():
            return {field.name: _plain(value[field.name], field.dtype) for field in dtype.fields}  # type: ignore[attr-defined]
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            count = value // timedelta(microseconds=1)
            return f"{'-' if count < 0 else ''}{abs(count)}us"
        case bytes():
            return value.decode()
        case Decimal():
            return str(value)
        case _:
            return value
