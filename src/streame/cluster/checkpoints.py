"""The checkpoints of a job in a cluster, as its leader makes them: decided by one transaction of etcd.

    c/<n>/<E>.<k>/<place>.<i>.pack   changed state of the tasks of one node, cut into objects
    c/<n>/<E>.<k>/<place>.part       what that node gives for the checkpoint
    c/<n>/<E>.<k>/MANIFEST           all of it: counts once the pointer in etcd names it
    out/<n>/<E>.<sink>.<i>.out       staged output
    place/<token>                    shows a node that it has the same files as the others

All names are given once, and carry the attempt or at least the epoch: an old leader can only leave litter.
"""

import errno
import logging
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, count

import polars as pl

from streame.cluster.checkpoint_files import garbage, later_manifest, manifests_among
from streame.cluster.etcd.election import Leadership
from streame.cluster.etcd.interface import Etcd
from streame.cluster.etcd.swap import NotSwapped, Swap, Swapped, carry_out
from streame.cluster.frames import Attempt
from streame.cluster.part_files import empty_manifest, folder_of, send_states
from streame.cluster.shelf import Shelf, ShelvedFiles, check_total, is_shelved
from streame.cluster.view import Keys, Pointer, encode
from streame.core.failpoints import failpoint
from streame.core.staging import Outbox, Staged
from streame.errors import CheckpointDamaged, CheckpointError, EtcdError, NoSpace, Superseded
from streame.state.checkpoint.history import next_history
from streame.state.checkpoint.local import recovered
from streame.state.checkpoint.manifest import Manifest, Output, chunks_of, decode_manifest, encode_manifest
from streame.state.checkpoint.object_outbox import ObjectOutbox
from streame.state.checkpoint.outbox import stored_file
from streame.state.checkpoint.ownership import FORMAT, format_bytes, job_of
from streame.state.checkpoint.spool import Spool
from streame.state.checkpoint.store import CheckpointStore, Draft, Recovered, Written, stored_pieces
from streame.storage.disk import Files
from streame.storage.objects import ObjectStore, Taken

KEPT = 3
"""So many checkpoints are kept whole."""

DECIDE_S = 10.0
"""How long it is tried to find out whether a checkpoint was decided."""

DELETED_MAX = 1_000
"""So many files are deleted after a checkpoint at most; a node makes two for each."""

log = logging.getLogger("streame.cluster")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job of a cluster keeps what lasts.

    Args:
        store: the files, which all nodes reach.
        etcd: the decisions.
        keys: the keys of the job.
        job: its name.
    """

    store: ObjectStore
    etcd: Etcd
    keys: Keys
    job: str

    @property
    def shelf(self) -> Shelf:
        """Where the state of small tables is."""
        return Shelf(self.etcd, self.keys.cluster, self.job)

    @property
    def files(self) -> Files:
        """All files of checkpoints."""
        return ShelvedFiles(Spool(self.store), self.shelf)

    def settle(self, probe: str) -> None:
        """Make it the place of this job, if it is nobody's; see that names are given once and that other nodes use it too.

        Args:
            probe: a name that no other process has or had.

        Raises:
            CheckpointError: when it is the place of another job, or not that of the other nodes, or cannot be used.
            EtcdError: when etcd does not answer.
        """
        where, name = self.store.where, f"{self.job} in cluster {self.keys.cluster}"
        owner = job_of(Spool(self.store), where)
        if owner is None:
            try:
                self.store.put_new(FORMAT, format_bytes(name))
            except Taken:
                owner = job_of(Spool(self.store), where)
        if owner is not None and owner != name:
            raise CheckpointError(
                f"{where}: these are the checkpoints of job {owner!r}, not of {name!r}; give each job a place of its own"
            )
        if self.store.size("m") is not None or self.store.names("m"):
            raise CheckpointError(
                f"{where}: these checkpoints were made by a single process, whose order is another one; give the cluster a "
                "place of its own"
            )
        name = f"probe/{probe}"
        self.store.put_new(name, b"first")
        try:
            self.store.put_new(name, b"second")
        except Taken:
            self.store.delete([name])
        else:
            raise CheckpointError(
                f"{where}: this store gives one name to two objects, so that an old leader could overwrite what a new one has "
                "written; use another store"
            )
        self._meet(probe)

    def _meet(self, token: str) -> None:
        """Etcd names a file that the first node has made: whoever does not see it looks into another place."""
        key, file = self.keys.place, f"place/{token}"
        named = self.etcd.get(key).entry
        if named is None:
            self.store.put_new(file, b"")
            done = carry_out(self.etcd, Swap(key, token.encode(), expected=0), timeout_s=DECIDE_S)
            if isinstance(done, Swapped):
                return
            self.store.delete([file])
            named = self.etcd.get(key).entry
        if named is None or self.store.size(f"place/{named.value.decode()}") is None:
            raise CheckpointError(
                f"{self.store.where}: this is not where the checkpoints of job {self.job!r} were begun; give all nodes a "
                "checkpoints= that they share. If this is the right one, and the job is to begin anew here, remove its keys in "
                f"etcd first: all that begin with {self.keys.prefix}"
            )


def read_manifest(store: ObjectStore, pointer: Pointer, job: str) -> Manifest:
    """The manifest to which a pointer points.

    Raises:
        CheckpointDamaged: when it is not the one that was decided.
        CheckpointError: when the store does not answer.
    """
    try:
        content = store.get(pointer.path)
    except FileNotFoundError:
        content = b""
    if len(content) != pointer.size or manifest_digest(content) != pointer.digest:
        raise CheckpointDamaged(
            f"{store.where}: {pointer.path}, the manifest of checkpoint {pointer.number}, is "
            f"{'not what was decided' if content else 'not there'}; restore it, or go on from a savepoint in another place"
        )
    manifest = decode_manifest(content, pointer.number, job)
    if not isinstance(manifest, Manifest):
        raise CheckpointError(f"{store.where}: {pointer.path} cannot be used: {manifest}")
    return manifest


def refuse_earlier_etcd(
    place: Place, leadership: Leadership, attempt: Attempt, pointer: Pointer | None
) -> None:
    """Refuse an etcd that knows less than the files: it was restored from a backup, or is another one.

    Args:
        place: where the checkpoints are.
        leadership: the election that this node has won.
        attempt: the one that begins.
        pointer: the last checkpoint that was decided, for etcd.

    Raises:
        CheckpointDamaged: when it does.
        Superseded: when it does not, but another node leads since.
    """
    last = 0 if pointer is None else pointer.number
    later = later_manifest(manifests_among(place.store.names("c")), attempt, last)
    if later is None:
        return
    if not leads(place, leadership):
        raise Superseded("another node leads since; this one follows")
    number, of = later
    raise CheckpointDamaged(
        f"etcd has gone back in time, or is not the one of these checkpoints: {place.store.where} has a manifest of checkpoint "
        f"{number} of attempt {of}; for etcd the last checkpoint is {last or 'none'}, and attempt {attempt} begins. To go on "
        "would write again what is in the output since then: restore the newest data of etcd, or remove the checkpoints, the "
        "output and the keys of the job, and begin anew"
    )


def leads(place: Place, leadership: Leadership) -> bool:
    """Whether nobody was elected since; asked right before something is deleted."""
    entry = place.etcd.get(place.keys.leader).entry
    return entry is not None and entry.create_revision == leadership.epoch


class ClusterCheckpoints(CheckpointStore):
    """The checkpoints of a job, while one attempt of a leader makes them.

    Args:
        place: where they are.
        leadership: the election that this node has won.
        attempt: the attempt.
        pointer: the last checkpoint that was decided, as it was read in this epoch; `None` if there is none.
        revision: at which the pointer was written; 0 if there is none.
        begun: numbers of which none is given twice in this epoch.
        shelved: the names of operators whose state is to be in etcd.
    """

    def __init__(
        self,
        place: Place,
        leadership: Leadership,
        attempt: Attempt,
        pointer: Pointer | None,
        revision: int,
        begun: "count[int]",
        shelved: Collection[str] = (),
    ) -> None:
        self._place, self._leadership, self._attempt = place, leadership, attempt
        self._pointer, self._revision, self._begun = pointer, revision, begun
        self._shelved = shelved
        self._last = empty_manifest(place.job)
        self._known: dict[int, Manifest] = {}
        self._unclaimed: set[str] = set()

    @property
    def pointer(self) -> Pointer | None:
        """The last checkpoint that was decided."""
        return self._pointer

    def claim(self) -> None:
        """See `CheckpointStore`: the election was the claim."""

    def recover(self) -> Recovered | None:
        """See `CheckpointStore`. The states are checked by the nodes that read them."""
        pointer, store = self._pointer, self._place.store
        if pointer is None:
            return None
        self._last = read_manifest(store, pointer, self._place.job)
        self._known = {pointer.number: self._last}
        for each in pointer.before:
            self._known[each.number] = read_manifest(store, each, self._place.job)
        return recovered(self._place.files, self._last)

    def write(self, draft: Draft) -> Written:
        """See `CheckpointStore`."""
        number, store = self._last.number + 1, self._place.store
        folder = folder_of(number, self._attempt)
        staged = {name: Staged(tuple(each.pieces), each.note) for name, each in draft.staged.items()}
        output = Output(number, staged, draft.acknowledges, draft.at_us)
        try:
            sent = send_states(
                store,
                self._place.shelf,
                self._shelved,
                f"{folder}/0",
                self._last,
                draft.operators,
                hints=draft.hints,
            )
            operators = sent.operators
            packs = {file.path: file for file in [*self._last.packs, *sent.files]} | sent.others
            files = tuple(
                stored_file(piece) for each in staged.values() for piece in stored_pieces(each.pieces)
            )
            manifest = Manifest(
                self._place.job, number, self._attempt.number, draft.plan,
                {"polars": pl.__version__} | dict(draft.settings or {}),
                operators, draft.sources, next_history(self._last.history, output),
                tuple(packs[path] for path in sorted({chunk.pack for chunk in chunks_of(operators)})), files,
            )  # fmt: skip
            check_total(manifest.packs)
            content = encode_manifest(manifest)
            store.put_new(f"{folder}/MANIFEST", content)
        except Taken as error:
            raise Superseded(
                f"{store.where}: {error} is there already, which only this attempt may write"
            ) from None
        failpoint("C4.after")
        self._decide(
            Pointer(
                number,
                self._attempt,
                f"{folder}/MANIFEST",
                manifest_digest(content),
                len(content),
                self._before(),
            )
        )
        failpoint("C5.after")
        self._last, self._known[number] = manifest, manifest
        self._unclaimed.difference_update(file.path for file in files)
        state = sum(chunk.length for chunk in chunks_of(operators))
        return Written(number, sum(file.length for file in sent.files) + len(content), state)

    def published(self, number: int) -> None:
        """See `CheckpointStore`."""
        assert number == self._last.number, (number, self._last.number)
        failpoint("T4.after")

    def collect_garbage(self) -> None:
        """See `CheckpointStore`."""
        failpoint("C7.after")
        kept = (
            []
            if self._pointer is None
            else [self._pointer.number, *(each.number for each in self._pointer.before)]
        )
        self._known = {number: self._known[number] for number in kept}
        try:
            if leads(self._place, self._leadership):  # else whoever leads now sees to it
                self._delete_garbage()
        except EtcdError as error:
            log.warning("nothing was deleted after checkpoint %s: %s", self._last.number, error)
        failpoint("C9.after")

    def _delete_garbage(self) -> None:
        store, shelf = self._place.store, self._place.shelf
        paths = [*store.names("c"), *store.names("out")]
        packs = chain.from_iterable(manifest.packs for manifest in self._known.values())
        if self._shelved or any(is_shelved(pack.path) for pack in packs):
            paths += shelf.names()
        manifests = {f"{folder_of(each.number, each.attempt)}/MANIFEST" for each in self._pointers()}
        old = garbage(paths, self._attempt, self._last.number, self._known, {*self._unclaimed, *manifests})
        store.delete([path for path in old if not is_shelved(path)][:DELETED_MAX])
        shelf.delete([path for path in old if is_shelved(path)], self._leadership.guard)

    def outbox(self, sink: str) -> Outbox:
        """See `CheckpointStore`."""
        return ObjectOutbox(
            self._place.store,
            sink,
            self._leadership.epoch,
            lambda: self._last.number,
            self._unclaimed,
            None,
            self._begun,
            shared=True,
        )

    def release(self) -> None:
        """See `CheckpointStore`: the next attempt has names of its own."""

    def _decide(self, pointer: Pointer) -> None:
        """C5: from here on the checkpoint counts."""
        swap = Swap(self._place.keys.pointer, encode(pointer), self._revision, (self._leadership.guard,))
        try:
            done = carry_out(self._place.etcd, swap, timeout_s=DECIDE_S)
        except NoSpace as error:  # nothing has happened: it is a full disk, and waited for as that
            raise OSError(errno.ENOSPC, str(error)) from error
        except EtcdError as error:
            error.add_note(
                f"checkpoint {pointer.number}: whether it counts is read again by the next attempt"
            )
            raise
        if isinstance(done, NotSwapped):
            raise Superseded(
                f"checkpoint {pointer.number} was not decided: another node leads since, or was faster; this one follows"
            )
        self._pointer, self._revision = pointer, done.entry.mod_revision

    def _before(self) -> tuple[Pointer, ...]:
        """What a new pointer says of the checkpoints before."""
        return tuple(_alone(each) for each in self._pointers()[: KEPT - 1])

    def _pointers(self) -> list[Pointer]:
        return [] if self._pointer is None else [self._pointer, *self._pointer.before]


def _alone(pointer: Pointer) -> Pointer:
    return Pointer(pointer.number, pointer.attempt, pointer.path, pointer.digest, pointer.size)


def manifest_digest(content: bytes) -> str:
    """What a pointer says of a manifest."""
    return blake2b(content, digest_size=32).hexdigest()
