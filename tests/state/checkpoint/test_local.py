"""Checkpoints in a folder: who may write there, what is refused, what is deleted, and what is found again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streame.core.staging import Staged
from streame.errors import CheckpointDamaged, CheckpointError
from streame.state.checkpoint import sealed
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.store import Draft
from streame.state.snapshot import Shadow, take_snapshot
from streame.storage.disk import LocalDisk
from tests.state.checkpoint.counting_job import (
    JOB,
    OPERATOR,
    SINK,
    Count,
    assert_is,
    output_of,
    published_by,
    store_on,
    write_checkpoint,
)
from tests.storage.memory_disk import MemoryDisk

ROOT = Path(__file__).parent.parent.parent.parent


def opened(folder: Path, job: str = JOB) -> LocalCheckpoints:
    store = LocalCheckpoints(folder, job)
    store.claim()
    return store


def with_checkpoints(folder: Path, count: int, *, with_output: bool = True) -> None:
    store = opened(folder)
    assert store.recover() is None
    for number in range(1, count + 1):
        write_checkpoint(store, number, with_output=with_output)
        store.published(number)
        store.collect_garbage()
    store.release()


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_left_after_some_checkpoints(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 5)
    assert names(tmp_path) == [
        "FORMAT", "LOCK", "SHOWN", "m/3.json", "m/4.json", "m/5.json",
        *(f"out/{number}/out%2Fsink.0.out" for number in range(1, 6)),
        *(f"state/{number}/0.1.pack" for number in range(3, 6)),
    ]  # fmt: skip
    store = opened(tmp_path)
    recovered = store.recover()
    assert recovered is not None
    assert_is(recovered, 5)
    assert recovered.instances("nobody") == ()
    assert recovered.plan == {"operators": [OPERATOR]}
    assert recovered.settings.keys() == {"polars"}
    decided = recovered.decided[SINK]
    assert [each.checkpoint for each in decided] == [1, 2, 3, 4, 5]
    assert [published_by(store, each) for each in decided] == [output_of(number) for number in range(1, 6)]
    assert [each.staged.note for each in decided] == [1, 2, 3, 4, 5]


def test_a_second_job_in_this_process_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"another job writes checkpoints there \(process {os.getpid()} of"
    ):
        opened(tmp_path)
    store.release()
    store.release()
    opened(tmp_path).release()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    command = [sys.executable, "-m", "tests.state.checkpoint.child", str(tmp_path), "1"]
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    ended = subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"another job writes checkpoints there (process {os.getpid()}" in ended.stderr
    store.release()


def test_the_checkpoints_of_another_job_are_refused(tmp_path: Path) -> None:
    opened(tmp_path, "orders").release()
    with pytest.raises(CheckpointError, match="these are the checkpoints of job 'orders', not of 'counting'"):
        opened(tmp_path)
    with_checkpoints(tmp_path / "mine", 1)
    (tmp_path / "mine" / "FORMAT").unlink()
    other = opened(tmp_path / "mine", "orders")
    with pytest.raises(CheckpointError, match="checkpoint 1 is one of job 'counting', not of 'orders'"):
        other.recover()


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_checkpoints(tmp_path / "old", 1)
    monkeypatch.setattr(sealed, "FORMAT_VERSION", 2)
    with_checkpoints(tmp_path / "new", 1)
    manifest = (tmp_path / "new" / "m" / "1.json").read_bytes()
    monkeypatch.undo()
    with pytest.raises(
        CheckpointError, match=r"its format is 2, which this version .* does not know; update"
    ):
        opened(tmp_path / "new")
    (tmp_path / "old" / "m" / "2.json").write_bytes(manifest)
    store = opened(tmp_path / "old")
    with pytest.raises(
        CheckpointError, match=r"checkpoint 2 has format 2, which this version .* does not know"
    ):
        store.recover()


def test_a_damaged_format_file_is_refused_and_lets_go(tmp_path: Path) -> None:
    opened(tmp_path).release()
    (tmp_path / "FORMAT").write_bytes(b"streame checkpoints 1\n")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="the file FORMAT is damaged"):
            opened(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"checkpoints cannot be written there .*: choose another folder"
    ):
        opened(tmp_path / "file" / "below")


class OverwritingDisk(MemoryDisk):
    """A file system on which the second one to take a name wins."""

    def link(self, source: str, target: str) -> None:
        self.files.pop(target, None)
        super().link(source, target)


class DiskWithoutLinks(MemoryDisk):
    """A file system without hard links."""

    def link(self, source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted")


def test_a_file_system_that_cannot_keep_others_out_is_refused() -> None:
    with pytest.raises(CheckpointError, match="this file system gives one name to two files"):
        store_on(OverwritingDisk()).claim()
    with pytest.raises(CheckpointError, match="this file system has no hard links"):
        store_on(DiskWithoutLinks()).claim()


def damage_and_recover(folder: Path, path: str) -> Any:
    content = bytearray((folder / path).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / path).write_bytes(content)
    store = opened(folder)
    try:
        return store.recover()
    finally:
        store.release()


@pytest.mark.parametrize("path", ["m/4.json", "state/4/0.1.pack", "out/4/out%2Fsink.0.out"])
def test_damage_behind_output_that_was_published_stops_the_job(path: str, tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 4)
    before = names(tmp_path)
    with pytest.raises(
        CheckpointDamaged, match=r"checkpoint 4: .*output of checkpoint 4 may have been published"
    ):
        damage_and_recover(tmp_path, path)
    assert names(tmp_path) == before


@pytest.mark.parametrize("path", ["m/4.json", "state/4/0.1.pack"])
def test_damage_that_nobody_can_have_seen_is_put_aside(path: str, tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 4, with_output=False)
    assert "SHOWN" not in names(tmp_path)
    recovered = damage_and_recover(tmp_path, path)
    assert recovered.number == 3
    aside = [name for name in names(tmp_path) if name.startswith("quarantine/")]
    assert aside == sorted({"quarantine/m-4.json.0", f"quarantine/{path.replace('/', '-')}.0"})
    store = opened(tmp_path)
    found = store.recover()
    assert found is not None
    assert_is(found, 3)
    write_checkpoint(store, 4, with_output=False)
    store.release()
    again = damage_and_recover(tmp_path, path)
    assert again.number == 3
    assert "quarantine/m-4.json.1" in names(tmp_path)


def test_the_only_checkpoint_being_damaged_stops_the_job(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1, with_output=False)
    with pytest.raises(CheckpointDamaged, match="there is no older valid one"):
        damage_and_recover(tmp_path, "m/1.json")


def test_an_older_checkpoint_may_be_damaged(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 4)
    assert damage_and_recover(tmp_path, "m/3.json").number == 4
    store = opened(tmp_path)
    store.recover()
    for number in (5, 6):
        write_checkpoint(store, number)
        store.published(number)
        store.collect_garbage()
    store.release()
    assert "m/3.json" not in names(tmp_path)  # nothing was deleted before that one was old
    assert damage_and_recover(tmp_path, "out/5/out%2Fsink.0.out").number == 6


def test_a_file_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 2)
    (tmp_path / "state/2/0.1.pack").unlink()
    (tmp_path / "state/2/0.1.pack").mkdir()
    with pytest.raises(CheckpointDamaged, match="checkpoint 2"):
        opened(tmp_path).recover()


def test_damaged_old_output_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 2)
    recovered = damage_and_recover(tmp_path, "out/1/out%2Fsink.0.out")
    store = opened(tmp_path)
    with pytest.raises(CheckpointDamaged, match=r"staged output out/1/.*: its bytes are not the ones"):
        published_by(store, recovered.decided[SINK][0])
    (tmp_path / "out/1/out%2Fsink.0.out").unlink()
    with pytest.raises(CheckpointDamaged, match="it is not there"):
        published_by(store, recovered.decided[SINK][0])


def test_what_is_foreign_is_left_alone(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 2)
    foreign = {
        "m/notes.txt",
        "m/01.json",
        "state/1/mine",
        "state/notes",
        "out/1/mine.txt",
        "out/x/y.out",
        "mine",
    }
    litter = {
        "m/1.json.tmp",
        "state/1/0.7.pack",
        "state/1/0.8.pack.tmp",
        "state/1/room.tmp",
        "out/1/a.9.out.tmp",
        "out/2/b.out",
    }
    for name in foreign | litter:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"?")
    store = opened(tmp_path)
    recovered = store.recover()
    assert recovered is not None
    for number in range(3, 8):
        write_checkpoint(store, number)
        store.published(number)
        store.collect_garbage()
    assert foreign <= set(names(tmp_path))
    assert not litter & set(names(tmp_path))
    assert not (tmp_path / "state" / "2").exists()


def test_output_that_is_begun_outlives_the_collecting(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.recover()
    outbox = store.outbox(SINK)
    early, given_up, staged = outbox.begin(), outbox.begin(), outbox.begin()
    early.append(b"early")
    staged.append(b"staged")
    piece = staged.finish()
    given_up.append(b"nothing")
    given_up.discard()
    for number in range(1, 5):
        write_checkpoint(store, number)
        store.published(number)
        store.collect_garbage()
    early.append(b" and late")
    draft = Draft(None, {}, None, {SINK: Staged([piece, {"deep": [{"within": early.finish()}]}])})
    store.write(draft)
    store.published(5)
    store.collect_garbage()
    store.release()
    store = opened(tmp_path)
    recovered = store.recover()
    assert recovered is not None
    pieces = recovered.decided[SINK][-1].staged.pieces
    assert b"".join(store.outbox(SINK).read(pieces[0])) == b"staged"
    assert b"".join(store.outbox(SINK).read(pieces[1]["deep"][0]["within"])) == b"early and late"


def test_old_output_goes_when_it_leaves_the_history(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 110)
    assert (
        len(list((tmp_path / "out").iterdir())) == 102
    )  # 100 of the last checkpoint, 2 more of those before
    assert len(list((tmp_path / "m").iterdir())) == 3


def test_names_of_sinks_are_no_paths(tmp_path: Path) -> None:
    store = opened(tmp_path)
    sinks = ["../../up", "..", "a/b", "a\0b", "ü" * 300, "x" * 300, "x" * 299 + "y", ""]
    pieces = {}
    for sink in sinks:
        file = store.outbox(sink).begin()
        file.append(sink.encode())
        pieces[sink] = [file.finish()]
    store.write(Draft(None, {}, None, {sink: Staged(each) for sink, each in pieces.items()}))
    for sink in sinks:
        assert b"".join(store.outbox(sink).read(pieces[sink][0])) == sink.encode()
    assert len(list((tmp_path / "out" / "1").iterdir())) == len(sinks)


def test_state_that_is_empty_or_missing_is_a_checkpoint_too(tmp_path: Path) -> None:
    store = opened(tmp_path)
    written = store.write(Draft(None, {"op": []}, None, {}))
    assert (written.number, written.state_bytes) == (1, 0)
    store.release()
    recovered = opened(tmp_path).recover()
    assert recovered is not None
    assert recovered.operators == {"op": []}


def test_acknowledging_is_something_the_world_sees(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write(Draft(None, {}, None, {}))
    store.published(1)
    store.write(Draft(None, {}, None, {}, acknowledges=True))
    store.release()
    assert "SHOWN" in names(tmp_path)
    with pytest.raises(CheckpointDamaged, match="its rows acknowledged to their source"):
        damage_and_recover(tmp_path, "m/2.json")


def test_the_next_checkpoint_waits_for_the_output_of_the_last(tmp_path: Path) -> None:
    store = opened(tmp_path)
    write_checkpoint(store, 1)
    with pytest.raises(AssertionError, match="not out"):
        write_checkpoint(store, 2)


def test_hints_count_from_the_last_checkpoint_that_was_decided(tmp_path: Path) -> None:
    store, shadow, state = opened(tmp_path), Shadow(), Count(1)
    for number in range(1, 4):
        state.changing[0] = number
        store.write(Draft(None, {OPERATOR: [take_snapshot(state, shadow)]}, None, {}, hints=number > 1))
        store.published(number)
    store.release()
    recovered = opened(tmp_path).recover()
    assert recovered is not None
    np.testing.assert_array_equal(recovered.instances(OPERATOR)[0].values()["changing"], [3, 1, 1])


def test_a_file_without_room_for_doubt_about_its_version(tmp_path: Path) -> None:
    """Every kind of file begins with the version of its format."""
    with_checkpoints(tmp_path, 1)
    for name, line in {"FORMAT": b"streame checkpoints 1\n", "m/1.json": b"streame checkpoint 1\n",
                       "state/1/0.1.pack": b"streame pack 1\n", "SHOWN": b"streame shown 1\n"}.items():  # fmt: skip
        assert (tmp_path / name).read_bytes().startswith(line)
    body = (tmp_path / "m/1.json").read_bytes().split(b"\n", 1)[1].rpartition(b"|")[0]
    assert json.loads(body)["job"] == JOB


def test_a_piece_that_is_no_file_of_an_outbox_is_not_read(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(AssertionError):
        next(iter(store.outbox(SINK).read({"$file": "out/1/../../FORMAT", "length": 1, "xxh3_128": ""})))


def test_the_local_disk_reads_as_memory_does(tmp_path: Path) -> None:
    disk = LocalDisk(tmp_path)
    disk.remove_empty_directory("none")
    disk.make_directory("a/b")
    disk.remove_empty_directory("a")
    assert disk.names("a") == ["b"]
    disk.remove_empty_directory("a/b")
    assert disk.names("a") == []
