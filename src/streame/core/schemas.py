"""Schemas as users write them."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from polars.datatypes import is_polars_dtype, parse_into_dtype

from streame.errors import PlanError


def as_schema(schema: Mapping[str, Any], *, where: str) -> pl.Schema:
    """A schema of Polars dtypes.

    Args:
        schema: column names to Polars dtypes, or to Python types that Polars knows.
        where: what it is for, named in the error.

    Raises:
        PlanError: when it is no mapping, is empty, or a dtype is unknown.
    """
    if not isinstance(schema, Mapping):
        raise PlanError(f"{where}: schema must map column names to dtypes, but is {type(schema).__name__}")
    if not schema:
        raise PlanError(f"{where}: the schema has no columns")
    dtypes: dict[str, pl.DataType] = {}
    for name, dtype in schema.items():
        try:
            parsed = dtype if is_polars_dtype(dtype) else parse_into_dtype(dtype)
        except TypeError as error:
            raise PlanError(
                f"{where}: column {name!r} has the dtype {dtype!r}, which Polars does not know"
            ) from error
        dtypes[name] = parsed() if isinstance(parsed, type) else parsed
    return pl.Schema(dtypes)
