"""Real processes that end at every failpoint of a checkpoint: what was acknowledged is there, and the next one goes on."""

from pathlib import Path

import pytest

from streame.core.failpoints import EXIT_CODE, VARIABLE
from streame.state.checkpoint.local import LocalCheckpoints
from tests.services.nursery import nursery
from tests.state.checkpoint.counting_job import (
    JOB,
    SINK,
    assert_is,
    output_of,
    published_by,
    write_checkpoint,
)

PLACES = (
    "S1.write", "S1.written", "S1.after", "S2.after", "S3.renamed", "S3.after", "S4.write", "S4.written", "S4.after",
    "S5.after", "S6.after", "S9.removed", "S9.synced",
)  # fmt: skip
RECOVERY = ("R0.before", "R0.synced", "R0.after")


def run_child(folder: Path, count: int, failpoint: str = "") -> tuple[int, int, int]:
    """Run the child; returns its exit code, and the last numbers that it recovered and acknowledged."""
    arguments = ["tests.state.checkpoint.child", str(folder), str(count)]
    ended = nursery().run(arguments, env={VARIABLE: failpoint})
    said = {"recovered": 0, "acknowledged": 0}
    for line in ended.stdout.splitlines():
        word, _, number = line.partition(" ")
        said[word] = int(number)
    assert ended.returncode in {0, EXIT_CODE}, ended.stderr
    return ended.returncode, said["recovered"], said["acknowledged"]


def go_on(folder: Path, acknowledged: int) -> None:
    """What a process left is recovered, exactly, and one more checkpoint can be made."""
    store = LocalCheckpoints(folder, JOB)
    store.claim()
    recovered = store.recover()
    number = recovered.number if recovered else 0
    assert acknowledged <= number <= acknowledged + 1
    if recovered is not None:
        assert_is(recovered, number)
        assert published_by(store, recovered.decided[SINK][-1]) == output_of(number)
    write_checkpoint(store, number + 1)
    store.published(number + 1)
    store.collect_garbage()
    store.release()


@pytest.mark.parametrize("place", PLACES)
def test_a_process_that_ends_in_a_checkpoint_loses_nothing(place: str, tmp_path: Path) -> None:
    code, _, acknowledged = run_child(tmp_path, 6, f"{place}:torn:5")
    assert (code, acknowledged) == (EXIT_CODE, 5 if place.startswith("S9") else 4)
    go_on(tmp_path, acknowledged)


@pytest.mark.parametrize("place", RECOVERY)
def test_a_process_that_ends_in_its_recovery_loses_nothing(place: str, tmp_path: Path) -> None:
    for acknowledged in (0, 1):
        go_on(tmp_path, acknowledged)
    code, _, _ = run_child(tmp_path, 1, f"{place}:exit")
    assert code == EXIT_CODE
    go_on(tmp_path, 2)
