"""Which errors mean that a disk is full."""

import errno

import polars as pl
import pytest

from streame.core.full_disk import is_full_disk
from streame.errors import ConnectorError


def caused(error: BaseException) -> ConnectorError:
    try:
        raise ConnectorError("cannot write") from error
    except ConnectorError as raised:
        return raised


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("No space left on device (os error 28)"),
        pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk(error: Exception) -> None:
    assert is_full_disk(error)
    assert is_full_disk(caused(caused(error)))


@pytest.mark.parametrize(
    "error",
    [
        None,
        OSError(errno.EIO, "Input/output error"),
        pl.exceptions.ComputeError("row 28"),
        ValueError("(os error 28)"),
        ConnectorError("No space left on device"),
    ],
)
def test_other_errors(error: Exception | None) -> None:
    assert not is_full_disk(error)


def test_what_polars_raises_on_a_full_device() -> None:
    rows = pl.DataFrame({"n": range(100_000)})
    for write in (rows.write_ipc, rows.write_parquet, rows.write_csv, rows.write_ndjson):
        with pytest.raises((OSError, pl.exceptions.PolarsError)) as raised:
            write("/dev/full")
        assert is_full_disk(raised.value)
