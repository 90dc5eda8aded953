"""Parts that are written exactly once: what is visible when, and what a new run does with what is there."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.deadletters import BadRow, dead_letters
from streame.core.staging import Decided
from streame.errors import ConnectorError, PlanError, SinkRegressed, StreameError
from streame.io.deadletter_files import DeadLetterFiles
from streame.io.file_sinks import file_sink
from streame.io.formats.encoders import CsvEncoder, Encoder, IpcEncoder, NdjsonEncoder, ParquetEncoder
from streame.io.parts import PartFiles
from streame.storage.disk import LocalDisk
from streame.testing.contracts import MemoryOutbox
from tests.io.engine import SCHEMA, Job
from tests.io.test_sinks import names

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
        with pytest.raises(PlanError, match=r"no part is committed yet|no file is in"):
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
    with pytest.raises(
        SinkRegressed, match=r"committed before checkpoint 3, the oldest whose output is kept: 2 parts"
    ):
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


@pytest.mark.parametrize("empty", [1, 2])
@pytest.mark.parametrize("kept", [2, 9])
def test_going_back_to_the_job_of_a_savepoint_does_not_double_rows(
    tmp_path: Path, empty: int, kept: int
) -> None:
    old = parts(tmp_path).start().write(1).commit()
    new = old.branch()
    for _ in range(empty):  # as a stop makes one
        old.commit()
    old.crash()
    new.start().write(2).commit().crash()
    old.decided = old.decided[-kept:]
    with pytest.raises(ConnectorError, match="holds output of another job that went on from a checkpoint"):
        old.start()
    assert rows(tmp_path) == [1, 2]
    new.start().write(3).end()
    assert rows(tmp_path) == [1, 2, 3]


def test_going_back_when_both_jobs_have_gone_on(tmp_path: Path) -> None:
    old = parts(tmp_path).start().write(1).commit()
    new = old.branch()
    old.commit().commit().crash()
    new.start().write(2)
    new.decide()
    new.crash()
    old.start().write(7).commit().crash()
    new.decided.append(Decided(9, replace(new.decided[-1].staged, pieces=())))
    with pytest.raises(ConnectorError, match="holds output of another job that went on from a checkpoint"):
        new.start()
    assert rows(tmp_path) == [1, 7]


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


def all_pieces(decided: Sequence[Decided]) -> list[Any]:
    return [piece for one in decided for piece in one.staged.pieces]


def test_staged_parts_keep_their_format(tmp_path: Path) -> None:
    job = parts(tmp_path).start().write(1)
    job.decide()
    job.crash().make = parts(tmp_path, "csv").make
    job.start().crash()
    assert [path.suffix for path in tmp_path.glob("part-*")] == [".parquet"]


class WithoutLinks(LocalDisk):
    def link(self, source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted")


def test_a_file_system_without_hard_links(tmp_path: Path) -> None:
    sink = PartFiles(tmp_path, ParquetEncoder(), disk=WithoutLinks(tmp_path))
    sink.open(SCHEMA)
    with pytest.raises(ConnectorError, match=r"cannot give a file a second name \(Operation not permitted\)"):
        sink.join_checkpoints([], MemoryOutbox())
    sink.abort()


def test_dead_letters_come_once(tmp_path: Path) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    one, two = (
        dead_letters(
            [BadRow(number, "syntax", "no JSON", b"{")], source="s", split="a", operator="scan", at=at
        )
        for number in range(2)
    )

    def seen() -> list[int]:
        parts = sorted(tmp_path.glob("part-*.ndjson"))
        return [json.loads(line)["offset"] for part in parts for line in part.read_text().splitlines()]

    box = MemoryOutbox()
    decided: list[Decided] = []
    for last in (False, True):
        sink = DeadLetterFiles(tmp_path)
        assert sink.delivery == "exactly_once"
        sink.open(one.schema)
        sink.join_checkpoints(decided, box)
        if not last:
            sink.write(one)
            decided.append(Decided(1, sink.stage()))
            sink.write(two)
            sink.flush()
            sink.abort()
            assert seen() == []
    assert seen() == [0]
    sink.write(two)
    sink.publish(Decided(2, sink.stage()))
    sink.close()
    assert seen() == [0, 1]


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
