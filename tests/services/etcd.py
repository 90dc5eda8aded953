"""One or several etcd members on loopback, and what tests do to them: paused, asked over the JSON gateway."""

import http.client
import json
import os
import signal
import ssl
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from streame.testing.etcd_members import START_S, EtcdMembers, die_with_parent, until
from tests.services.install import etcd_program

__all__ = ["EtcdServers", "die_with_parent", "until"]


class EtcdServers(EtcdMembers):
    """A cluster of etcd; its program is downloaded if there is none.

    Args:
        members: how many; each has a name `m0`, `m1`, ...
        flags: more arguments for every member, such as those of TLS.
        scheme: `https` when the flags say so.
        hosts: the address of each member, and the command before its command, when they are not just here.
        tls: with `https`, how a client of the JSON gateway shows who it is.
    """

    def __init__(
        self,
        members: int,
        flags: tuple[str, ...] = (),
        scheme: str = "http",
        hosts: Sequence[tuple[str, Sequence[str]]] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(etcd_program(), members, flags, scheme, hosts=hosts)
        self._tls = tls

    def pause(self, member: int) -> None:
        """Let a member stand still with its connections open."""
        pid = self._processes[member].pid
        os.kill(pid, signal.SIGSTOP)
        assert until(lambda: _state(pid) == "T", 5)

    def resume(self, member: int) -> None:
        """Let a paused member go on."""
        os.kill(self._processes[member].pid, signal.SIGCONT)

    def recover(self) -> None:
        """Let every member run again."""
        for member in self._processes:
            self.resume(member)
        self.start()

    def leader(self) -> int:
        """Which member leads the others, once all agree on it: one that stood still takes a while to hear of another."""
        found: list[int] = []

        def agreed() -> bool:
            said = [self.call("maintenance/status", member=member) for member in self._processes]
            leaders = {status["leader"] for status in said}
            found[:] = [
                member
                for member, status in zip(self._processes, said, strict=True)
                if leaders == {status["header"]["member_id"]}
            ]
            return bool(found)

        assert until(agreed, START_S), "the members of etcd do not agree on who leads"
        return found[0]

    def call(self, path: str, member: int = 0, token: str = "", **body: Any) -> dict[str, Any]:
        """Ask the JSON gateway of a member, which tests use to set things up; bytes are in base64."""
        where = self.endpoints[member]
        if self._scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                where, timeout=10, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(where, timeout=10)
        headers = {"Authorization": token} if token else {}
        with closing(connection):
            connection.request("POST", f"/v3/{path}", json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        assert answer.status == http.client.OK, (path, text)
        found: dict[str, Any] = json.loads(text)
        return found


def _state(pid: int) -> str:
    """The state of a process as the kernel names it: `T` is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
