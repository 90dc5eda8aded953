"""What the leader and the other nodes of an attempt say to each other about checkpoints."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from streame.cluster.frames import Ack, Ask, Control, Failed, FrameRefused, Opened
from streame.cluster.part_files import PartFiles, read_part
from streame.cluster.session import Session
from streame.cluster.view import AttemptEntry
from streame.core.failpoints import failpoint
from streame.core.full_disk import is_full_disk
from streame.errors import PeerLost, StreameError
from streame.runtime.checkpointing import Checkpointing
from streame.runtime.gathering import PartCheckpoints
from streame.runtime.local import LocalRun
from streame.runtime.part import Gathered
from streame.state.checkpoint.manifest import StoredFile
from streame.storage.objects import ObjectStore
from streame.storage.room import RoomWait

JOIN_S = 10.0
"""How long a node waits for others to connect to it."""


class JobFailed(StreameError):  # noqa: N818
    """Another node has found what makes the job fail."""


class Peers:
    """The other nodes of an attempt, as the checkpoints of this one see them.

    Args:
        entry: the attempt.
        place: which of its members this node is.
        tasks: the keys of the tasks that run on other nodes.
        store: where parts of checkpoints are.
        failed: called when the attempt, or the job, cannot go on.
    """

    def __init__(
        self,
        entry: AttemptEntry,
        place: int,
        tasks: frozenset[str],
        store: ObjectStore,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.tasks = tasks
        self.attempt = entry.attempt
        self.leader, *self._others = (member.name for member in entry.members)
        self.session: Session | None = None
        self._leads, self._store, self._fail = place == 0, store, failed
        self._held: dict[str, bool] = {}
        self._events: SimpleQueue[tuple[str, Control] | None] = SimpleQueue()

    @property
    def is_held(self) -> bool:
        """See `runtime.checkpointing.Peers`."""
        return any(self._held.get(name, True) for name in self._others)

    def inject(self, checkpoint: int, *, last: bool) -> None:
        """See `runtime.checkpointing.Peers`."""
        failpoint("C0.after")
        for name in self._others:
            self.tell(name, Ask(self.attempt, checkpoint, last))

    def tell(self, peer: str, control: Control) -> None:
        """Say something to another node."""
        assert self.session is not None
        self.session.link(peer, JOIN_S).tell(control)

    def told(self, peer: str, control: Control) -> None:
        """Another node has said something; called by its link, which must not wait."""
        if self._leads == isinstance(control, Ask) or (not self._leads and peer != self.leader):
            raise FrameRefused(f"node {peer!r} sends {type(control).__name__}, which is not for it to say")
        self._events.put((peer, control))

    def begin(self, run: LocalRun) -> None:
        """The tasks are ready: hear what the others say, in a thread of its own."""
        thread = threading.Thread(target=self._hear, args=(run,), name="peers", daemon=True)
        thread.start()

    def end(self) -> None:
        """The attempt is over: hear nothing more. What was said is still worked on."""
        self._events.put(None)

    def _hear(self, run: LocalRun) -> None:
        checkpointing = run.checkpointing
        try:
            while (event := self._events.get()) is not None:
                peer, control = event
                match control:
                    case Ask(checkpoint=checkpoint, last=last):
                        assert isinstance(checkpointing, PartCheckpoints)
                        checkpointing.asked(checkpoint, last=last)
                    case Opened(held=held):
                        self._held[peer] = held
                    case Ack():
                        assert isinstance(checkpointing, Checkpointing)
                        checkpointing.gathered(self._read(control))
                    case Failed(for_good=for_good, message=message, lost=lost):
                        self._failed(peer, message, lost, for_good=for_good)
        except BaseException as error:
            self._fail(error)

    def _read(self, ack: Ack) -> Gathered:
        files = [
            StoredFile(name, 0, digest.hex()) for name, digest in zip(ack.names, ack.digests, strict=True)
        ]
        if len(files) != 1:
            raise FrameRefused(f"a node gives {len(files)} parts of a checkpoint; expected one")
        return read_part(self._store, ack.checkpoint, files[0])

    def _failed(self, peer: str, message: str, lost: str | None, *, for_good: bool) -> None:
        if for_good:
            raise JobFailed(f"on node {peer!r}: {message}")
        assert self.session is not None
        self.session.lose(lost or peer, PeerLost(f"node {peer!r} cannot go on: {message}"))


class Writer:
    """Writes the parts of this node, and tells the leader.

    Args:
        files: where they are written.
        peers: the other nodes.
        is_over: whether the attempt has ended.
    """

    def __init__(self, files: PartFiles, peers: Peers, is_over: Callable[[], bool]) -> None:
        self._files, self._peers, self._is_over = files, peers, is_over
        self._room = RoomWait()

    @property
    def waits_for(self) -> str | None:
        """See `runtime.gathering.PartWriter`."""
        return self._room.waits_for

    def opened(self, *, held: bool) -> None:
        """See `runtime.gathering.PartWriter`."""
        self._peers.tell(self._peers.leader, Opened(self._peers.attempt, held))

    def send(self, gathered: Gathered) -> None:
        """See `runtime.gathering.PartWriter`. While the disk is full it is tried again and again."""
        failpoint("C1.after")
        pause = threading.Event()
        while True:
            try:
                file = self._files.write(gathered)
            except OSError as error:
                if not is_full_disk(error) or self._is_over():
                    raise
                pause.wait(self._room.failed("the part of a checkpoint", error))
                continue
            break
        self._room.passed()
        failpoint("C2.after")
        digest = bytes.fromhex(file.digest)
        self._peers.tell(
            self._peers.leader, Ack(self._peers.attempt, gathered.checkpoint, (file.path,), (digest,))
        )
        failpoint("C3.after")
