"""What a file sink has written, a file source reads: the same rows, whatever the parts, the format and the compression."""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst
from polars.selectors import float as floats

import streame as st
from streame.testing import strategies
from tests.examples import examples
from tests.properties.running import rows_of, scanned

pytestmark = pytest.mark.timeout(600)

Write = Callable[[st.StreamDataFrame, Path], st.Job]
Read = Callable[[Path, pl.Schema], st.StreamDataFrame]

COLUMNAR = [dtype for dtype in strategies.DTYPES if not isinstance(dtype, pl.Time)]
TEXT = (
    pl.Int64(),
    pl.Int8(),
    pl.UInt16(),
    pl.Boolean(),
    pl.Date(),
    pl.Datetime("us"),
    pl.Enum(["a", "b", "c"]),
    pl.Float64(),
    pl.Float32(),
    pl.Decimal(10, 2),
    pl.Datetime("ms", "UTC"),
    pl.Time(),
)
JSON = (
    *TEXT,
    pl.String(),
    pl.List(pl.Int64()),
    pl.List(pl.String()),
    pl.Struct({"x": pl.Int64(), "y": pl.String()}),
)


@dataclass
class Format:
    """How frames of some dtypes are written and read."""

    write: Write
    read: Read
    dtypes: tuple[pl.DataType, ...]


FORMATS = {
    "parquet": Format(lambda f, p: f.sink_parquet(p, part_rows=5), st.scan_parquet, tuple(COLUMNAR)),
    "ipc": Format(lambda f, p: f.sink_ipc(p, part_rows=5, compression="zstd"), st.scan_ipc, tuple(COLUMNAR)),
    "ndjson": Format(lambda f, p: f.sink_ndjson(p, part_rows=5), st.scan_ndjson, JSON),
    "ndjson in gzip": Format(lambda f, p: f.sink_ndjson(p, part_rows=5, compression="gzip"), st.scan_ndjson, JSON),
    "csv": Format(lambda f, p: f.sink_csv(p, part_rows=5), st.scan_csv, TEXT),
    "csv in zstd": Format(lambda f, p: f.sink_csv(p, part_rows=5, compression="zstd"), st.scan_csv, TEXT),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@given(data=hst.data())
@settings(max_examples=examples(10))
def test_a_round_trip_changes_nothing(name: str, data: hst.DataObject) -> None:
    form = FORMATS[name]
    schema = data.draw(strategies.schemas(min_cols=2, dtypes=form.dtypes), label="schema")
    frame = data.draw(strategies.frames(schema, min_size=1), label="frame")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder, "out")
        written = form.write(scanned(data.draw(strategies.batch_cuts(frame))), directory).run()
        assert written.rows_out == frame.height
        note(str(sorted(path.name for path in directory.iterdir())))
        again = form.read(directory, schema).collect()
        assert again.schema == frame.schema
        if name.startswith("ndjson"):  # JSON has no word for them
            frame = frame.with_columns(
                pl.when(column.is_finite()).then(column)
                for column in map(pl.col, frame.select(floats()).columns)
            )
        assert rows_of(again) == rows_of(frame)
        column = data.draw(hst.sampled_from(list(schema)))
        narrow = form.read(directory, schema).select(column).collect()
        assert Counter(map(repr, narrow[column])) == Counter(map(repr, again[column]))


@pytest.mark.parametrize("name", ["ndjson", "csv"])
def test_a_time_whose_offset_has_seconds(name: str, tmp_path: Path) -> None:
    """Before 1893 clocks in Berlin were 53 minutes and 28 seconds ahead of UTC."""
    times = pl.Series("at", [0, -3_000_000_000_000], dtype=pl.Datetime("ms", "Europe/Berlin"))
    frame = pl.DataFrame([times])
    FORMATS[name].write(scanned([frame]), tmp_path / "out").run()
    assert rows_of(FORMATS[name].read(tmp_path / "out", frame.schema).collect()) == rows_of(frame)
