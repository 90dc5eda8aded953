"""Nodes on hosts of their own, next to an etcd on another one: the network between any two of them can be cut.

Off loopback nothing starts without certificates, so all speak mutual TLS here.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.security import Tls
from tests.cluster.conftest import started
from tests.cluster.netns import Hosts, hosts
from tests.cluster.servers import Signer
from tests.services.etcd import EtcdServers

PORT = 7100


@dataclass
class Site:
    """Some hosts; etcd is on the last one, and each node gets one of the others.

    Args:
        hosts: the hosts, all of which this machine reaches as well, whatever is cut between them.
        servers: etcd.
        signer: who signs the certificates of nodes; the name of the cluster is its own.
    """

    hosts: Hosts
    servers: EtcdServers
    signer: Signer

    @property
    def etcd_host(self) -> int:
        """The host of etcd."""
        return self.hosts.count - 1

    def etcd_settings(self) -> EtcdSettings:
        """How etcd is spoken to."""
        tls = self._certificate("etcd-client", ())
        return EtcdSettings(self.servers.endpoints, tls.ca, tls.certificate, tls.key)

    def address(self, host: int) -> str:
        """Where the node of a host listens."""
        return f"{self.hosts.address(host)}:{PORT}"

    def settings(self, name: str, host: int) -> dict[str, Any]:
        """What a node is told besides, so that it runs on a host."""
        tls = self._certificate(name, (self.hosts.address(host),))
        return {
            "tls": [str(file) for file in (tls.ca, tls.certificate, tls.key)],
            "namespace": self.hosts.namespace(host),
        }

    def _certificate(self, name: str, of_hosts: tuple[str, ...]) -> Tls:
        return self.signer.files(f"streame://{self.signer.cluster}/node/{name}", hosts=of_hosts)


@contextmanager
def site(folder: Path, nodes: int) -> Iterator[Site]:
    """Hosts for so many nodes, with an etcd.

    Raises:
        NotAllowed: when this machine does not let us have hosts.
    """
    signer = Signer(folder, "sited")
    with hosts(nodes + 1, joined=True) as made:
        where = made.address(nodes)
        tls = signer.files("streame://sited/node/etcd", hosts=[where])
        trusted = ssl.create_default_context(cafile=tls.ca)
        trusted.load_cert_chain(*tls.own)
        servers = started(
            1, "--cert-file", str(tls.certificate), "--key-file", str(tls.key), "--client-cert-auth",
            "--trusted-ca-file", str(tls.ca), scheme="https", tls=trusted,
            hosts=[(where, made.command(nodes))],
        )  # fmt: skip
        try:
            yield Site(made, servers, signer)
        finally:
            servers.stop()
