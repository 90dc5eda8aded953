"""The head of a log: a key in etcd that says which segment is the last one, and which leaders move one after the other."""

from collections.abc import Collection

import msgspec

from streame.cluster.etcd.election import Leadership
from streame.cluster.etcd.interface import Etcd, KeyValue
from streame.cluster.etcd.swap import NotSwapped, Swap, carry_out
from streame.errors import CheckpointDamaged, CheckpointError, Superseded
from streame.storage.objects import new_owner
from streame.storage.segment import Header, Named

FORMAT_VERSION = 1


class Head(msgspec.Struct, frozen=True):
    """What is in etcd of a log.

    Args:
        format: the version of all this.
        epoch: that of the leader that wrote it.
        owner: the process that wrote it.
        change: goes up with everything that this process has tried to write, so that no two heads are the same.
        number: the highest number of a segment.
        last: the last segment; `None` before the first one.
        first: the position of the oldest record that is kept, or will be; a segment begins with it.
        next: the position of the next record.
    """

    format: int = FORMAT_VERSION
    epoch: int = 0
    owner: str = ""
    change: int = 0
    number: int = 0
    last: Named | None = None
    first: int = 0
    next: int = 0


class LogHead:
    """A head, as one leader reads and moves it.

    Args:
        etcd: where it is.
        key: its key.
        leadership: that of this process.
        settle_s: how long to try to find out what became of a move whose answer was lost.
    """

    def __init__(self, etcd: Etcd, key: str, leadership: Leadership, settle_s: float) -> None:
        self.key = key
        self.owner = new_owner()
        self.epoch = leadership.epoch
        self._etcd, self._guard, self._settle_s = etcd, leadership.guard, settle_s
        self._changes = 0
        self._revision = 0

    def read(self) -> Head | None:
        """What the head is now; `None` if it has not been made. The next move is one from there.

        Raises:
            Superseded: when a newer leader has moved it.
            CheckpointDamaged: when it is no head.
            CheckpointError: when it was written by a newer version.
            EtcdError: when etcd does not answer.
        """
        entry = self._etcd.get(self.key).entry
        if entry is None:
            self._revision = 0
            return None
        head = self._decoded(entry)
        if head.epoch > self.epoch:
            raise self._superseded(head)
        self._revision = entry.mod_revision
        return head

    def move(self, head: Head) -> Head:
        """Make the head another one, if it is what it was and nobody was elected since; returns what is there now.

        Raises:
            Superseded: when it is not so. If an answer was lost before, it may have been moved for a while.
            Unknown: when it could not be found out whether it was moved.
            EtcdError: when nothing was changed.
        """
        self._changes += 1
        head = msgspec.structs.replace(head, epoch=self.epoch, owner=self.owner, change=self._changes)
        swap = Swap(self.key, msgspec.json.encode(head), self._revision, (self._guard,))
        done = carry_out(self._etcd, swap, timeout_s=self._settle_s)
        if isinstance(done, NotSwapped):
            raise self._superseded(None if done.found is None else self._decoded(done.found))
        self._revision = done.entry.mod_revision
        return head

    def check(self) -> None:
        """Find out whether somebody else has moved it since.

        Raises:
            Superseded: when it is so.
            EtcdError: when etcd does not answer.
        """
        entry = self._etcd.get(self.key).entry
        if entry is not None and entry.mod_revision != self._revision:
            head = self._decoded(entry)
            if head.owner != self.owner:
                raise self._superseded(head)

    def _decoded(self, entry: KeyValue) -> Head:
        try:
            head = msgspec.json.decode(entry.value, type=Head)
        except msgspec.MsgspecError as error:
            raise CheckpointDamaged(f"etcd: {entry.key} is no head of a log: {error}") from error
        if head.format > FORMAT_VERSION:
            raise CheckpointError(
                f"etcd: {entry.key} has format {head.format}, and this version reads {FORMAT_VERSION}; use the version that "
                "wrote it"
            )
        return head

    def _superseded(self, found: Head | None) -> Superseded:
        newer = f", that of epoch {found.epoch}" if found is not None and found.epoch > self.epoch else ""
        return Superseded(
            f"etcd: {self.key}: another leader was elected{newer}, and this one, of epoch {self.epoch}, stops; what it was "
            "just writing may be in the log or not, and nothing that it is given later is"
        )


def shows_later_head(header: Header, head: Head, epoch: int, kept: Collection[str]) -> bool:
    """Whether a segment to which a head does not lead shows that etcd has been further.

    A segment behind the head that was never sealed follows the last one that was, and is of an older leader.

    Args:
        header: of the segment, which another leader has written.
        head: as it is now.
        epoch: of the leader that looks.
        kept: the paths of the segments to which the head leads.
    """
    if header.epoch > epoch:
        return True
    return header.first >= head.next and header.before is not None and header.before.path not in kept
