"""Making savepoints of jobs whose checkpoints are in an object store: a folder on this machine, from which a job can be started."""

from pathlib import Path

from streame.errors import CheckpointError
from streame.state.checkpoint.decide import Fresh, LookAt, Resume, decide
from streame.state.checkpoint.object_recovery import look_at_objects
from streame.state.checkpoint.ownership import claim
from streame.state.checkpoint.recovery import refused
from streame.state.checkpoint.savepoints import copy_checkpoint
from streame.state.checkpoint.spool import Spool
from streame.storage.disk import LocalDisk
from streame.storage.objects import ObjectStore


def make_savepoint_of_objects(store: ObjectStore, target: Path) -> int:
    """Copy the last checkpoint of a job from an object store to a new folder; returns its number.

    The job may be running; if it deletes what is copied meanwhile, this has to be done again.

    Args:
        store: the checkpoints of the job.
        target: the new folder.

    Raises:
        CheckpointError: when there is no checkpoint that can be copied, or something is in the new folder.
    """
    into = LocalDisk(target)
    if into.names(""):
        raise CheckpointError(f"{target}: there is something already; a savepoint needs a new folder")
    spool, found = Spool(store), look_at_objects(store)
    try:
        while isinstance(decision := decide(found.facts), LookAt):
            found.look_at(spool, decision.number)
        match decision:
            case Resume(number, _):
                manifest = found.manifests[number]
            case Fresh():
                raise CheckpointError(
                    f"{store.where}: there is no checkpoint; give the place of a job that has made one"
                )
            case _:
                raise refused(decision, None)
        release = claim(into, manifest.job, str(target))
        try:
            copy_checkpoint(spool, manifest, into)
        except OSError as error:
            raise CheckpointError(
                f"{target}: the savepoint could not be made: {error}; remove the folder and try again"
            ) from error
        finally:
            release()
        return manifest.number
    finally:
        spool.clear()
