"""A wide table of aggregations: those that come apart into a few values for each group, and those that keep rows."""

from collections.abc import Callable

import polars as pl

SCHEMA = pl.Schema(
    {
        "t": pl.Int64(),
        "i": pl.Int64(),
        "i8": pl.Int8(),
        "i16": pl.Int16(),
        "i32": pl.Int32(),
        "u8": pl.UInt8(),
        "u16": pl.UInt16(),
        "u32": pl.UInt32(),
        "u64": pl.UInt64(),
        "i128": pl.Int128(),
        "f": pl.Float64(),
        "f32": pl.Float32(),
        "f16": pl.Float16(),
        "b": pl.Boolean(),
        "m": pl.Boolean(),
        "s": pl.String(),
        "bin": pl.Binary(),
        "date": pl.Date(),
        "at": pl.Datetime("us"),
        "zoned": pl.Datetime("ms", "Europe/Berlin"),
        "took": pl.Duration("us"),
        "clock": pl.Time(),
        "price": pl.Decimal(10, 2),
        "wide": pl.Decimal(38, 4),
        "cat": pl.Categorical(),
        "enum": pl.Enum(["c", "a", "b"]),
        "list": pl.List(pl.Int64()),
        "struct": pl.Struct({"x": pl.Int64(), "y": pl.String()}),
    }
)
"""One column of every kind."""

NUMBERS = (
    "i",
    "i8",
    "i16",
    "i32",
    "u8",
    "u16",
    "u32",
    "u64",
    "i128",
    "f",
    "f32",
    "f16",
    "b",
    "price",
    "wide",
)
ORDERED = (*NUMBERS, "s", "bin", "date", "at", "zoned", "took", "clock", "cat", "enum")
ALL = (*ORDERED, "list", "struct")

i, f, s, b, m = pl.col("i"), pl.col("f"), pl.col("s"), pl.col("b"), pl.col("m")

Make = Callable[[pl.Expr], pl.Expr]

OF_NUMBERS: dict[str, Make] = {
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(),
    "var": lambda x: x.var(),
    "std": lambda x: x.std(ddof=0),
    "filtered sum": lambda x: x.filter(m).sum(),
    "filtered mean": lambda x: x.filter(m).mean(),
    "filtered var": lambda x: x.filter(m).var(ddof=2),
}
OF_ORDERED: dict[str, Make] = {
    "min": lambda x: x.min(),
    "max": lambda x: x.max(),
    "nan_min": lambda x: x.nan_min(),
    "nan_max": lambda x: x.nan_max(),
    "filtered max": lambda x: x.filter(m).max(),
}
OF_ALL: dict[str, Make] = {
    "count": lambda x: x.count(),
    "len": lambda x: x.len(),
    "null_count": lambda x: x.null_count(),
    "has_nulls": lambda x: x.has_nulls(),
    "first": lambda x: x.first(),
    "last": lambda x: x.last(),
    "first value": lambda x: x.first(ignore_nulls=True),
    "last value": lambda x: x.last(ignore_nulls=True),
    "n_unique": lambda x: x.n_unique(),
    "n_unique values": lambda x: x.drop_nulls().n_unique(),
    "filtered first": lambda x: x.filter(m).first(),
    "filtered last": lambda x: x.filter(m).last(),
    "filtered count": lambda x: x.filter(m).count(),
    "filtered len": lambda x: x.filter(m).len(),
    "filtered null_count": lambda x: x.filter(m).null_count(),
    "filtered n_unique": lambda x: x.filter(m).n_unique(),
}

SPLIT: dict[str, pl.Expr] = {
    **{f"{kind} of {name}": make(pl.col(name)) for name in NUMBERS for kind, make in OF_NUMBERS.items()},
    **{f"{kind} of {name}": make(pl.col(name)) for name in ORDERED for kind, make in OF_ORDERED.items()},
    **{f"{kind} of {name}": make(pl.col(name)) for name in ALL for kind, make in OF_ALL.items()},
    "rows": pl.len(),
    "rows as a wide number": pl.len().cast(pl.UInt64),
    "rows as text": pl.len().cast(pl.String),
    "sum of durations": pl.col("took").sum(),
    "sum of durations filtered": pl.col("took").filter(m).sum(),
    "any": b.any(),
    "all": b.all(),
    "any, null unknown": b.any(ignore_nulls=False),
    "all, null unknown": b.all(ignore_nulls=False),
    "any filtered": b.filter(m).any(),
    "all filtered": b.filter(m).all(),
    "any filtered, null unknown": b.filter(m).any(ignore_nulls=False),
    "all filtered, null unknown": b.filter(m).all(ignore_nulls=False),
    "condition": (f > 1).sum(),
    "share": (f > 1).mean(),
    "two columns": (f * i.cast(pl.Float64)).sum(),
    "ratio": i.sum() / i.count(),
    "range": pl.col("i16").max() - pl.col("i16").min(),
    "conditional": pl.when(b).then(pl.col("i32")).otherwise(0).sum(),
    "outer condition": pl.when(pl.len() > 2).then(f.max()).otherwise(f.min()),
    "outer function": f.mean().round(1).fill_null(-1),
    "outer struct": pl.struct(i.min(), pl.col("i").max().alias("top")),
    "outer text": pl.format("{}-{}", pl.len(), s.max()),
    "outer list": pl.concat_list(pl.col("i32").min(), pl.col("i32").max()),
    "outer name": pl.struct(i.max().name.suffix("_top")),
    "drop_nans": f.drop_nans().sum(),
    "drop_nans length": f.drop_nans().len(),
    "drop_nulls filtered": f.filter(m).drop_nulls().mean(),
    "text inside": s.str.len_chars().sum(),
    "cast inside": pl.col("u8").cast(pl.Int32).sum(),
    "cast around": pl.col("i8").sum().cast(pl.Float32),
    "wide cast around": pl.col("i32").sum().cast(pl.Int64),
    "negated": -pl.col("i8").sum(),
    "of a struct field": pl.col("struct").struct.field("x").sum(),
    "of a list length": pl.col("list").list.len().max(),
    "date parts": pl.col("at").dt.hour().max(),
    "coalesced": pl.coalesce(f.max(), f.min(), 0.0),
    "is_in": i.max().is_in([1, 2, 3]),
    "NaN beside": f.max() + float("nan"),
    "dot": f.dot(pl.col("f32").cast(pl.Float64)),
}
"""Aggregations that come apart."""

KEPT: dict[str, pl.Expr] = {
    "bare column": i,
    "row-wise": pl.col("i8") + 1,
    "literal": pl.lit(3),
    "sum of a literal": pl.lit(1).sum(),
    "median": f.median(),
    "quantile": f.quantile(0.25),
    "sort_by": s.sort_by("i", maintain_order=True).first(),
    "head": i.head(2),
    "implode": i.implode(),
    "product": pl.col("i8").cast(pl.Float64).product(),
    "nested": (f - f.mean()).abs().sum(),
    "top": i.top_k(2),
    "cumulative": pl.col("i32").cum_sum().last(),
    "diff": pl.col("i32").diff().abs().max(),
    "arg_max": pl.col("i16").arg_max(),
    "sorted list": s.sort(),
    "text join": s.str.join("-"),
    "shift": i.shift(1).first(),
    "reverse": i.reverse(),
    "unique": i.unique(maintain_order=True),
    "slice": i.slice(1, 2),
    "get": i.get(0, null_on_oob=True),
    "mean of dates": pl.col("at").mean(),
    "min of lists": pl.col("list").min(),
    "a column beside": i + i.sum(),
    "skew": f.skew(),
    "filter around": i.sum().filter(pl.len() > 1),
    "python": pl.col("i16").map_batches(lambda x: x.max(), return_dtype=pl.Int16, returns_scalar=True),
    "filter of a nullable cast": s.filter(m).str.len_chars().sum(),
}
"""Aggregations that keep the rows of a group."""
