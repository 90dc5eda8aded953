"""A process of the tests that writes checkpoints until it is told to stop, or is killed: FOLDER and how many."""

import sys
from pathlib import Path

from streame.state.checkpoint.local import LocalCheckpoints
from streame.storage.disk import LocalDisk
from tests.state.checkpoint.counting_job import JOB, write_checkpoint
from tests.storage.memory_disk import RecordedDisk


def main(folder: str, count: str, log: str = "") -> None:
    """Go on from the last checkpoint, print the number of each new one, and write down what was done to the disk."""
    disk = RecordedDisk(LocalDisk(Path(folder)))
    store = LocalCheckpoints(Path(folder), JOB, disk)
    store.claim()
    recovered = store.recover()
    begun = recovered.number if recovered else 0
    print("recovered", begun, flush=True)
    for number in range(begun + 1, begun + 1 + int(count)):
        write_checkpoint(store, number)
        print("acknowledged", number, flush=True)
        store.published(number)
        store.collect_garbage()
    store.release()
    if log:
        Path(log).write_text(repr(disk.log), encoding="utf-8")


main(*sys.argv[1:])
