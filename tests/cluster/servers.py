"""A small gRPC server on loopback that says who called, and certificates for it."""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric import ec

from streame.cluster.certificates import Authority, write_pem
from streame.cluster.identity import Identity, Role, peer_identity
from streame.cluster.peer_check import PeerCheck
from streame.cluster.security import Tls

SERVICE, METHOD = "streame.test", "WhoAmI"
PATH = f"/{SERVICE}/{METHOD}"
WAIT_S = 10.0


def now() -> datetime:
    """The time of the tests' certificates; the machine's, since TLS asks no other clock."""
    return datetime.now(UTC)


@dataclass
class Signer:
    """An authority that signs whatever a test wants, and keeps the files in a folder."""

    folder: Path
    cluster: str = "shop"
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.authority = Authority.new(self.cluster, now() - timedelta(days=9), now() + timedelta(days=9))
        write_pem(self.folder / "ca.pem", self.authority.certificate)

    def files(self, uri: str, *, begins: int = -1, ends: int = 1, hosts: Collection[str] = ()) -> Tls:
        """The files of an identity, valid between so many days from now."""
        identity = Identity.parse(uri)
        stem = f"{identity.cluster}-{identity.role}-{identity.name}"
        certificate_file, key_file = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        key = ec.generate_private_key(ec.SECP256R1())
        span = (now() + timedelta(days=begins), now() + timedelta(days=ends))
        signed = self.authority.sign(identity, key, ["localhost", "127.0.0.1", *hosts], *span)
        write_pem(certificate_file, signed)
        write_pem(key_file, key)
        return Tls(self.folder / "ca.pem", certificate_file, key_file)


@dataclass
class WhoAmI:
    """A running server: its port, and who got as far as its handler."""

    port: int
    called: list[Identity] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def who_am_i(tls: Tls, cluster: str = "shop", role: Role = "node") -> Iterator[WhoAmI]:
    """A server that answers with the identity of the caller, by its certificate."""
    served = WhoAmI(0)

    def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
        identity = peer_identity(context.auth_context())
        served.called.append(identity)
        return identity.uri.encode()

    server = grpc.server(ThreadPoolExecutor(2), interceptors=[PeerCheck(cluster, [role])])
    methods: dict[str, Any] = {METHOD: grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    served.port = server.add_secure_port("127.0.0.1:0", tls.server_credentials())
    server.start()
    try:
        yield served
    finally:
        server.stop(0).wait(WAIT_S)


def ask(channel: grpc.Channel) -> str:
    """What the server answers; a message that claims to be somebody else changes nothing."""
    with channel:
        call: Any = channel.unary_unary(PATH)
        answer: bytes = call(b"streame://shop/node/somebody-else", timeout=WAIT_S)
        return answer.decode()
