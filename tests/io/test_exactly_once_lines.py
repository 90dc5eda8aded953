"""One file of lines that is written exactly once, and sinks that cannot be."""

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import streame as st
from streame.errors import ConnectorError, PlanError, SinkRegressed
from streame.io.console import ConsoleSink
from streame.io.file_sinks import file_sink
from streame.io.formats.encoders import CsvEncoder, Encoder, IpcEncoder, NdjsonEncoder, ParquetEncoder
from streame.testing.contracts import MemoryOutbox
from tests.io.engine import SCHEMA, Job
from tests.io.test_sinks import names

Scan = Callable[..., st.StreamDataFrame]
LINES: dict[str, tuple[Encoder, Scan]] = {
    f"{form}{suffix}": (
        NdjsonEncoder(compression) if form == "ndjson" else CsvEncoder(compression),  # type: ignore[arg-type]
        st.scan_ndjson if form == "ndjson" else st.scan_csv,
    )
    for form in ("ndjson", "csv")
    for suffix, compression in (("", "uncompressed"), (".gz", "gzip"), (".zst", "zstd"))
}
LINE_FORMS = pytest.mark.parametrize("form", LINES)


def line_file(path: Path) -> Job:
    form = path.name.partition(".")[2]
    return Job(lambda: file_sink(path, LINES[form][0]))


def lines(path: Path) -> list[int]:
    if path.stat().st_size == 0:
        return []
    return LINES[path.name.partition(".")[2]][1](path, schema=SCHEMA).collect()["n"].to_list()


@LINE_FORMS
def test_a_file_grows_by_what_is_committed(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form}"
    path.write_bytes(b"of a job before")
    job = line_file(path).start().write(1, 2)
    assert path.read_bytes() == b""
    one = job.decide()
    assert path.read_bytes() == b""
    job.sink.publish(one)
    job.sink.publish(one)
    assert lines(path) == [1, 2]
    job.commit().write(3).commit().write(4)
    job.sink.flush()
    assert lines(path) == [1, 2, 3]
    job.crash().start().write(4).write(5).end()
    assert lines(path) == [1, 2, 3, 4, 5]
    assert names(tmp_path) == [f".{path.name}.lock", path.name]


@LINE_FORMS
@pytest.mark.parametrize("length", [0, 1, -1, 7])
def test_a_file_is_brought_to_its_committed_length(tmp_path: Path, form: str, length: int) -> None:
    path = tmp_path / f"out.{form}"
    job = line_file(path).start().write(1, 2).commit()
    before = path.read_bytes()
    job.write(*range(3, 30)).commit().crash()
    whole = path.read_bytes()
    for left in (before + whole[len(before) :][:length], before + b"\0" * (len(whole) - len(before)), before):
        path.write_bytes(left)
        job.start().crash()
        assert path.read_bytes() == whole


@LINE_FORMS
def test_a_file_that_another_job_has_gone_on_with_is_not_cut_off(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form}"
    old = line_file(path).start().write(1).commit()
    new = old.branch()
    old.commit().crash()
    new.start().write(2).commit().crash()
    with pytest.raises(ConnectorError, match=r"ends at .* or of another job that went on from a checkpoint"):
        old.start()
    assert lines(path) == [1, 2]
    new.start().write(3).end()
    assert lines(path) == [1, 2, 3]


def test_a_file_that_holds_rows_of_another_job_in_the_place_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    job = line_file(path).start().write(1).commit().write(2).commit().write(3).commit().crash()
    path.write_text("n\n1\n7\n")
    with pytest.raises(ConnectorError, match="bytes 4 to 6 are not what was written for checkpoint 2"):
        job.start()


def test_a_file_is_built_again_from_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    job = line_file(path).start()
    for number in range(5):
        job.write(number).commit()
    job.crash()
    whole = path.read_bytes()
    path.unlink()
    job.start().crash()
    assert path.read_bytes() == whole
    path.write_bytes(whole[:5])
    del job.decided[:2]
    with pytest.raises(SinkRegressed, match="has 5 bytes, but 6 were committed before checkpoint 3"):
        job.start()


def test_a_file_that_is_removed_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    job = line_file(path).start().write(1).commit().write(2)
    path.unlink()
    with pytest.raises(SinkRegressed, match="was removed or cut off while a job writes to it; 4 bytes"):
        job.commit()
    job.crash().start().write(3).end()
    assert lines(path) == [1, 2, 3]


def test_a_csv_file_without_rows_has_a_header(tmp_path: Path) -> None:
    line_file(tmp_path / "out.csv").start().commit().end()
    assert (tmp_path / "out.csv").read_text() == "n\n"


def test_other_programs_read_what_was_staged_in_pieces(tmp_path: Path) -> None:
    for suffix in ("gz", "zst"):
        path = tmp_path / f"out.csv.{suffix}"
        job = line_file(path).start()
        for number in range(3):
            job.write(number).commit()
        assert pl.read_csv(path)["n"].to_list() == [0, 1, 2]
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()) == b"n\n0\n1\n2\n"
    said = subprocess.run(["gzip", "-dc", tmp_path / "out.csv.gz"], check=True, capture_output=True)
    assert said.stdout == b"n\n0\n1\n2\n"


@pytest.mark.parametrize("encoder", [ParquetEncoder(), IpcEncoder()])
def test_one_file_with_an_index_cannot_have_checkpoints(tmp_path: Path, encoder: Encoder) -> None:
    sink = file_sink(tmp_path / f"out{encoder.suffix}", encoder)
    assert sink.delivery == "at_least_once"
    with pytest.raises(PlanError, match=r"end the path with '/' for a directory of parts \(.*/out/\)"):
        sink.check_checkpoints()


def test_a_pipe_cannot_have_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "out.csv").symlink_to("/dev/null")
    sink = file_sink(tmp_path / "out.csv", CsvEncoder())
    with pytest.raises(PlanError, match="is no regular file"):
        sink.check_checkpoints()


def test_what_sinks_promise(tmp_path: Path) -> None:
    for sink in (file_sink(tmp_path / "a", CsvEncoder()), file_sink(tmp_path / "a.csv", CsvEncoder())):
        assert sink.delivery == "exactly_once"
        sink.check_checkpoints()
    assert ConsoleSink().delivery == "at_least_once"


def test_two_jobs_do_not_append_to_one_file(tmp_path: Path) -> None:
    one, other = (file_sink(tmp_path / "out.ndjson", NdjsonEncoder()) for _ in range(2))
    assert isinstance(one, st.TransactionalSink)
    assert isinstance(other, st.TransactionalSink)
    for sink in (one, other):
        sink.open(pl.Schema({"n": pl.Int64()}))
    one.join_checkpoints([], MemoryOutbox())
    with pytest.raises(st.ConnectorError, match="another job"):
        other.join_checkpoints([], MemoryOutbox())
    one.close()
    other.join_checkpoints([], MemoryOutbox())
    other.close()
