"""Leaves of snapshots as bytes: arrays raw, frames and series as Arrow, cut into chunks that are written and found alone."""

import io
from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from polars._typing import PolarsDataType

from streame.errors import CheckpointError
from streame.state.snapshot import CHUNK_ROWS, Array, Data
from streame.storage.disk import Bytes

Kind: TypeAlias = Literal["array", "frame", "series"]


def kind_of(data: Data) -> Kind:
    """What sort of leaf it is."""
    match data:
        case pl.DataFrame():
            return "frame"
        case pl.Series():
            return "series"
    return "array"


def dtype_of(data: Data) -> str:
    """The dtype of an array as numpy writes it, little-endian; frames and series carry theirs in every chunk."""
    return _stored(data.dtype).str if isinstance(data, np.ndarray) else ""


def chunk_count(data: Data) -> int:
    """In how many chunks a leaf is cut; a frame without rows is one, which tells the schema."""
    if isinstance(data, np.ndarray):
        return -(-len(np.atleast_1d(data)) // CHUNK_ROWS)
    return max(1, -(-len(data) // CHUNK_ROWS))


def refuse_unsavable(data: Data, where: str) -> None:
    """Refuse columns that cannot be written.

    Raises:
        CheckpointError: for a column of Python objects, or of arrays without elements; says where.
    """
    if isinstance(data, np.ndarray):
        return
    columns = {data.name: data.dtype} if isinstance(data, pl.Series) else data.schema
    for name, dtype in columns.items():
        if (found := _unsavable(dtype)) is not None:
            raise CheckpointError(
                f"{where}: column {name!r} of type {dtype} cannot be saved, since it has {found}; "
                "cast it to a type of plain values, or run without checkpoints"
            )


def encode_chunk(data: Data, number: int) -> Bytes:
    """The bytes of one chunk of a leaf; those of an array are its own memory.

    Args:
        data: the leaf.
        number: which chunk, from 0.
    """
    rows = slice(number * CHUNK_ROWS, (number + 1) * CHUNK_ROWS)
    match data:
        case np.ndarray():
            part = np.ascontiguousarray(np.atleast_1d(data)[rows], _stored(data.dtype))
            return part.reshape(-1).view(np.uint8).data if part.nbytes else b""
        case pl.Series():
            part_frame = data[rows].to_frame()
        case _:
            part_frame = data[rows]
    buffer = io.BytesIO()
    part_frame.write_ipc_stream(buffer, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
    return buffer.getbuffer()


def decode_frame(kind: Kind, shape: tuple[int, ...], chunks: Iterable[bytes]) -> pl.DataFrame | pl.Series:
    """A frame or series of its chunks, which must be what `encode_chunk` gave: check their digests first.

    Args:
        kind: which of the two.
        shape: its rows and columns.
        chunks: the bytes of all chunks, in order.
    """
    if kind == "frame" and shape[1] == 0:
        return pl.DataFrame(height=shape[0])
    frame = pl.concat([pl.read_ipc_stream(io.BytesIO(chunk)) for chunk in chunks], rechunk=True)
    if kind == "series":
        series: pl.Series = frame.to_series()
        return series
    return frame


def empty_array(dtype: str, shape: tuple[int, ...]) -> tuple[Array, memoryview]:
    """An array to be filled, and its bytes as those of all chunks follow each other in it.

    Args:
        dtype: of the array, as `dtype_of` gave it.
        shape: its rows and other dimensions.
    """
    array: Array = np.empty(shape, dtype)
    return array, array.reshape(-1).view(np.uint8).data if array.nbytes else memoryview(bytearray())


def _stored(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    assert not dtype.hasobject, dtype
    assert dtype.names is None, dtype
    return dtype.newbyteorder("<")


def _unsavable(dtype: PolarsDataType) -> str | None:
    """What in a dtype cannot be written."""
    match dtype:
        case pl.Object():
            return "Python objects"
        case pl.Array(inner=inner, size=size):
            return "arrays without elements" if size == 0 else _unsavable(inner)
        case pl.List(inner=inner):
            return _unsavable(inner)
        case pl.Struct(fields=fields):
            found = (_unsavable(field.dtype) for field in fields)
            return next((each for each in found if each is not None), None)
    return None
