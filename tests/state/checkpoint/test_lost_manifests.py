"""All manifests gone: a job does not begin anew where its output may have been seen."""

from pathlib import Path

import pytest

from streame.errors import CheckpointDamaged
from streame.state.checkpoint.local import LocalCheckpoints
from tests.state.checkpoint.counting_job import JOB, write_checkpoint
from tests.state.checkpoint.test_local import opened, with_checkpoints


@pytest.mark.parametrize("with_output", [True, False])
def test_a_job_does_not_begin_anew_because_all_manifests_were_lost(
    tmp_path: Path, *, with_output: bool
) -> None:
    with_checkpoints(tmp_path / "saved", 1)
    with_checkpoints(tmp_path / "job", 4, with_output=with_output)
    for path in (tmp_path / "job/m").iterdir():
        path.unlink()
    if not with_output:  # nobody has seen anything
        assert opened(tmp_path / "job").recover() is None
        return
    for savepoint in (None, tmp_path / "saved"):
        store = LocalCheckpoints(tmp_path / "job", JOB, savepoint=savepoint)
        store.claim()
        with pytest.raises(
            CheckpointDamaged, match=r"/job: all checkpoints are gone: SHOWN says .* Restore m/"
        ):
            store.recover()
        store.release()


def test_a_crash_between_the_decision_and_telling_it_is_made_up_for(tmp_path: Path) -> None:
    with_checkpoints(tmp_path, 1)
    (tmp_path / "SHOWN").unlink()
    store = opened(tmp_path)
    recovered = store.recover()
    assert recovered is not None
    assert recovered.number == 1
    assert (tmp_path / "SHOWN").exists()  # before anything is published


def test_a_crash_before_the_first_decision_is_no_loss(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.recover() is None
    write_checkpoint(store, 1)
    (tmp_path / "SHOWN").rename(tmp_path / "SHOWN.tmp")  # as it is before the manifest has its name
    (tmp_path / "m/1.json").rename(tmp_path / "m/1.json.tmp")
    store.release()
    assert opened(tmp_path).recover() is None
