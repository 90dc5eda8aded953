"""A savepoint from which a job begins that keeps its checkpoints in an object store."""

from dataclasses import dataclass, replace
from pathlib import Path

from streame.errors import CheckpointError
from streame.state.checkpoint.manifest import Manifest
from streame.state.checkpoint.object_packs import Cutting
from streame.state.checkpoint.savepoints import Check, Packing, any_plan, last_checkpoint, require_job
from streame.storage.disk import LocalDisk
from streame.storage.objects import ObjectStore, Taken


@dataclass(frozen=True, slots=True)
class Savepoint:
    """A savepoint in a folder of this machine, every byte of which was checked.

    Args:
        folder: where.
        manifest: what is in it.
    """

    folder: Path
    manifest: Manifest

    @property
    def number(self) -> int:
        """The number of its checkpoint."""
        return self.manifest.number

    @classmethod
    def at(cls, folder: Path, job: str, check: Check = any_plan) -> "Savepoint":
        """The savepoint in a folder.

        Args:
            folder: where.
            job: the name of the job that begins there.
            check: raises when it cannot go on with the plan of the savepoint.

        Raises:
            CheckpointError: when it cannot be used; says why.
        """
        manifest = last_checkpoint(LocalDisk(folder), str(folder))
        require_job(folder, manifest, job)
        check(manifest.plan)
        return cls(folder, manifest)

    def copy_to(self, store: ObjectStore, stem: str) -> Manifest:
        """Copy it into a store; returns its manifest there, which has not been written yet.

        Args:
            store: where.
            stem: with which the names of the files of states begin; whoever else copies gives another one.
        """
        disk = LocalDisk(self.folder)
        pack = Cutting(store, stem)
        packing = Packing(pack.stem, self.manifest, disk)
        try:
            if self.manifest.packs:
                pack.send(packing.parts())
            for file in self.manifest.staged:
                _put(store, file.path, disk.read(file.path))
        except OSError as error:
            raise CheckpointError(f"{self.folder}: it could not be copied: {error}") from error
        operators = {name: pack.placed(states) for name, states in packing.operators().items()}
        return replace(self.manifest, attempt=0, packs=tuple(pack.files), operators=operators)


def _put(store: ObjectStore, path: str, content: bytes) -> None:
    """Write a file that may have been copied before, by whoever did not get to the end."""
    try:
        store.put_new(path, content)
    except Taken:
        if store.get(path) != content:
            raise CheckpointError(
                f"{store.where}: {path} is there already, and is another one than in the savepoint; give the job a new place"
            ) from None
