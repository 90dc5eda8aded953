"""Random sources: schemas, rows in disorder within the watermark, and ways in which they are cut."""

from typing import Any

from tests.plans.drawing import Draw, Known, Order
from tests.plans.model import Row, Source
from tests.plans.prelude import inf, nan

KEYS: dict[str, tuple[Any, ...]] = {
    "pl.String()": ("", "a", "b", "ü", "a much longer text than twelve bytes", None),
    "pl.Int64()": (0, 1, -1, 2**53 + 1, None),
    "pl.UInt8()": (0, 1, 255, None),
    "pl.Float64()": (0.0, -0.0, 1.5, nan, inf, None),
    "pl.Boolean()": (True, False, None),
    "pl.Date()": (0, 1, None),
    "pl.Decimal(10, 2)": ("0.10", "1.00", "-3.50", None),
    "pl.Categorical()": ("a", "b", None),
    "pl.Datetime('us', 'UTC')": (0, 3_600, None),
}
"""By dtype, a few values that meet each other often, those among them that are easily mistaken."""

VALUES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "v": ("pl.Int64()", (*range(-5, 10), None)),
    "w": ("pl.Int8()", (1, 2, 3, -100, 127, None)),
    "x": ("pl.Float64()", (0.5, 1.5, -2.0, 3.25, 100.0, None, nan)),
    "y": ("pl.Float32()", (0.5, -0.25, 8.0, None)),
    "s": ("pl.String()", ("p", "q", "r", "", None)),
    "b": ("pl.Boolean()", (True, False, None)),
    "d": ("pl.Decimal(12, 2)", ("0.50", "-1.25", "1000.00", None)),
}
"""By name, the dtype of a column and what it may hold. Sums of the floats are the same in any order."""

TIMES = (
    "pl.Datetime('us')",
    "pl.Datetime('us')",
    "pl.Datetime('ns', 'UTC')",
    "pl.Datetime('ms', 'Europe/Berlin')",
    "pl.Date()",
    "pl.Int64()",
    "pl.Int32()",
)

SIZES = (0, 1, 1, 1, 2, 2, 3, 5, 8)


def add_source(draw: Draw, *, like: int | None = None, schema: bool = False) -> int:
    """One more source, most often with event time; its number.

    Args:
        draw: the generator.
        like: a part whose keys and time it shall have too.
        schema: whether it shall have all columns of that part, which is a source.
    """
    before = draw.parts[like] if like is not None else None
    base = before if isinstance(before, Source) else None
    keys = dict(zip(("k", "l"), draw.some(list(KEYS), 2), strict=False))
    values = draw.some(list(VALUES), 3)
    time = draw.one(TIMES) if draw.chance(0.9) else None
    unit = draw.one((1, 1, 60, 3_600, 21_600)) if time is not None and "Datetime" in time else 1
    if base is not None and like is not None:
        keys = {name: dtype for name, dtype in base.dtypes.items() if name in {"k", "l"}}
        values = [name for name in base.dtypes if name in VALUES] if schema else values
        time, unit = base.dtypes.get("at"), draw.known[like].unit
    delay = draw.one((0, 0, 1, 2, 5)) if time is not None else 0
    dtypes = {**({"at": time} if time is not None else {}), **keys}
    dtypes |= {name: VALUES[name][0] for name in values}
    has_null = time is not None and draw.on_error == "drop" and draw.chance(0.5)
    splits = tuple(_split(draw, dtypes, unit, delay, has_null) for _ in range(draw.one((1, 1, 1, 2, 3))))
    found = Source(
        dtypes,
        splits,
        time="at" if time is not None else None,
        watermark=_duration(time, delay * unit),
        how=draw.one(("plain", "plain", "sliced", "chunked")),
        on_error=draw.on_error,
        **{"cuts": _cuts(draw), **(_many(draw, splits, unit) if base is None else {})},
    )
    order: Order = "time" if time is not None else "arrival" if len(splits) == 1 else None
    known = Known(None if has_null else order, unit, frozenset({len(draw.parts)}))
    return draw.add(found, known)


def _split(draw: Draw, dtypes: dict[str, str], unit: int, delay: int, has_null: bool) -> tuple[Row, ...]:
    """The rows of a split; each column has few values."""
    height = draw.one((0, 1, 4, 8, 15, 25))
    columns: list[list[Any]] = []
    for name, dtype in dtypes.items():
        if name == "at":
            columns.append(_ticks(draw, unit, delay)[:height])
            continue
        few = draw.some(VALUES[name][1] if name in VALUES else KEYS[dtype], 4)
        columns.append([draw.one(few) for _ in range(height)])
    rows: list[Row] = list(zip(*columns, strict=True))
    return tuple((None, *row[1:]) if has_null and draw.chance(0.2) else row for row in rows)


def _ticks(draw: Draw, unit: int, delay: int) -> list[int]:
    """Times that meet each other, in a disorder of at most `delay` units."""
    spread = draw.one((3, 12, 40, 40))
    ticks = [draw.random.randint(0, spread) for _ in range(25)]
    place = [(tick + draw.random.randint(0, delay), draw.random.random()) for tick in ticks]
    return [ticks[number] * unit for number in sorted(range(25), key=place.__getitem__)]


def _duration(time: str | None, count: int) -> str | int:
    if time is None:
        return 0
    return f"{count}s" if "Datetime" in time else f"{count}d" if "Date" in time else f"{count}i"


def _cuts(draw: Draw) -> tuple[int, ...]:
    """Small batches most often, so that windows close and matches come while the stream goes on."""
    if draw.chance(0.15):
        return (1_000,)
    cuts = [draw.one(SIZES) for _ in range(draw.random.randint(1, 3))]
    return tuple(cuts) if any(cuts) else (1,)


def _many(draw: Draw, splits: tuple[tuple[Row, ...], ...], unit: int) -> dict[str, Any]:
    """Now and then the rows come over and over, until there are more than fit into a batch."""
    height = max(map(len, splits), default=0)
    if not height or draw.chance(0.97):
        return {}
    after = 50 * unit  # no row of a repetition is behind one of the last
    longest = 1_500_000_000 if unit > 1 else 20_000
    times = min(draw.one((1_100, 1_100, 1_100, 66_000)) // height, longest // after)
    return {"times": times, "after": after, "cuts": draw.one(((1_025, 1_023, 1_024), (65_537, 0), (30_000,)))}
