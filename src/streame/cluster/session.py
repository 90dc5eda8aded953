"""A session: the part of one node in one attempt, with its links to all others."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial

from streame.cluster.flow import PING_S
from streame.cluster.frames import Attempt, Control, Failed, FrameRefused
from streame.cluster.link import Input, Link
from streame.errors import ClusterError, PeerLost

MESSAGE_MAX = 4_000


class Session:
    """The links of a node for one attempt. When one fails, all do: the attempt has failed.

    Args:
        attempt: the attempt.
        peers: the names of the nodes that take part and have channels from or to this one.
        inputs: the channels that come from them, by name.
        failed: told once, and from any thread, why the attempt cannot go on.
        told: told what peers say beside the channels.
        ping_s: the seconds between two pings.
        leader: the name of the leader, on any other node.
    """

    def __init__(
        self,
        attempt: Attempt,
        peers: Collection[str],
        inputs: Mapping[str, Input],
        failed: Callable[[ClusterError], None],
        told: Callable[[str, Control], None] | None = None,
        ping_s: float = PING_S,
        leader: str | None = None,
    ) -> None:
        self.attempt = attempt
        self._leader = leader
        self.error: ClusterError | None = None
        self._peers = frozenset(peers)
        self._inputs = inputs
        self._failed = failed
        self._told = told
        self.lost: str | None = None
        """The peer whose link was the first to fail."""
        self._ping_s = ping_s
        self._links: dict[str, Link] = {}
        self._changed = threading.Condition()

    def join(self, peer: str, *, opened: bool) -> Link:
        """A stream to or from a peer begins; there is one in each attempt.

        Args:
            peer: the name of the other node.
            opened: whether this node opens it.

        Raises:
            FrameRefused: when the peer has no part in the attempt, has a stream already, or the attempt has failed.
        """
        with self._changed:
            if peer not in self._peers:
                raise FrameRefused(f"node {peer!r} has no part in attempt {self.attempt}")
            if self.error is not None:
                raise FrameRefused(f"attempt {self.attempt} has failed: {self.error}")
            if peer in self._links:
                raise FrameRefused(
                    f"node {peer!r} has had its stream in attempt {self.attempt}; if that is broken, so is the attempt"
                )
            inputs = {name: to for name, to in self._inputs.items() if to.peer == peer}
            link = Link(
                peer, opened, self.attempt, inputs, partial(self.lose, peer), self._told, self._ping_s
            )
            self._links[peer] = link
            self._changed.notify_all()
            return link

    def link(self, peer: str, timeout_s: float) -> Link:
        """The link to a peer; waits until it is there.

        Raises:
            PeerLost: when it does not come in time.
            ClusterError: when the attempt has failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: peer in self._links or self.error is not None, timeout_s)
            if self.error is not None:
                raise self.error
            if peer not in self._links:
                raise PeerLost(f"node {peer!r} has not connected within {timeout_s:g} s")
            return self._links[peer]

    def lose(self, peer: str, error: ClusterError) -> None:
        """End all links because of one peer, which is remembered."""
        with self._changed:
            if self.error is None and self.lost is None:
                self.lost = peer
        self.fail(error, Failed(self.attempt, False, str(error)[:MESSAGE_MAX], self.lost))

    def fail(self, error: ClusterError, farewell: Failed | None = None) -> None:
        """End all links at once; whoever sends on one gets the error.

        Args:
            error: why.
            farewell: what the leader is told before its link ends, if this is another node.
        """
        with self._changed:
            if self.error is not None:
                return
            self.error = error
            links = list(self._links.values())
            self._changed.notify_all()
        self._failed(error)
        for link in links:
            if farewell is not None and link.peer == self._leader != self.lost:
                link.part(farewell, error)
            else:
                link.fail(error)

    def finish(self, timeout_s: float) -> None:
        """All tasks of this node are done: send what waits, and wait until the peers are done too.

        Raises:
            PeerLost: when a peer does not end in time; its stream is cut.
        """
        until = time.monotonic() + timeout_s
        links = list(self._links.values())
        for link in links:
            link.finish()
        for link in links:
            if not link.wait_over(max(0.0, until - time.monotonic())):
                error = PeerLost(f"node {link.peer!r} has not ended its stream within {timeout_s:g} s")
                self.fail(error)
        if self.error is not None:
            raise self.error
