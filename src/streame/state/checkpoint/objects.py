"""Checkpoints in an object store: no lock and no rename, but names that are given once.

The order is that of the model in `tests/model/object_checkpoints.py`, which shows it to be safe and live:

1. Claim: `epoch/<E>` is made, with E one above the highest.
2. Close: `m/<n+1>`, behind the highest manifest, is made; it repeats what that one says. No older owner can decide
   anything from here on.
3. The files are checked and read, what is decided is published.
4. A checkpoint: packs and staged output, then `m/<n>`; if that name is taken, somebody newer owns the place.
5. Look: a manifest counts once it has been seen to be the highest. A name that was removed long ago could be taken by a
   request that comes late.

Nothing needs to be made to last again after a crash: what a store has once shown it does not forget.
"""

from collections.abc import Mapping
from itertools import count
from pathlib import Path

import polars as pl

from streame.core.full_disk import is_full_disk
from streame.core.staging import Outbox, Staged
from streame.errors import CheckpointError, Superseded
from streame.state.checkpoint.history import next_history
from streame.state.checkpoint.local import recovered
from streame.state.checkpoint.manifest import Manifest, Output, chunks_of
from streame.state.checkpoint.object_garbage import collect
from streame.state.checkpoint.object_outbox import ObjectOutbox
from streame.state.checkpoint.object_packs import Cutting, send_pack
from streame.state.checkpoint.object_recovery import Place, find, read_objects
from streame.state.checkpoint.object_savepoints import Savepoint
from streame.state.checkpoint.outbox import stored_file
from streame.state.checkpoint.owned import Owned, encode_owned
from streame.state.checkpoint.ownership import FORMAT, format_bytes, job_of
from streame.state.checkpoint.recovery import SHOWN, SHOWN_BYTES, manifest_path
from streame.state.checkpoint.savepoints import Check, any_plan, tell_passed_over
from streame.state.checkpoint.sealed import seal, unseal
from streame.state.checkpoint.spool import Spool
from streame.state.checkpoint.store import CheckpointStore, Draft, Recovered, Written, stored_pieces
from streame.storage.objects import ObjectStore, Taken, new_owner
from streame.storage.s3 import S3Bucket


def checkpoints_on_s3(
    url: str,
    job: str,
    environment: Mapping[str, str],
    *,
    savepoint: Path | None = None,
    check: Check = any_plan,
) -> "ObjectCheckpoints":
    """The checkpoints of a job under a prefix of a bucket.

    Args:
        url: as in `s3://bucket/prefix`.
        job: the name of the job.
        environment: the variables with address, region and keys.
        savepoint: the folder of a savepoint, from which the job begins if it has no checkpoint yet.
        check: raises when the job cannot go on with the plan of the savepoint.

    Raises:
        PlanError: when the URL cannot be understood, or the package obstore is missing.
        CheckpointError: when one of the keys is missing.
    """
    return ObjectCheckpoints(
        ObjectStore(S3Bucket(url, environment)), job, new_owner(), savepoint=savepoint, check=check
    )


class ObjectCheckpoints(CheckpointStore):
    """The checkpoints of a job in an object store. A job that is started while another one runs takes the place over.

    Args:
        store: where.
        job: the name of the job.
        owner: a name that no other process has or had.
        scratch: a folder for files that are on their way; `None` for that of the system.
        savepoint: the folder of a savepoint, from which the job begins if it has no checkpoint yet.
        check: as for `checkpoints_on_s3`.
    """

    def __init__(
        self,
        store: ObjectStore,
        job: str,
        owner: str,
        scratch: Path | None = None,
        *,
        savepoint: Path | None = None,
        check: Check = any_plan,
    ) -> None:
        self._store, self._job, self._owner, self._scratch = store, job, owner, scratch
        self._spool = Spool(store, scratch)
        self._savepoint, self._check = savepoint, check
        self._epoch = self._first = 0
        self._last: Owned | None = None
        self._known: dict[int, Owned] = {}
        self._unclaimed: set[str] = set()
        self._published = 0
        self._attempts = 0
        self._begun = count()
        self._shown = False
        self._trouble: CheckpointError | None = None

    def claim(self) -> None:
        """See `CheckpointStore`."""
        owner = job_of(self._spool, self._store.where)
        if owner is None:
            try:
                self._store.put_new(FORMAT, format_bytes(self._job))
            except Taken:
                owner = job_of(self._spool, self._store.where)
        if owner is not None and owner != self._job:
            raise CheckpointError(
                f"{self._store.where}: these are the checkpoints of job {owner!r}, not of {self._job!r}; "
                "give each job a prefix of its own, or the job its old name"
            )
        self._first = self._agree_on_first()
        while not self._epoch:
            claimed = [int(name) for name in self._spool.names("epoch") if name.isdecimal()]
            epoch = 1 + max(claimed, default=0)
            try:
                self._store.put_new(f"epoch/{epoch}", self._owner.encode())
            except Taken:
                continue  # by somebody who has started at the same time
            self._epoch = epoch
        self._prove_create_only()

    def recover(self) -> Recovered | None:
        """See `CheckpointStore`."""
        assert self._epoch
        if self._savepoint is not None:
            self._check_savepoint(self._savepoint)
        self._last, self._known = find(self._place())
        self._published = self._last.manifest.number
        if not self._last.empty and any(output.shows for output in self._last.manifest.history):
            self._announce()
        return None if self._last.empty else recovered(self._spool, self._last.manifest)

    def write(self, draft: Draft) -> Written:
        """See `CheckpointStore`."""
        assert self._last is not None
        assert self._published == self._last.manifest.number, "the output of the last checkpoint is not out"
        if isinstance(self._trouble, Superseded):
            raise Superseded(str(self._trouble))
        if self._trouble is not None:
            raise CheckpointError(
                f"an earlier error left the checkpoints in an unknown state: {self._trouble}"
            )
        self._spool.clear()
        number = self._last.manifest.number + 1
        try:
            return self._write(draft, number, self._last.manifest)
        except CheckpointError as error:
            self._trouble = error
            raise
        except Taken as error:
            self._trouble = self._superseded(f"{error} is there already")
            raise self._trouble from None
        except OSError as error:
            if is_full_disk(
                error
            ):  # nothing was made that counts: it can be written again when there is room
                raise
            self._trouble = CheckpointError(f"checkpoint {number}: nobody knows whether it counts ({error})")
            raise self._trouble from error

    def published(self, number: int) -> None:
        """See `CheckpointStore`."""
        assert self._last is not None
        assert number == self._last.manifest.number, (number, self._last.manifest.number)
        self._published = number

    def collect_garbage(self) -> None:
        """See `CheckpointStore`."""
        assert self._last is not None
        collect(self._store, self._last.manifest.number, self._known, self._unclaimed)

    def outbox(self, sink: str) -> Outbox:
        """See `CheckpointStore`."""
        assert self._last is not None
        return ObjectOutbox(
            self._store, sink, self._epoch, self._last_number, self._unclaimed, self._scratch, self._begun
        )

    def release(self) -> None:
        """See `CheckpointStore`. Whoever comes next claims a newer epoch."""
        self._spool.clear()

    def _write(self, draft: Draft, number: int, last: Manifest) -> Written:
        self._attempts += 1
        staged = {name: Staged(tuple(each.pieces), each.note) for name, each in draft.staged.items()}
        output = Output(number, staged, draft.acknowledges, draft.at_us)
        if output.shows:
            self._announce()
        pack = Cutting(self._store, f"state/{number}/{self._epoch}.{self._attempts}")
        operators = send_pack(pack, last, draft.operators, hints=draft.hints)
        packs = {file.path: file for file in [*last.packs, *pack.files]}
        files = tuple(stored_file(piece) for each in staged.values() for piece in stored_pieces(each.pieces))
        manifest = Manifest(
            self._job, number, self._attempts, draft.plan,
            {"polars": pl.__version__} | dict(draft.settings or {}),
            operators, draft.sources, next_history(last.history, output),
            tuple(packs[path] for path in sorted({chunk.pack for chunk in chunks_of(operators)})), files,
        )  # fmt: skip
        owned = Owned(self._epoch, self._owner, manifest)
        content = encode_owned(owned)
        self._decide(number, content)
        self._last, self._known[number] = owned, owned
        self._unclaimed.difference_update(file.path for file in files)
        state = sum(chunk.length for chunk in chunks_of(manifest.operators))
        return Written(number, sum(file.length for file in pack.files) + len(content), state)

    def _check_savepoint(self, savepoint: Path) -> None:
        """Before anything is written: check what the job begins from, or say that it does not."""
        there = read_objects(self._store, None)
        if not there.highest:
            Savepoint.at(savepoint, self._job, self._check)
            return
        last = there.manifests.get(there.highest)
        tell_passed_over(savepoint, self._store.where, there.highest, last.manifest if last else None)

    def _announce(self) -> None:
        """Say for ever that something of this store may be seen; there is a manifest by then, if only an empty one."""
        if not self._shown:
            self._store.put_new(SHOWN, SHOWN_BYTES)
            self._shown = True

    def _decide(self, number: int, content: bytes) -> None:
        """From here on the checkpoint counts, if it is the highest."""
        self._store.put_new(manifest_path(number), content)
        highest = self._place().highest()
        if highest != number:
            raise self._superseded(f"checkpoint {highest} is there already")

    def _superseded(self, why: str) -> Superseded:
        return Superseded(
            f"{self._store.where}: another process owns these checkpoints now ({why}, and it is not of this process, "
            f"{self._owner}); this job stops. If two are running by mistake, stop one; a prefix is for one job"
        )

    def _agree_on_first(self) -> int:
        """The number of the first manifest: that of a savepoint, or 1. Whoever came first has said so for all."""
        try:
            said = self._store.get("FIRST")
        except FileNotFoundError:
            mine = (
                1 if self._savepoint is None else Savepoint.at(self._savepoint, self._job, self._check).number
            )
            said = seal("first", b"%d" % mine)
            try:
                self._store.put_new("FIRST", said)
            except Taken as taken:
                said = taken.there
        first = unseal("first", said)
        if not isinstance(first, bytes):
            raise CheckpointError(
                f"{self._store.where}: the object FIRST is damaged, or of a newer version of Streame; restore it"
            )
        return int(first)

    def _prove_create_only(self) -> None:
        """Refuse a store in which a name can be given twice: nothing would stop a second writer."""
        name = f"epoch/{self._epoch}"
        try:
            self._store.put_new(name, b"proof")
        except Taken as taken:
            if taken.there == self._owner.encode():
                return
        raise CheckpointError(
            f"{self._store.where}: this store gives one name to two objects (it does not honour If-None-Match), so two "
            "processes could overwrite each other's checkpoints; use another store, or a newer version of it"
        )

    def _place(self) -> Place:
        return Place(
            self._store, self._spool, self._job, self._epoch, self._owner, self._first, self._savepoint
        )

    def _last_number(self) -> int:
        assert self._last is not None
        return self._last.manifest.number
