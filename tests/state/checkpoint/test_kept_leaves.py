"""State that is on disk in checkpoints: read only if it has changed, and restored piece by piece."""

from pathlib import Path
from typing import Any

import numpy as np

from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.store import Draft
from streame.state.snapshot import Apart, Savable, Shadow, take_snapshot
from streame.state.stored import StoredState, store
from streame.storage.scratch import Scratch


class Numbers(Savable):
    """Some numbers."""

    SAVED = ("numbers",)

    def __init__(self, start: int) -> None:
        self.numbers = np.arange(start, start + 100_000)


class Holder(Savable):
    """Something whose state is in files."""

    SAVED = ()

    def __init__(self, pages: list[StoredState]) -> None:
        self.pages = pages

    def saved(self) -> dict[str, Any]:
        return {"pages": {f"page {number}": page.apart() for number, page in enumerate(self.pages)}}


def test_pages_that_have_not_changed_are_not_read_for_a_checkpoint(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "spill")
    scratch.join()
    pages = [store(Numbers(1_000_000 * number), scratch.write) for number in range(3)]
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints", "job")
    checkpoints.claim()
    assert checkpoints.recover() is None

    def checkpoint() -> int:
        snapshot = take_snapshot(Holder(pages), Shadow())
        written = checkpoints.write(Draft({}, {"op": [snapshot]}, {}, {}))
        checkpoints.published(written.number)
        return written.written_bytes

    assert checkpoint() > 2_400_000
    path = Path(pages[0].tree.file.path)
    path.write_bytes(b"\0" * 8 + path.read_bytes()[8:])  # nobody may read the first page any more
    pages[1] = store(Numbers(7), scratch.write)
    assert 800_000 < checkpoint() < 900_000
    assert checkpoint() < 10_000
    checkpoints.release()
    scratch.leave()

    again = LocalCheckpoints(tmp_path / "checkpoints", "job")
    again.claim()
    recovered = again.recover()
    assert recovered is not None
    (state,) = recovered.instances("op")
    restored = list(state.values()["pages"].values())
    assert all(isinstance(page, Apart) for page in restored), "nothing is read before it is asked for"
    starts = [page.values()["numbers"][0] for page in restored]
    assert starts == [0, 7, 2_000_000]
    again.release()
