"""Writing a checkpoint: the steps S1 to S6, after which it counts."""

import errno
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain

import polars as pl

from streame.core.failpoints import failpoint, torn
from streame.core.staging import Staged
from streame.errors import CheckpointError
from streame.state.checkpoint.history import next_history
from streame.state.checkpoint.lasting import must_last
from streame.state.checkpoint.manifest import (
    Manifest,
    Output,
    StoredFile,
    chunks_of,
    encode_manifest,
)
from streame.state.checkpoint.outbox import stored_file
from streame.state.checkpoint.packs import Known, LeafKey, PackWriting
from streame.state.checkpoint.recovery import SHOWN, announce, manifest_path, prepare_announcement
from streame.state.checkpoint.store import Draft, Written, stored_pieces
from streame.storage.disk import Disk

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}

_WORKER = "0"


@dataclass(slots=True)
class CheckpointWriter:
    """Writes the checkpoints of a job, one after the other.

    Args:
        disk: where.
        job: the name of the job.
        last: the last checkpoint.
    """

    disk: Disk
    job: str
    last: Manifest | None
    reserved: int = 0
    """How many bytes must be free before a checkpoint is begun."""
    versions: Mapping[LeafKey, str] = field(default_factory=dict)
    """What the last checkpoint has of leaves that were not in memory."""

    def write(self, draft: Draft) -> Written:
        """See `CheckpointStore.write`."""
        number = self.last.number + 1 if self.last else 1
        attempt = self._free_attempt(number, draft.attempt)
        pack = f"state/{number}/{_WORKER}.{attempt}.pack"
        own = [
            f"state/{number}/room.tmp",
            f"{pack}.tmp",
            pack,
            f"{manifest_path(number)}.tmp",
            f"{SHOWN}.tmp",
        ]
        try:
            manifest, written, versions = self._prepare(draft, number, attempt, pack)
            self.disk.rename(f"{manifest_path(number)}.tmp", manifest_path(number))  # S5
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise CheckpointError(
                    f"checkpoint {number} could not be written: {error}; check the disk and start the job again: "
                    "it goes on from the last checkpoint"
                ) from error
            self.reserved //= 2  # it was a guess: a job must not wait for room that it may not need
            for path in own:
                with suppress(OSError):
                    self.disk.remove(path)
            raise
        self._decide(number, shows=manifest.output.shows)
        self.last, self.reserved, self.versions = manifest, 2 * written, versions
        return Written(number, written, sum(chunk.length for chunk in chunks_of(manifest.operators)))

    def _prepare(
        self, draft: Draft, number: int, attempt: int, pack: str
    ) -> tuple[Manifest, int, Mapping[LeafKey, str]]:
        """S1 to S4; returns the manifest, how many bytes were written, and the versions of leaves not in memory."""
        disk = self.disk
        if disk.size(manifest_path(number)) is not None:
            raise CheckpointError(
                f"{manifest_path(number)} is there already; is another process writing here?"
            )
        output = Output(number, _frozen(draft.staged), draft.acknowledges, draft.at_us)
        if output.shows:
            prepare_announcement(disk)
        disk.make_directory(f"state/{number}")
        if self.reserved:  # allocated and not only counted: a quota has no other way to be asked
            disk.reserve(f"state/{number}/room.tmp", self.reserved)
            disk.remove(f"state/{number}/room.tmp")
        writing = PackWriting(pack, Known(self.last, self.versions), draft.hints)
        parts = writing.parts(draft.operators)
        first = next(parts, None)
        if first is not None:  # S1
            disk.write(f"{pack}.tmp", torn("S1.write", chain([first], parts)))
            failpoint("S1.written")
            must_last(disk.sync, f"{pack}.tmp")
        failpoint("S1.after")
        failpoint("S2.after")  # S2: each file of an outbox was made to last when it was finished
        if writing.file is not None:  # S3
            disk.rename(f"{pack}.tmp", pack)
        staged = self._count_in(output)
        failpoint("S3.renamed")
        self._make_names_last(number, staged)
        failpoint("S3.after")
        manifest = self._manifest(draft, attempt, output, writing, staged)
        content = encode_manifest(manifest)
        disk.write(f"{manifest_path(number)}.tmp", torn("S4.write", [content]))  # S4
        failpoint("S4.written")
        must_last(disk.sync, f"{manifest_path(number)}.tmp")
        failpoint("S4.after")
        return manifest, writing.length + len(content), writing.versions

    def _decide(self, number: int, *, shows: bool) -> None:
        """S6: from here on the checkpoint counts. After an error nobody knows whether it does.

        Only then is it said that there is something to see: a crash before the first decision must leave a store in
        which nothing was ever seen, or it would look as if its checkpoints had been lost.
        """
        try:
            failpoint("S5.after")
            must_last(self.disk.sync_directory, "m")
            failpoint("S6.after")
            if shows:
                announce(self.disk, prepared=True)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {number}: nobody knows whether it counts ({error}); start the job again"
            ) from None

    def _manifest(
        self, draft: Draft, attempt: int, output: Output, writing: PackWriting, staged: tuple[StoredFile, ...]
    ) -> Manifest:
        before = {pack.path: pack for pack in self.last.packs} if self.last else {}
        if writing.file is not None:
            before[writing.path] = writing.file
        used = {chunk.pack for chunk in chunks_of(writing.operators)}
        return Manifest(
            self.job, output.checkpoint, attempt, draft.plan,
            {"polars": pl.__version__} | dict(draft.settings or {}),
            writing.operators, draft.sources,
            next_history(self.last.history if self.last else (), output),
            tuple(before[path] for path in sorted(used)), staged,
        )  # fmt: skip

    def _count_in(self, output: Output) -> tuple[StoredFile, ...]:
        """Rename the files of outboxes that belong to the checkpoint, unless an earlier attempt did."""
        files = [
            stored_file(piece) for staged in output.staged.values() for piece in stored_pieces(staged.pieces)
        ]
        for file in files:
            if self.disk.size(file.path) is None:
                self.disk.rename(f"{file.path}.tmp", file.path)
        return tuple(files)

    def _make_names_last(self, number: int, staged: Iterable[StoredFile]) -> None:
        folders = {file.path.rpartition("/")[0] for file in staged}
        for folder in [f"state/{number}", *sorted(folders), "state", *(["out"] if folders else [])]:
            must_last(self.disk.sync_directory, folder)

    def _free_attempt(self, number: int, attempt: int) -> int:
        """The first number from `attempt` on that no file of an attempt before has: a name is never used twice."""
        names = set(self.disk.names(f"state/{number}"))
        while names & {f"{_WORKER}.{attempt}.pack", f"{_WORKER}.{attempt}.pack.tmp"}:
            attempt += 1
        return attempt


def _frozen(staged: Mapping[str, Staged]) -> dict[str, Staged]:
    return {name: Staged(tuple(each.pieces), each.note) for name, each in staged.items()}
