"""A job of the tests: it counts its checkpoints, and its sink remembers elsewhere what was published."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from streame.core.staging import Decided, Staged
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.store import Draft, Recovered, Written
from streame.state.snapshot import Savable, Shadow, take_snapshot
from streame.storage.disk import Disk

JOB, OPERATOR, SINK = "counting", "count", "out/sink"


class Count(Savable):
    """State with a part that changes, one that does not, and a frame."""

    SAVED = ("count", "changing", "still", "frame")

    def __init__(self, count: int) -> None:
        self.count = count
        self.changing = np.full(3, count)
        self.still = np.arange(4, dtype=np.int16)
        self.frame = pl.DataFrame({"checkpoint": [f"number {count}"]})


def output_of(number: int) -> bytes:
    """What the sink stages for a checkpoint."""
    return f"output of {number}".encode()


def store_on(disk: Disk) -> LocalCheckpoints:
    """The store of the job on a disk."""
    return LocalCheckpoints(Path("checkpoints"), JOB, disk)


def draft_of(store: LocalCheckpoints, number: int, *, with_output: bool = True) -> Draft:
    """What the job hands over for a checkpoint, with staged output."""
    pieces: list[Any] = []
    if with_output:
        file = store.outbox(SINK).begin()
        file.append(output_of(number))
        pieces = [{"file": file.finish(), "rows": 1}]
    return Draft(
        {"operators": [OPERATOR]},
        {OPERATOR: [take_snapshot(Count(number), Shadow())]},
        {"offset": number},
        {SINK: Staged(pieces, number)},
    )


def write_checkpoint(store: LocalCheckpoints, number: int, *, with_output: bool = True) -> Written:
    """One checkpoint; it counts when this returns."""
    written = store.write(draft_of(store, number, with_output=with_output))
    assert written.number == number
    return written


def assert_is(recovered: Recovered, number: int) -> None:
    """What was recovered is exactly that checkpoint."""
    assert recovered.number == number
    assert recovered.sources == {"offset": number}
    values = recovered.instances(OPERATOR)[0].values()
    expected = Count(number)
    assert values["count"] == number
    np.testing.assert_array_equal(values["changing"], expected.changing)
    np.testing.assert_array_equal(values["still"], expected.still)
    assert values["frame"].equals(expected.frame)


def published_by(store: LocalCheckpoints, decided: Decided) -> bytes:
    """What the sink would publish."""
    return b"".join(
        part for piece in decided.staged.pieces for part in store.outbox(SINK).read(piece["file"])
    )
