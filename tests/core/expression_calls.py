"""Expressions for the tests: one call or more of every function that Polars has, and a frame to try them on."""

import inspect
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from polars.exceptions import PanicException

HEIGHT = 24


def sample_frame(seed: int = 7) -> pl.DataFrame:
    """A row for each of `HEIGHT`, a column or more of each dtype, a seventh of the values null."""
    draw = random.Random(seed)
    start = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    numbers = [draw.randrange(-5, 6) for _ in range(HEIGHT)]
    times = [start + timedelta(hours=draw.randrange(9000)) for _ in range(HEIGHT)]
    words = [draw.choice(["a", "b", "ab", "Abc", " x ", ""]) for _ in range(HEIGHT)]

    def some(values: Sequence[Any]) -> list[Any]:
        return [None if i % 7 == 3 else value for i, value in enumerate(values)]

    def lists(of: Sequence[Any]) -> list[Any]:
        return some([[draw.choice(of) for _ in range(draw.randrange(4))] for _ in range(HEIGHT)])

    dates = [when.strftime("%Y-%m-%d" if i < 14 else "%d/%m/%Y") for i, when in enumerate(times)]
    data: dict[str, tuple[list[Any], Any]] = {
        "i": (some(numbers), pl.Int64),
        "j": ([draw.randrange(1, 6) for _ in range(HEIGHT)], pl.Int64),
        "f": (some([draw.choice([float("nan"), 0.0, 1.5, -2.5, 1e10]) for _ in range(HEIGHT)]), pl.Float64),
        "s": (some(words), pl.String),
        "k": ([draw.choice("ab") for _ in range(HEIGHT)], pl.String),
        "n": (some([str(number) for number in numbers]), pl.String),
        "ds": (dates, pl.String),
        "js": (some([f'{{"a":{number}}}' for number in numbers]), pl.String),
        "t": (some(times), pl.Datetime("us")),
        "d": (some([when.date() for when in times]), pl.Date),
        "tm": (some([when.time() for when in times]), pl.Time),
        "u": (some([timedelta(seconds=number * 1000) for number in numbers]), pl.Duration("us")),
        "b": (some([number > 0 for number in numbers]), pl.Boolean),
        "p": ([number % 2 == 0 for number in numbers], pl.Boolean),
        "l": (lists(range(3)), pl.List(pl.Int64)),
        "m": (lists("abc"), pl.List(pl.String)),
        "a": (some([[number, 1] for number in numbers]), pl.Array(pl.Int64, 2)),
        "st": (
            some([{"x": number, "y": str(number)} for number in numbers]),
            pl.Struct({"x": pl.Int64, "y": pl.String}),
        ),
        "c": (some(words), pl.Categorical),
        "e": (some(words), pl.Enum(sorted(set(words)))),
        "bn": (some([word.encode() for word in words]), pl.Binary),
        "dec": (some([Decimal(number) / 4 for number in numbers]), pl.Decimal(10, 2)),
    }
    return pl.DataFrame([pl.Series(name, values, dtype=dtype) for name, (values, dtype) in data.items()])


FRAME = sample_frame()

_RECEIVERS = {
    "": ("i", "f", "s", "t", "l", "st"),
    "str": ("s", "ds", "n", "js"),
    "dt": ("t", "d", "u"),
    "list": ("l", "m"),
    "arr": ("a",),
    "struct": ("st",),
    "cat": ("c", "e"),
    "bin": ("bn",),
    "name": ("i", "st"),
}
_ARGUMENTS: tuple[Callable[[], Any], ...] = (
    lambda: 1,
    lambda: pl.col("j"),
    lambda: pl.col("i"),
    lambda: "a",
    lambda: pl.col("s"),
    lambda: pl.col("k"),
    lambda: pl.col("p"),
    lambda: [1, 2],
    lambda: ["a", "b"],
    lambda: pl.col("l"),
    lambda: pl.col("m"),
    lambda: "1d",
    lambda: pl.col("t"),
    lambda: pl.col("d"),
    lambda: time(1),
    lambda: date(2024, 1, 1),
    lambda: pl.Int32,
    lambda: pl.String,
    lambda: pl.element().sum(),
    lambda: pl.element().rank(),
    lambda: pl.field("x") + 1,
    lambda: pl.field("x").sum(),
    lambda: "UTC",
    lambda: "hex",
    lambda: {1: 2},
    lambda: {"a": "b"},
    lambda: pl.Struct({"a": pl.Int64}),
    lambda: pl.Series([1, 2]),
)
_SIZES = {"extend_constant", "repeat_by", "zfill", "pad_start", "pad_end", "reshape", "hist", "slice", "pow"}
"""Methods whose argument is a size: a large one would take all memory."""

_NO_EXPRESSIONS = {"deserialize", "inspect"}


def calls() -> Iterator[tuple[str, pl.Expr]]:
    """`(method, call)` for every method of an expression and its namespaces, with many kinds of arguments."""
    for namespace, receivers in _RECEIVERS.items():
        owner = type(getattr(pl.col("i"), namespace)) if namespace else pl.Expr
        for method, receiver in itertools.product(dir(owner), receivers):
            if method.startswith("_") or method in _NO_EXPRESSIONS or not callable(getattr(owner, method)):
                continue
            for expr in _calls_of(owner, namespace, method, receiver):
                yield f"{namespace}.{method}".strip("."), expr


def _calls_of(owner: type, namespace: str, method: str, receiver: str) -> Iterator[pl.Expr]:
    required = [
        parameter
        for parameter in list(inspect.signature(getattr(owner, method)).parameters.values())[1:]
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    arguments = _ARGUMENTS[:2] if method in _SIZES else _ARGUMENTS
    more = [arguments[:9]] if len(required) > 1 else []
    for choice in itertools.product(*([arguments] if required else []), *more):
        padded = choice + choice[-1:] * (len(required) - len(choice))
        given = [(parameter, make()) for parameter, make in zip(required, padded, strict=True)]
        target = getattr(pl.col(receiver), namespace) if namespace else pl.col(receiver)
        try:
            expr = getattr(target, method)(
                *(value for parameter, value in given if parameter.kind is not parameter.KEYWORD_ONLY),
                **{p.name: value for p, value in given if p.kind is p.KEYWORD_ONLY},
            )
            fits = isinstance(expr, pl.Expr) and len(FRAME.lazy().select(expr).collect_schema()) > 0
        except (Exception, PanicException):  # these arguments are not for this method
            fits = False
        if fits:
            yield expr


def same_however_cut(expr: pl.Expr, *, frame: pl.DataFrame = FRAME, cuts: int = 3) -> bool | None:
    """Whether `expr` gives the same values on the pieces of a frame; `None` when it raises on the whole."""
    try:
        whole = frame.select(expr)
    except (Exception, PanicException):
        return None
    draw = random.Random(3)
    for count in (frame.height - 1, *(draw.choice([1, 2, 5, 11]) for _ in range(cuts - 1))):
        edges = [0, *sorted(draw.sample(range(1, frame.height), count)), frame.height]
        try:
            pieces = pl.concat([frame[a:b].select(expr) for a, b in itertools.pairwise(edges)])
        except (Exception, PanicException):
            return False
        if not pieces.equals(whole) and str(pieces.to_dicts()) != str(whole.to_dicts()):  # NaN in a list
            return False
    return True


def raises(frame: pl.DataFrame, expr: pl.Expr) -> bool:
    """Whether `expr` cannot be computed on a frame."""
    try:
        frame.select(expr)
    except (Exception, PanicException):
        return True
    return False
