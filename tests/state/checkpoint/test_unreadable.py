"""Files that cannot be read are not damaged: nobody knows what is in them."""

import errno
from pathlib import Path

import pytest

from streame.errors import CheckpointError
from streame.state.checkpoint.inspection import list_checkpoints, verify_checkpoints
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.ownership import FORMAT
from streame.state.checkpoint.recovery import read_store
from streame.state.checkpoint.savepoints import make_savepoint
from streame.storage.disk import LocalDisk
from tests.state.checkpoint.counting_job import JOB
from tests.state.checkpoint.test_local import names, with_checkpoints


class _Refusing(LocalDisk):
    """A disk that does not let one file be read."""

    def __init__(self, root: Path, path: str, number: int) -> None:
        super().__init__(root)
        self._path, self._number = path, number

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if path == self._path:
            raise OSError(self._number, "refused", str(self.root / path))
        return super().read(path, offset, length)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_manifest_that_cannot_be_read_is_not_put_aside(tmp_path: Path, number: int) -> None:
    with_checkpoints(tmp_path, 3, with_output=False)
    store = LocalCheckpoints(tmp_path, JOB, _Refusing(tmp_path, "m/3.json", number))
    store.claim()
    with pytest.raises(CheckpointError, match=r"the manifest m/3.json cannot be read .*nothing was changed"):
        store.recover()
    assert {"m/1.json", "m/2.json", "m/3.json"} <= set(names(tmp_path))
    assert not (tmp_path / "quarantine").exists()


def test_a_manifest_that_is_deleted_while_others_look_is_not_damaged(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 3)
    found = read_store(_Refusing(tmp_path, "m/1.json", errno.ENOENT), None)
    assert sorted(found.facts.manifests) == [2, 3]


def test_a_file_in_the_place_of_a_folder_of_checkpoints_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    for look in (list_checkpoints, verify_checkpoints):
        with pytest.raises(CheckpointError, match="it is no folder; give the folder of the checkpoints"):
            look(file)
    with pytest.raises(CheckpointError, match="file: it "):
        make_savepoint(file, tmp_path / "saved")


def test_a_format_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1)
    (tmp_path / FORMAT).unlink()
    (tmp_path / FORMAT).mkdir()  # also for a user who may read everything
    with pytest.raises(CheckpointError, match=r"it cannot be read .*check the rights of this user"):
        list_checkpoints(tmp_path)


def test_lost_manifests_are_told_when_one_looks(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1)
    (tmp_path / "m/1.json").unlink()
    with pytest.raises(CheckpointError, match="they were lost, for SHOWN says that there was one"):
        list_checkpoints(tmp_path)
