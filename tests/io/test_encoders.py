"""What each format holds, refuses and lets the user choose."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streame.errors import PlanError
from streame.io.file_sinks import file_sink
from streame.io.formats.encoders import CsvEncoder, Encoder, IpcEncoder, NdjsonEncoder, ParquetEncoder

FRAME = pl.DataFrame({"user": ["ann", "bob", None], "qty": [1, None, 3], "price": [1.5, float("nan"), 0.25]})
FINITE = FRAME.with_columns(pl.col("price").fill_nan(None))

Read = Callable[[Any], pl.DataFrame]
FORMATS: dict[str, tuple[Encoder, Read, pl.DataFrame]] = {
    "ndjson": (NdjsonEncoder(), pl.read_ndjson, FINITE),
    "ndjson.gz": (NdjsonEncoder("gzip", 1), pl.read_ndjson, FINITE),
    "ndjson.zst": (NdjsonEncoder("zstd", 3), pl.read_ndjson, FINITE),
    "csv": (CsvEncoder(), pl.read_csv, FRAME),
    "csv.gz": (CsvEncoder(compression="gzip"), pl.read_csv, FRAME),
    "csv.zst": (CsvEncoder(compression="zstd"), pl.read_csv, FRAME),
    "parquet": (ParquetEncoder(), pl.read_parquet, FRAME),
    "arrow": (IpcEncoder(), pl.read_ipc, FRAME),
}
GATHERED = ["parquet", "arrow"]
ALL = pytest.mark.parametrize("form", FORMATS)


def write(path: Path, encoder: Encoder, frame: pl.DataFrame) -> None:
    sink = file_sink(path, encoder)
    sink.open(frame.schema)
    sink.write(frame)
    sink.close()


REFUSED: list[tuple[Encoder, pl.DataType, str]] = [
    (NdjsonEncoder(), pl.Binary(), "base64"),
    (NdjsonEncoder(), pl.List(pl.Struct({"raw": pl.Binary})), "base64"),
    (NdjsonEncoder(), pl.Object(), "drop it"),
    (CsvEncoder(), pl.Binary(), "base64"),
    (CsvEncoder(), pl.Duration(), "total_microseconds"),
    (CsvEncoder(), pl.List(pl.Int64), "explode"),
    (CsvEncoder(), pl.Array(pl.Int64, 2), "explode"),
    (CsvEncoder(), pl.Struct({"x": pl.Int64}), "unnest"),
    (CsvEncoder(), pl.Object(), "drop it"),
    (ParquetEncoder(), pl.Object(), "drop it"),
    (ParquetEncoder(), pl.Struct({}), "give it a field"),
    (IpcEncoder(), pl.Object(), "drop it"),
    (IpcEncoder(), pl.Array(pl.Int64, 0), "make it a list"),
]


@pytest.mark.parametrize(("encoder", "dtype", "way_out"), REFUSED, ids=str)
def test_columns_that_a_format_cannot_hold(encoder: Encoder, dtype: pl.DataType, way_out: str) -> None:
    with pytest.raises(PlanError, match=f"column 'a' is .*{way_out}"):
        encoder.check_schema(pl.Schema({"a": dtype}))


EVERYTHING = pl.DataFrame({
    "i": pl.Series([1, None], dtype=pl.Int128),
    "f": [1.5, float("inf")],
    "s": ['a "b"\n,c', ""],
    "d": [date(2024, 1, 1), None],
    "t": pl.Series([datetime(2024, 1, 1, tzinfo=UTC), None], dtype=pl.Datetime("ns", "UTC")),
    "c": pl.Series(["x", None], dtype=pl.Categorical),
    "e": pl.Series(["x", None], dtype=pl.Enum(["x"])),
    "n": pl.Series([None, None], dtype=pl.Null),
    "m": pl.Series(["1.50", None]).cast(pl.Decimal(10, 2)),
})  # fmt: skip
NESTED = pl.DataFrame({"l": [[timedelta(1)], None], "x": [{"a": [1]}, {"a": None}]})


@pytest.mark.parametrize("encoder", [encoder for encoder, *_ in FORMATS.values()], ids=str)
def test_columns_that_a_format_holds(tmp_path: Path, encoder: Encoder) -> None:
    frame = (
        EVERYTHING if isinstance(encoder, CsvEncoder) else pl.concat([EVERYTHING, NESTED], how="horizontal")
    )
    encoder.check_schema(frame.schema)
    write(tmp_path / "out.x", encoder, frame)
    assert (tmp_path / "out.x").stat().st_size


def test_csv_options(tmp_path: Path) -> None:
    encoder = CsvEncoder(
        include_header=False,
        separator=";",
        quote_char="'",
        quote_style="always",
        null_value="-",
        date_format="%d.%m.%Y",
        float_precision=1,
    )
    write(tmp_path / "out.csv", encoder, EVERYTHING.select("i", "f", "s", "d").head(1))
    assert (tmp_path / "out.csv").read_text() == "'1';'1.5';'a \"b\"\n,c';'01.01.2024'\n"


@pytest.mark.parametrize("compression", ["lz4", "uncompressed", "snappy", "gzip", "brotli", "zstd"])
def test_parquet_options(tmp_path: Path, compression: Any) -> None:
    encoder = ParquetEncoder(compression, statistics=False, row_group_size=1)
    write(tmp_path / "out.parquet", encoder, FRAME)
    assert_frame_equal(pl.read_parquet(tmp_path / "out.parquet"), FRAME)


@pytest.mark.parametrize("compression", ["lz4", "uncompressed", "zstd"])
def test_ipc_options(tmp_path: Path, compression: Any) -> None:
    write(tmp_path / "out.arrow", IpcEncoder(compression), FRAME)
    assert_frame_equal(pl.read_ipc(tmp_path / "out.arrow"), FRAME)
