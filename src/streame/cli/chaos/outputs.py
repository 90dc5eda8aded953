"""The sinks of a job at another place, and what was written there."""

import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import polars as pl

import streame as st
from streame.cli.chaos.compare import Expectation
from streame.core.changes import DIFF
from streame.errors import PlanError
from streame.io.file_sinks import FileOutput, is_directory
from streame.io.formats.encoders import (
    CsvEncoder,
    Encoder,
    IpcEncoder,
    NdjsonEncoder,
    ParquetEncoder,
)
from streame.plan.nodes import Rejected, RowWise, Scan, Write, walk

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LINE = "line"
"""The column of a text that was not taken apart."""

ERRORS = "errors"
"""The folder of dead letters, and what they are called among the sinks."""


@dataclass(frozen=True, slots=True)
class Output:
    """A sink of the job as it is tried.

    Args:
        name: the name of the sink.
        file: where it writes, below the folder of a run, and how.
        schema: its columns.
        replaced: whether the sink of the job is another one.
        expectation: what must be the same every time.
        ignored: columns that are different every time.
    """

    name: str
    file: FileOutput
    schema: pl.Schema
    replaced: bool
    expectation: Expectation
    ignored: tuple[str, ...] = ()


def outputs_of(job: st.Job, keys: dict[str, tuple[str, ...]] | None = None) -> list[Output]:
    """Where the sinks of a job write when it is tried.

    File sinks keep their format and options, others become NDJSON parts.

    Args:
        job: the job.
        keys: for a sink, columns whose rows come in order where they are equal in these.
    """
    return [_output(number, write, keys or {}) for number, write in enumerate(job.writes)]


def moved(job: st.Job, folder: Path, outputs: Sequence[Output]) -> st.Job:
    """The job with its sinks in a folder."""
    writes = []
    for write, output in zip(job.writes, outputs, strict=True):
        separator = "/" if is_directory(output.file.path) else ""
        file = replace(output.file, path=f"{folder / output.file.path}{separator}")
        writes.append(replace(write, make_sink=file.sink, separate=True, target=None, loop=None, file=file))
    return st.Job(writes, job.name)


def read(output: Output, folder: Path) -> pl.DataFrame:
    """All rows of a sink in order, as any program sees them that knows nothing of Streame."""
    path = folder / output.file.path
    if not is_directory(output.file.path):
        files = [path] if path.exists() else []
    else:
        files = sorted(path.glob("part-*"), key=lambda each: each.name)
    frames = [_frame(output, file.read_bytes()) for file in files]
    empty = _frame(output, None)
    rows = pl.concat([empty, *frames])
    return rows.drop(output.ignored)


def _output(number: int, write: Write, keys: dict[str, tuple[str, ...]]) -> Output:
    file = write.file or FileOutput("queue/", _encoder_for(write.schema))
    name = f"{number}-{Path(file.path).name}"
    return Output(
        write.name,
        replace(file, path=f"{name}/" if is_directory(file.path) else name),
        write.schema,
        write.file is None,
        Expectation(write.is_changes, _comes_in_order(write), keys.get(write.name, ())),
        ("at",) if _are_letters(write) else (),
    )


def errors_output(schema: pl.Schema) -> Output:
    """The dead letters of a run."""
    return Output(ERRORS, FileOutput(f"{ERRORS}/", NdjsonEncoder()), schema, False, Expectation(), ("at",))


def _encoder_for(schema: pl.Schema) -> Encoder:
    try:
        NdjsonEncoder().check_schema(schema)
    except PlanError:
        return IpcEncoder()
    return NdjsonEncoder()


def _comes_in_order(write: Write) -> bool:
    """Whether its rows go straight from a source that is read one split after the other."""
    node = write.input
    while isinstance(node, RowWise):
        node = node.inputs[0]
    return isinstance(node, Scan) and not getattr(node.source, "together", False)


def _are_letters(write: Write) -> bool:
    """Whether its column `at` says when a row was refused, by the wall clock."""
    return "at" in write.schema and any(isinstance(node, Rejected) for node in walk(write))


def _frame(output: Output, content: bytes | None) -> pl.DataFrame:
    """The rows of one file; `None` for a frame without any."""
    match output.file.encoder:
        case NdjsonEncoder() as encoder:
            return _lines(output, _text(encoder, content or b""))
        case CsvEncoder() as encoder:
            return _fields(output, encoder, _text(encoder, content or b""))
        case ParquetEncoder() if content is not None:
            return pl.read_parquet(BytesIO(content))
        case IpcEncoder() if content is not None:
            return pl.read_ipc(BytesIO(content))
    return pl.DataFrame(schema=output.schema)


def _text(encoder: NdjsonEncoder | CsvEncoder, content: bytes) -> bytes:
    match encoder.compression:
        case "gzip":
            return gzip.decompress(content) if content else b""
        case "zstd":
            return zstd.decompress(content) if content else b""
    return content


def _lines(output: Output, text: bytes) -> pl.DataFrame:
    """NDJSON: a line is a row, and is taken apart only where something of it must be known."""
    lines = text.decode(errors="replace").split("\n")
    rest = lines.pop()
    lines += [rest] if rest else []
    known = [*output.ignored, *output.expectation.keys, *([DIFF] if output.expectation.is_changes else [])]
    frame = pl.DataFrame({LINE: lines}, schema={LINE: pl.String})
    if not known:
        return frame
    rows = [_row(line) for line in lines]
    taken = {name: [row.pop(name, None) for row in rows] for name in dict.fromkeys(known)}
    columns = {LINE: pl.Series([json.dumps(row) for row in rows], dtype=pl.String)}
    for name, values in taken.items():
        columns[name] = (
            pl.Series(values, dtype=pl.Int64)
            if name == DIFF
            else pl.Series([json.dumps(value) for value in values], dtype=pl.String)
        )
    return pl.DataFrame(columns)


def _row(line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except ValueError:
        return {LINE: line, DIFF: 1}
    return row if isinstance(row, dict) else {LINE: line, DIFF: 1}


def _fields(output: Output, encoder: CsvEncoder, text: bytes) -> pl.DataFrame:
    """CSV: all fields as texts."""
    names = list(output.schema)
    if not text:
        frame = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    else:
        frame = pl.read_csv(
            BytesIO(text),
            has_header=encoder.include_header,
            new_columns=names,
            separator=encoder.separator,
            quote_char=None if encoder.quote_style == "never" else encoder.quote_char,
            infer_schema=False,
            truncate_ragged_lines=False,
        )
    return frame.cast({DIFF: pl.Int64}) if output.expectation.is_changes else frame


def replaced_names(outputs: Sequence[Output]) -> Iterator[str]:
    """The sinks that are not the job's own."""
    return (output.name for output in outputs if output.replaced)
