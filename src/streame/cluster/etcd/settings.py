"""Where etcd is and how it is spoken to. Secrets stay in their files: nothing here can print one."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from streame.cluster.security import is_loopback
from streame.errors import PlanError

PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """How etcd is reached.

    Args:
        endpoints: the addresses of its members, `host:port`.
        ca_file: the certificates that vouch for the members; with it, connections are encrypted.
        certificate_file: the certificate of this client.
        key_file: its private key, readable for its owner alone.
        user: the name of a user of etcd.
        password_file: the user's password, readable for its owner alone; a line end behind it is left out.
        timeout_s: how long a call may take that is not told otherwise.
    """

    endpoints: tuple[str, ...]
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise PlanError("etcd: no endpoint is given; expected at least one, such as 'etcd-1:2379'")
        for endpoint in self.endpoints:
            host, _, port = endpoint.rpartition(":")
            is_port = port.isascii() and port.isdecimal() and 1 <= int(port) <= PORT_MAX
            if not host or "/" in endpoint or not is_port:
                raise PlanError(
                    f"etcd: endpoint {endpoint!r} is not host:port with a port from 1 to {PORT_MAX}, such as 'etcd-1:2379'"
                )
            if self.ca_file is None and not is_loopback(host.strip("[]")):
                raise PlanError(
                    f"etcd: without a CA file only loopback addresses are spoken to, found {endpoint!r}; "
                    "set the CA, and a certificate and its key, or a user and a password"
                )
        if (self.certificate_file is None) != (self.key_file is None):
            raise PlanError("etcd: a certificate file and a key file are given together, found one of them")
        if self.certificate_file is not None and self.ca_file is None:
            raise PlanError("etcd: a certificate file without a CA file; set the CA that vouches for etcd")
        if (self.user is None) != (self.password_file is None):
            raise PlanError("etcd: a user and a password file are given together, found one of them")


def read_secret(path: Path, what: str) -> bytes:
    """The content of a file that nobody but its owner may read.

    Args:
        path: the file.
        what: what it holds, for messages.

    Raises:
        PlanError: it cannot be read, or others may read it too.
    """
    content, mode = _read(path, what)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PlanError(
            f"etcd: others than its owner may use the {what} in {path} (mode {mode:04o}); run chmod 600 on it"
        )
    return content


def read_file(path: Path, what: str) -> bytes:
    """The content of a file of the settings.

    Args:
        path: the file.
        what: what it holds, for messages.

    Raises:
        PlanError: it cannot be read.
    """
    return _read(path, what)[0]


def _read(path: Path, what: str) -> tuple[bytes, int]:
    """The content and the mode of a file."""
    try:
        with path.open("rb") as opened:
            return opened.read(), stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
    except OSError as error:
        raise PlanError(f"etcd: the {what} in {path} cannot be read: {error.strerror}") from None
