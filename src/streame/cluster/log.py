"""The log of a source that cannot be read again, in a cluster: segments in an object store, and a head in etcd.

The order is that of the model in `tests/model/source_log.py`:

* W1: a segment is written, create-only, under a name with the epoch. It names the segment before it.
* W2: one transaction moves the head to it, if nobody was elected since and the head is what it was. Its records last.
* W3: whoever appended them is told so.
* W4: they are read along the chain of segments to which the head leads.

What the head does not lead to is litter. Segments that nobody needs are deleted once the head says from where on they are
kept. The head is made before the first segment, so that segments without a head mean that etcd has lost it.
"""

import re
import secrets
import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Self

import msgspec

from streame.cluster.etcd.election import Leadership
from streame.cluster.etcd.interface import Etcd
from streame.cluster.log_append import Append, raise_anew
from streame.cluster.log_head import Head, LogHead, shows_later_head
from streame.core.failpoints import failpoint
from streame.core.full_disk import is_full_disk
from streame.errors import (
    CheckpointDamaged,
    CheckpointError,
    EtcdUnavailable,
    NoSpace,
    NotAccepted,
    StreameError,
    Superseded,
)
from streame.storage.disk import Bytes
from streame.storage.objects import ObjectStore, Taken
from streame.storage.segment import Header, Named, damaged, decoded, encoded, header_of

SEGMENT_BYTES = 8 * 1024 * 1024
"""Records that wait go into one segment together as long as it is not longer than that."""

SETTLE_S = 10.0
"""How long to try to find out what became of a head whose answer was lost."""

PROBE_BYTES_MAX = 65_536
"""Whether there is room is tried with at most so many bytes, since it is asked again and again."""

_PROBE = "room-"
_NAME = re.compile(r"(?P<epoch>\d+)-(?P<number>\d+)\.seg")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A segment of the chain: its records are `first` up to `end`."""

    named: Named
    first: int
    end: int
    length: int


@dataclass(frozen=True, slots=True)
class _State:
    """The head as it was last read or written here, and the segments to which it leads, the oldest first."""

    head: Head
    kept: tuple[_Kept, ...]


class ClusterLog:
    """Records in the order in which they were appended, each with a position: 0, 1, 2 and so on, whoever leads.

    `append` returns when the record lasts. Records that several threads append while a segment is being written go into the
    next one together. A leader opens the log once it is elected; one that was elected after it sees all that was
    acknowledged, and from then on nothing that this one appends is.

    Args:
        etcd: where the head is.
        store: where the segments are, below `wal/<source>/`.
        leadership: that of this process.
        prefix: with which the keys of the job begin.
        source: the name of the source; it is a part of names of files and keys.
        settle_s: how long to try to find out what became of a head whose answer was lost.
        segment_bytes: records go into one segment together up to this length.

    Raises:
        Superseded: when another leader has been elected.
        CheckpointDamaged: when what is there is not what was written.
        CheckpointError: when it was written by a newer version, or the store does not answer.
        EtcdError: when etcd does not answer.
    """

    def __init__(
        self,
        etcd: Etcd,
        store: ObjectStore,
        leadership: Leadership,
        *,
        prefix: str,
        source: str,
        settle_s: float = SETTLE_S,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._store, self._folder, self._segment_bytes = store, f"wal/{source}", segment_bytes
        self._head = LogHead(etcd, f"{prefix}{self._folder}/head", leadership, settle_s)
        self._writing = threading.Lock()
        self._waiting: deque[Append] = deque()
        self._unneeded: list[str] = []
        self._dead: CheckpointError | None = None
        self._state = self._opened()
        self._number = self._state.head.number
        self._remove_litter()

    @property
    def first(self) -> int:
        """The position of the oldest record that is kept, or will be."""
        return self._state.head.first

    @property
    def next(self) -> int:
        """The position that the next record gets."""
        return self._state.head.next

    @property
    def length(self) -> int:
        """How many bytes its segments have, all together."""
        return sum(each.length for each in self._state.kept)

    def append(self, payload: Bytes) -> int:
        """Add a record; it lasts when this returns.

        Returns:
            Its position.

        Raises:
            NotAccepted: when the store or etcd did not take it; nothing was added, and the log can be used.
            Superseded: when another leader was elected. The record may be in the log if an answer was lost before.
            CheckpointError: when nobody knows whether the record lasts; the log takes no other.
        """
        mine = Append(bytes(payload))
        self._waiting.append(mine)
        while mine.outcome is None:
            with self._writing:  # whoever comes in writes for all who wait
                if mine.outcome is None:
                    self._write(self._group())
        return mine.result()

    def find_room(self, length: int) -> None:
        """Find out whether a record would be accepted now, and add nothing.

        Args:
            length: how many bytes it has.

        Raises:
            NotAccepted: when the store or etcd takes nothing.
        """
        with self._writing:
            self._check_alive()
            self._move(self._state.head, self._state.kept)
            probe = f"{self._folder}/{_PROBE}{secrets.token_hex(8)}"
            try:
                self._store.put_new(probe, bytes(min(length, PROBE_BYTES_MAX)))
                self._store.delete([probe])
            except (CheckpointError, OSError) as error:
                raise self._takes_nothing(error) from error

    def read(self, position: int) -> Iterator[tuple[int, bytes]]:
        """The records from a position on, each with its own, up to the last one there is now.

        Raises:
            CheckpointDamaged: when records are missing or are not what was written.
            Superseded: when they are missing because another leader has removed them.
        """
        state = self._state
        if not state.head.first <= position <= state.head.next:
            raise CheckpointDamaged(
                f"{self._where} has the records {state.head.first} up to {state.head.next}, but reading is to go on at "
                f"{position}: it was removed or is that of another job; put it back"
            )
        for each in state.kept:
            if each.end > position:
                header, records = decoded(self._loaded(each.named), each.named, self._store.where)
                for at, payload in enumerate(records, header.first):
                    if at >= position:
                        yield at, payload

    def truncate_before(self, position: int) -> None:
        """Remove the segments all of whose records stand before a position, except the last one.

        When the store or etcd takes nothing at the moment they stay until this is called again.

        Raises:
            Superseded: when another leader was elected.
            CheckpointError: when nobody knows from where on records are kept; the log takes no other.
        """
        with self._writing:
            kept = self._state.kept
            gone = tuple(takewhile(lambda each: each.end <= position, kept[:-1]))
            if gone and self._dead is None:
                rest = kept[len(gone) :]
                try:
                    self._move(msgspec.structs.replace(self._state.head, first=rest[0].first), rest)
                except NotAccepted:
                    return
                self._unneeded += [each.named.path for each in gone]
            unneeded, self._unneeded = self._unneeded, []
        self._remove(unneeded)

    def close(self) -> None:
        """The log takes nothing more."""
        with self._writing:
            if self._dead is None:
                self._dead = CheckpointError(f"{self._where} is closed")

    def _opened(self) -> _State:
        """What the head leads to; the head is made if there is none."""
        head = self._head.read()
        if head is not None:
            return _State(head, self._chain(head))
        if self._store.names(self._folder):
            raise CheckpointDamaged(
                f"{self._where} has segments, but etcd has no key {self._head.key}, which leads to them. Rows that were "
                "acknowledged would be lost: bring etcd's data back from a copy, or move the segments away to begin "
                "anew without them"
            )
        return _State(self._head.move(Head()), ())

    def _chain(self, head: Head) -> tuple[_Kept, ...]:
        """The segments from the head back to the oldest one that is kept, once all their bytes are known to be right."""
        kept: list[_Kept] = []
        named, end = head.last, head.next
        while named is not None and end > head.first:
            data = self._loaded(named)
            header, _ = decoded(data, named, self._store.where)
            if header.end != end:
                what = f"its records end before {header.end}, but the next one is {end}"
                raise damaged(self._store.where, named.path, what)
            kept.append(_Kept(named, header.first, header.end, len(data)))
            named, end = header.before, header.first
        if end != head.first:
            raise CheckpointDamaged(
                f"{self._where} begins with record {end}, but {head.first} is the oldest one that is kept"
            )
        return tuple(reversed(kept))

    def _loaded(self, named: Named) -> bytes:
        try:
            return self._store.get(named.path)
        except FileNotFoundError:
            self._head.check()
        raise damaged(self._store.where, named.path, "it is gone")

    def _group(self) -> list[Append]:
        """Those whose records go into the next segment: the first one, and as many as there is room for."""
        group, room = [self._waiting.popleft()], self._segment_bytes
        room -= len(group[0].payload)
        while self._waiting and len(self._waiting[0].payload) <= room:
            group.append(self._waiting.popleft())
            room -= len(group[-1].payload)
        return group

    def _write(self, group: Sequence[Append]) -> None:
        """Write a segment, and tell everybody whose records are in it."""
        outcome: StreameError | None = None
        position = self.next
        try:
            self._check_alive()
            self._seal(tuple(each.payload for each in group), position)
        except NotAccepted as error:
            outcome = error
        except (StreameError, OSError) as error:
            outcome = self._died(error)
        except BaseException as error:
            outcome = self._died(error)
            raise
        finally:
            for at, each in enumerate(group, position):
                each.outcome = at if outcome is None else outcome

    def _seal(self, payloads: tuple[bytes, ...], position: int) -> None:
        """W1 and W2."""
        segment = self._put(payloads, position)
        failpoint("cluster.W1.after")
        head = msgspec.structs.replace(
            self._state.head, number=self._number, last=segment.named, next=segment.end
        )
        self._move(head, (*self._state.kept, segment))
        failpoint("cluster.W2.after")

    def _put(self, payloads: tuple[bytes, ...], position: int) -> _Kept:
        """Write a segment. What a process of the same epoch has left behind keeps its name."""
        while True:
            self._number += 1
            header = Header(
                self._head.epoch, self._number, self._head.owner, self._state.head.last, position,
                tuple(map(len, payloads)),
            )  # fmt: skip
            data, digest = encoded(header, payloads)
            named = Named(f"{self._folder}/{header.epoch}-{header.number}.seg", digest)
            try:
                self._store.put_new(named.path, data)
            except Taken:
                continue
            except (CheckpointError, OSError) as error:
                if isinstance(error, OSError) and not is_full_disk(error):
                    raise
                # It may still come to be there, but no head will ever lead to it.
                raise self._takes_nothing(error) from error
            return _Kept(named, header.first, header.end, len(data))

    def _move(self, head: Head, kept: tuple[_Kept, ...]) -> None:
        """Move the head; nothing was changed when this raises `NotAccepted`."""
        try:
            self._state = _State(self._head.move(head), kept)
        except (EtcdUnavailable, NoSpace) as error:
            raise self._takes_nothing(error) from error
        except StreameError as error:
            raise self._died(error) from error

    def _remove_litter(self) -> None:
        """What older leaders have left behind. Nobody can lead the head there any more, as their epochs are over."""
        kept, litter = {each.named.path for each in self._state.kept}, []
        for path in self._store.names(self._folder):
            name = path.removeprefix(f"{self._folder}/")
            if name.startswith(_PROBE):
                litter.append(path)
            if (segment := _NAME.fullmatch(name)) is None or path in kept:
                continue
            epoch = int(segment["epoch"])
            if epoch != self._head.epoch:
                self._refuse_earlier_head(path, kept)
            if epoch < self._head.epoch:
                litter.append(path)
        self._remove(litter)

    def _refuse_earlier_head(self, path: str, kept: Collection[str]) -> None:
        try:
            header = header_of(self._store.get(path))
        except FileNotFoundError:
            return
        if header is not None and shows_later_head(header, self._state.head, self._head.epoch, kept):
            self._move(
                self._state.head, self._state.kept
            )  # or somebody else leads, and this one is only late
            raise CheckpointDamaged(
                f"{self._where} has {path}, to which the head in etcd, at {self._state.head.next}, does not lead, though it must "
                "have: etcd has gone back in time. Rows that were acknowledged would be lost: restore its newest data, or move "
                "the segments away to begin anew without them"
            )

    def _remove(self, paths: list[str]) -> None:
        try:
            self._store.delete(paths)
        except CheckpointError:
            with self._writing:
                self._unneeded += paths  # with the next ones, or by the next leader

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise_anew(self._dead)

    def _died(self, error: BaseException) -> CheckpointError:
        """After this nothing is appended: nobody knows what the head is, or it is another leader's."""
        if self._dead is None and isinstance(error, Superseded):
            self._dead = error
        elif self._dead is None:
            self._dead = CheckpointError(
                f"{self._where} cannot be written: {error}; what was being written may be there or not. Start the job "
                "again: it goes on with what is there"
            )
        return self._dead

    def _takes_nothing(self, error: StreameError | OSError) -> NotAccepted:
        return NotAccepted(f"{self._where} takes nothing now: {error}")

    @property
    def _where(self) -> str:
        return f"the log in {self._store.where}/{self._folder}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
