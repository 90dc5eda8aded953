"""Checkpoints in a folder of a file system."""

from collections.abc import Callable
from pathlib import Path

from streame.core.disk_room import DiskRoom
from streame.core.staging import Decided, Outbox, Staged
from streame.errors import CheckpointDamaged, CheckpointError
from streame.state.checkpoint.attempt_file import AttemptFile
from streame.state.checkpoint.collect import collect
from streame.state.checkpoint.manifest import Manifest, SavedState
from streame.state.checkpoint.outbox import LocalOutbox
from streame.state.checkpoint.ownership import claim, require_place
from streame.state.checkpoint.packs import read_leaf
from streame.state.checkpoint.recovery import recover
from streame.state.checkpoint.savepoints import Check, adopt_savepoint, any_plan
from streame.state.checkpoint.store import (
    CheckpointStore,
    Draft,
    Recovered,
    RecoveredState,
    Written,
    stored_pieces,
)
from streame.state.checkpoint.writing import CheckpointWriter
from streame.state.snapshot import Data
from streame.storage.disk import Disk, Files, LocalDisk


class LocalCheckpoints(CheckpointStore):
    """The checkpoints of a job in a folder.

    Args:
        folder: where; it is made if it is not there.
        job: the name of the job.
        disk: the folder as a disk, for tests.
        savepoint: the folder of a savepoint, from which the job begins if it has no checkpoint yet.
        check: raises when the job cannot go on with the plan of the savepoint.
    """

    def __init__(
        self,
        folder: Path,
        job: str,
        disk: Disk | None = None,
        *,
        savepoint: Path | None = None,
        check: Check = any_plan,
    ) -> None:
        self._where, self._job = str(folder), job
        self._disk = disk or LocalDisk(folder)
        self._savepoint, self._check = savepoint, check
        self._writer = CheckpointWriter(self._disk, job, None)
        self._known: dict[int, Manifest] = {}
        self._unclaimed: set[str] = set()
        self._published = 0
        self._trouble: CheckpointError | None = None
        self._release: Callable[[], None] | None = None

    def claim(self) -> None:
        """See `CheckpointStore`."""
        self._release = claim(self._disk, self._job, self._where)

    def recover(self) -> Recovered | None:
        """See `CheckpointStore`."""
        assert self._release is not None
        try:
            if self._savepoint is not None:
                adopt_savepoint(self._savepoint, self._job, self._disk, self._where, self._check)
            manifest, self._known = self._recover()
        except OSError as error:
            raise CheckpointError(f"{self._where}: checkpoints cannot be read: {error}") from error
        if manifest is None:
            return None
        self._writer.last, self._published = manifest, manifest.number
        return recovered(self._disk, manifest)

    def write(self, draft: Draft) -> Written:
        """See `CheckpointStore`."""
        assert self._release is not None
        assert self._published == self._last_number(), "the output of the last checkpoint is not out"
        if self._trouble is not None:
            raise CheckpointError(
                f"an earlier error left the checkpoints in an unknown state: {self._trouble}"
            )
        try:
            require_place(self._disk, self._where)
            written = self._writer.write(draft)
        except CheckpointError as error:
            self._trouble = error
            raise
        manifest = self._writer.last
        assert manifest is not None
        self._known[manifest.number] = manifest
        for staged in manifest.output.staged.values():
            self._unclaimed.difference_update(piece["$file"] for piece in stored_pieces(staged.pieces))
        return written

    def published(self, number: int) -> None:
        """See `CheckpointStore`."""
        assert number == self._last_number(), (number, self._last_number())
        self._published = number

    def collect_garbage(self) -> None:
        """See `CheckpointStore`."""
        if self._last_number():
            collect(self._disk, self._last_number(), self._known, self._unclaimed)

    def space(self) -> DiskRoom | None:
        """See `CheckpointStore`."""
        return self._disk.space()

    def outbox(self, sink: str) -> Outbox:
        """See `CheckpointStore`."""
        return LocalOutbox(self._disk, sink, self._last_number, self._unclaimed)

    def attempts(self) -> AttemptFile:
        """See `CheckpointStore`."""
        return AttemptFile(self._disk, self._where)

    def release(self) -> None:
        """See `CheckpointStore`."""
        if self._release is not None:
            self._release()
            self._release = None

    def _recover(self) -> tuple[Manifest | None, dict[int, Manifest]]:
        try:
            return recover(self._disk, self._job)
        except CheckpointDamaged as error:
            raise CheckpointDamaged(f"{self._where}: {error}") from error

    def _last_number(self) -> int:
        return self._writer.last.number if self._writer.last else 0


def recovered(disk: Files, manifest: Manifest) -> Recovered:
    """What a manifest says, for the runtime.

    Args:
        disk: where its files are.
        manifest: one whose files were checked.
    """
    names = {name for output in manifest.history for name in output.staged}
    return Recovered(
        manifest.number,
        manifest.plan,
        {name: [_state(disk, state) for state in states] for name, states in manifest.operators.items()},
        manifest.sources,
        {
            name: [
                Decided(output.checkpoint, output.staged.get(name, Staged())) for output in manifest.history
            ]
            for name in sorted(names)
        },
        manifest.settings,
        manifest.output.at_us,
    )


def _state(disk: Files, state: SavedState) -> RecoveredState:
    def leaf(number: int) -> Data:
        return read_leaf(state.leaves[number], disk)

    return RecoveredState(state.tree, leaf)
