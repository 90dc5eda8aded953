"""Files that are written exactly once: what is visible when, and what a new run does with what is there."""

import gzip
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.staging import Decided, Outbox, OutboxFile, Staged
from streame.errors import ConnectorError, PlanError, SinkRegressed, StreameError
from streame.io.console import ConsoleSink
from streame.io.file_sinks import file_sink
from streame.io.formats.encoders import CsvEncoder, Encoder, IpcEncoder, NdjsonEncoder, ParquetEncoder
from streame.io.sink import Sink, TransactionalSink
from tests.io.test_sinks import names

SCHEMA = pl.Schema({"n": pl.Int64})


class Kept(OutboxFile):
    def __init__(self, box: "Box") -> None:
        self._box = box
        self._data = b""

    def append(self, data: bytes) -> None:
        self._data += data

    def finish(self) -> Any:
        self._box.files.append(self._data)
        return len(self._box.files) - 1

    def discard(self) -> None:
        self._data = b""


@dataclass
class Box(Outbox):
    files: list[bytes] = field(default_factory=list)

    def begin(self) -> OutboxFile:
        return Kept(self)

    def read(self, piece: Any) -> Iterator[bytes]:
        data = self.files[piece]
        for start in range(0, len(data), 7):
            yield data[start : start + 7]


@dataclass
class Job:
    """The part of an engine that a sink sees."""

    make: Callable[[], Sink]
    decided: list[Decided] = field(default_factory=list)
    box: Box = field(default_factory=Box)
    checkpoint: int = 0

    def start(self) -> "Job":
        sink = self.make()
        assert isinstance(sink, TransactionalSink)
        self.sink = sink
        self.sink.open(SCHEMA)
        try:
            self.sink.join_checkpoints(self.decided, self.box)
        except StreameError:
            self.sink.abort()
            raise
        return self

    def write(self, *numbers: int) -> "Job":
        self.sink.write(pl.DataFrame({"n": numbers}, SCHEMA))
        return self

    def decide(self, *carried: Staged) -> Decided:
        staged = self.sink.stage()
        pieces = [*(piece for one in carried for piece in one.pieces), *staged.pieces]
        self.checkpoint += 1
        one = Decided(
            self.checkpoint, Staged(json.loads(json.dumps(pieces)), json.loads(json.dumps(staged.note)))
        )
        self.decided.append(one)
        return one

    def commit(self) -> "Job":
        self.sink.publish(self.decide())
        return self

    def crash(self) -> "Job":
        self.sink.abort()
        return self

    def end(self) -> None:
        self.commit()
        self.sink.close()


Scan = Callable[..., st.StreamDataFrame]
PARTS: dict[str, tuple[Encoder, Scan, Callable[[str], pl.LazyFrame]]] = {
    "parquet": (ParquetEncoder(), st.scan_parquet, pl.scan_parquet),
    "arrow": (IpcEncoder(), st.scan_ipc, pl.scan_ipc),
    "ndjson": (NdjsonEncoder(), st.scan_ndjson, pl.scan_ndjson),
    "csv": (CsvEncoder(), st.scan_csv, pl.scan_csv),
}
FORMS = pytest.mark.parametrize("form", PARTS)


def parts(out: Path, form: str = "parquet", **limits: Any) -> Job:
    return Job(lambda: file_sink(out, PARTS[form][0], **limits))


def rows(out: Path, form: str = "parquet") -> list[int]:
    if not committed(out):
        with pytest.raises(PlanError):
            PARTS[form][1](out, schema=SCHEMA)
        return []
    return PARTS[form][1](out, schema=SCHEMA).collect()["n"].to_list()


def committed(out: Path) -> list[str]:
    return names(out / "_streame" / "commits")


@FORMS
def test_parts_appear_when_their_checkpoint_is_published(tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    job = parts(out, form, part_rows=2).start().write(1, 2, 3)
    assert rows(out, form) == []
    one = job.decide()
    assert rows(out, form) == []
    assert list(out.glob("part-*")) == []
    job.sink.publish(one)
    assert rows(out, form) == [1, 2, 3]
    assert [path.name[:25] for path in sorted(out.glob("part-*"))] == [
        "part-0-0000000001-000000-",
        "part-0-0000000001-000001-",
    ]
    job.write(4).commit().commit().write(5).end()
    assert rows(out, form) == [1, 2, 3, 4, 5]
    assert committed(out) == ["1.json", "2.json", "4.json"]
    assert names(out / "_streame" / "tmp") == []
    plain = PARTS[form][2](f"{out}/part-*").collect()
    assert plain["n"].to_list() == [1, 2, 3, 4, 5]
    with pytest.raises(pl.exceptions.InvalidOperationError, match="glob"):
        PARTS[form][2](f"{out}/").collect()


def test_a_new_run_publishes_what_was_decided_and_drops_what_was_not(tmp_path: Path) -> None:
    job = parts(tmp_path).start().write(1).commit().write(2)
    job.decide()
    job.write(3)
    job.sink.stage()
    job.write(4).crash().start()
    assert rows(tmp_path) == [1, 2]
    assert names(tmp_path / "_streame" / "tmp") == []
    job.write(3, 4).end()
    assert rows(tmp_path) == [1, 2, 3, 4]


def test_pieces_of_a_failed_attempt_come_first(tmp_path: Path) -> None:
    job = parts(tmp_path).start().write(1)
    failed = job.sink.stage()
    job.write(2)
    job.sink.publish(job.decide(failed))
    assert rows(tmp_path) == [1, 2]
    commit = json.loads((tmp_path / "_streame/commits/1.json").read_text())
    assert commit["written"]["rows"] == 2
    assert [part["rows"] for part in commit["parts"]] == [1, 1]


def test_publishing_twice_changes_nothing(tmp_path: Path) -> None:
    job = parts(tmp_path).start().write(1, 2)
    one = job.decide()
    for _ in range(3):
        job.sink.publish(one)
    job.crash().start().sink.publish(one)
    assert rows(tmp_path) == [1, 2]


def test_followers_see_committed_parts_only(tmp_path: Path) -> None:
    job = parts(tmp_path).start().write(1).commit().write(2)
    job.decide()
    (tmp_path / "part-0-0000000002-000000-12345678.parquet").write_bytes(b"not committed")
    (tmp_path / "foreign.parquet").write_bytes(b"of somebody else")
    assert rows(tmp_path) == [1]
    source = st.scan_parquet(tmp_path, schema=SCHEMA, follow=True)
    assert source.schema == SCHEMA


def lose(out: Path, number: int) -> None:
    (out / f"_streame/commits/{number}.json").unlink()
    for part in out.glob(f"part-0-{number:010}-*"):
        part.unlink()


@pytest.mark.parametrize("gone", [1, 2])
def test_output_that_is_gone_and_too_old_is_noticed(tmp_path: Path, gone: int) -> None:
    job = parts(tmp_path).start().write(1).commit().write(2).commit().write(3).commit().crash()
    job.decided = job.decided[-1:]
    lose(tmp_path, gone)
    with pytest.raises(SinkRegressed, match=r"lacks output that was committed before checkpoint 3: 2 parts"):
        job.start()
    assert rows(tmp_path) == [3 - gone, 3]


def test_a_part_that_is_gone_is_noticed(tmp_path: Path) -> None:
    job = parts(tmp_path).start().write(1).commit().crash()
    lose(tmp_path, 1)
    with pytest.raises(SinkRegressed, match="is gone, and not staged any more"):
        job.start()


def test_a_directory_that_is_ahead_of_the_checkpoints(tmp_path: Path) -> None:
    job = parts(tmp_path).start().write(1).commit().write(2).commit().crash()
    del job.decided[-1]
    with pytest.raises(
        ConnectorError, match="holds the output of checkpoint 2, but the newest checkpoint is 1"
    ):
        job.start()


def test_output_of_another_job_is_not_added_to(tmp_path: Path) -> None:
    parts(tmp_path / "out").start().write(1).end()
    with pytest.raises(
        ConnectorError, match="holds 1 rows of a job with other checkpoints than those of this run"
    ):
        parts(tmp_path / "out").start()
    other = parts(tmp_path / "other").start().write(2).commit().crash()
    other.make = parts(tmp_path / "out").make
    with pytest.raises(ConnectorError, match="holds 1 rows of another job, committed up to checkpoint 1"):
        other.start()
    assert rows(tmp_path / "out") == [1]


def test_a_directory_is_written_with_checkpoints_or_without(tmp_path: Path) -> None:
    plain = file_sink(tmp_path / "plain", ParquetEncoder())
    plain.open(SCHEMA)
    plain.write(pl.DataFrame({"n": [1]}))
    plain.close()
    with pytest.raises(
        ConnectorError, match=r"holds parts of a run without checkpoints, like part-00000\.parquet"
    ):
        parts(tmp_path / "plain").start()
    parts(tmp_path / "log").start().write(1).end()
    plain = file_sink(tmp_path / "log", ParquetEncoder())
    plain.open(SCHEMA)
    with pytest.raises(ConnectorError, match="belongs to a job with checkpoints"):
        plain.write(pl.DataFrame({"n": [1]}))
    plain.abort()
    assert rows(tmp_path / "log") == [1]


def test_a_job_whose_checkpoints_never_counted_leaves_the_directory_free(tmp_path: Path) -> None:
    job = parts(tmp_path).start().write(1)
    job.sink.stage()
    job.crash()
    plain = file_sink(tmp_path, ParquetEncoder())
    plain.open(SCHEMA)
    plain.write(pl.DataFrame({"n": [1]}))
    plain.close()
    assert names(tmp_path) == ["part-00000.parquet"]


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
    assert names(tmp_path) == [path.name]


@LINE_FORMS
@pytest.mark.parametrize("length", [0, 1, -1, 7])
def test_a_file_is_brought_to_its_committed_length(tmp_path: Path, form: str, length: int) -> None:
    path = tmp_path / f"out.{form}"
    job = line_file(path).start().write(1, 2).commit()
    before = path.read_bytes()
    job.write(*range(3, 30)).commit().crash()
    whole = path.read_bytes()
    for left in (before + whole[len(before) :][:length], whole + b"more", before + b"\0" * 40, before):
        path.write_bytes(left)
        job.start().crash()
        assert path.read_bytes() == whole


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


def all_pieces(decided: Sequence[Decided]) -> list[Any]:
    return [piece for one in decided for piece in one.staged.pieces]


def test_damaged_staged_parts_are_not_published(tmp_path: Path) -> None:
    job = parts(tmp_path).start().write(1)
    job.decide()
    job.crash()
    (piece,) = all_pieces(job.decided)
    staged = tmp_path / "_streame/tmp" / piece["name"]
    data = bytearray(staged.read_bytes())
    data[len(data) // 2] ^= 1
    staged.write_bytes(data)
    with pytest.raises(StreameError, match="is not what was written"):
        job.start()
    assert rows(tmp_path) == []
