"""Looking at checkpoints: nothing is claimed, nothing changes, and what is wrong is said."""

import json
from pathlib import Path

import pytest

from streame.errors import CheckpointError
from streame.state.checkpoint import sealed
from streame.state.checkpoint.inspection import (
    checkpoint_json,
    list_checkpoints,
    read_checkpoint,
    state_of,
    verify_checkpoints,
)
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.manifest import encode_manifest
from streame.state.checkpoint.ownership import FORMAT
from tests.state.checkpoint.counting_job import JOB, OPERATOR, SINK, write_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three checkpoints of a job that still runs."""
    store = LocalCheckpoints(tmp_path, JOB)
    store.claim()
    for number in (1, 2, 3):
        write_checkpoint(store, number, with_output=number != 2)
        store.published(number)
    return tmp_path


def test_checkpoints_are_listed(folder: Path) -> None:
    job, listed = list_checkpoints(folder)
    assert job == JOB
    assert [(each.number, each.problem, each.operators, each.pieces) for each in listed] == [
        (1, None, 1, 1), (2, None, 1, 0), (3, None, 1, 1),
    ]  # fmt: skip
    assert listed[0].new_bytes == listed[0].state_bytes > listed[1].new_bytes > 0


def test_a_checkpoint_is_shown(folder: Path) -> None:
    manifest = read_checkpoint(folder)
    assert manifest.number == 3
    (state,) = state_of(manifest)
    assert (state.name, state.instances, state.rows) == (OPERATOR, 1, 4)
    assert state.parts.keys() == {"/changing", "/still", "/frame"}
    assert state.bytes == sum(state.parts.values())
    shown = json.loads(json.dumps(checkpoint_json(read_checkpoint(folder, 2))))
    assert shown["number"] == 2
    assert shown["sinks"] == {SINK: {"pieces": [], "note": 2}}
    assert shown["operators"][OPERATOR]["rows"] == 4
    assert [file["path"] for file in shown["files"]] == ["state/1/0.1.pack", "state/2/0.1.pack"]


def test_one_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint 9; there are 1, 2, 3"):
        read_checkpoint(folder, 9)


def test_what_cannot_be_read_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "FORMAT_VERSION", 2)
    newer = encode_manifest(read_checkpoint(folder, 3))
    monkeypatch.undo()
    (folder / "m/4.json").write_bytes(newer)
    (folder / "m/2.json").write_bytes(b"?")
    (folder / "state/3/0.1.pack").write_bytes(b"?")
    _, listed = list_checkpoints(folder)
    assert [each.problem for each in listed] == [
        None,
        "its manifest is damaged: its 1 bytes do not match their checksum",
        None,
        "it has format 2, which this version of Streame does not know",
    ]
    with pytest.raises(CheckpointError, match="checkpoint 2: its manifest is damaged"):
        read_checkpoint(folder, 2)
    verdicts = verify_checkpoints(folder)
    assert [len(each.problems) for each in verdicts] == [0, 1, 1, 1]
    assert "state/3/0.1.pack: it has 1 bytes instead of" in verdicts[2].problems[0]
    assert verdicts[0].bytes > 0


def test_every_byte_is_verified(folder: Path) -> None:
    assert [(each.number, each.problems) for each in verify_checkpoints(folder)] == [
        (1, ()),
        (2, ()),
        (3, ()),
    ]


def test_a_folder_without_checkpoints_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there are no checkpoints: it is not a folder of checkpoints"):
        list_checkpoints(tmp_path / "nothing")
    store = LocalCheckpoints(tmp_path / "new", JOB)
    store.claim()
    with pytest.raises(CheckpointError, match="there are no checkpoints: it has none yet"):
        verify_checkpoints(tmp_path / "new")
    write_checkpoint(store, 1)
    (tmp_path / "new" / FORMAT).unlink()
    assert list_checkpoints(tmp_path / "new")[0] == "unknown"
