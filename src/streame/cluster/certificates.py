"""An authority and certificates for a cluster that is tried out: `streame certs` writes them."""

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streame.cluster.identity import Identity
from streame.cluster.security import Tls
from streame.errors import PlanError

EARLIER = timedelta(minutes=5)
"""How long before now certificates begin, for nodes whose clocks are behind."""

_COMMON_NAME_MAX = 64
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)(\*\.)?({_LABEL}\.)*(?![0-9]+$){_LABEL}")
"""A name in DNS, or `*.` and one; with a number at its end it would be a broken IP address."""

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs certificates. The key is in no file: whoever had it could be any node.

    Args:
        key: its private key.
        certificate: its own certificate.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, cluster: str, begins: datetime, ends: datetime) -> "Authority":
        """A new authority for one cluster."""
        key = ec.generate_private_key(ec.SECP256R1())
        called = f"streame {cluster} authority"[:_COMMON_NAME_MAX]
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
        usage = _key_usage(signs_certificates=True)
        builder = _builder(name, name, key, begins, ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return cls(key, builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()))

    def sign(
        self,
        identity: Identity,
        key: ec.EllipticCurvePrivateKey,
        hosts: Sequence[str],
        begins: datetime,
        ends: datetime,
    ) -> x509.Certificate:
        """A certificate for a node, as a server and as a client.

        Args:
            identity: who it is.
            key: its key.
            hosts: further names and IP addresses of its server.
            begins: from when it holds.
            ends: until when it holds.
        """
        names = [
            x509.UniformResourceIdentifier(identity.uri),
            x509.DNSName(identity.host),
            *map(_general_name, hosts),
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(subject, self.certificate.subject, key, begins, ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def make_certificates(
    folder: Path, nodes: Sequence[Identity], hosts: Sequence[str], now: datetime, days: int
) -> dict[str, Tls]:
    """Write `ca.pem`, and `NAME.pem` and `NAME.key` for every node, into a folder that has none of these.

    The key of the authority is thrown away, so more nodes need all of them made anew.

    Args:
        folder: is made if it does not exist.
        nodes: all of one cluster.
        hosts: names and addresses of the servers; those of this machine are always among them.
        now: from when they hold.
        days: for how long.

    Returns:
        The files of each node, by its name.

    Raises:
        PlanError: when a file is there already, the folder cannot be made, a name comes twice, or the hosts or the days make
            no sense.
    """
    names = [node.name for node in nodes]
    if not nodes or len(set(names)) < len(names):
        raise PlanError(f"the node names are {names}; give each of them once, with --node")
    if not 1 <= days <= 3650:
        raise PlanError(f"certificates for {days} days are not made; give 1 to 3650")
    if "ca" in names:
        raise PlanError("no node can be called 'ca', since ca.pem is the authority; choose another name")
    files = {name: Tls(folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key") for name in names}
    for path in {path for tls in files.values() for path in (tls.ca, *tls.own)}:
        if path.exists() or path.is_symlink():
            raise PlanError(
                f"{path} exists already and is not written over; name another folder, or remove it"
            )
    begins, ends = now - EARLIER, now + timedelta(days=days)
    authority = Authority.new(nodes[0].cluster, begins, ends)
    all_hosts = list(dict.fromkeys([*LOOPBACK_HOSTS, *hosts]))
    keys = {node: ec.generate_private_key(ec.SECP256R1()) for node in nodes}
    signed = {node: authority.sign(node, key, all_hosts, begins, ends) for node, key in keys.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlanError(f"cannot make the folder {folder}: {error.strerror}; name another one") from error
    write_pem(folder / "ca.pem", authority.certificate)
    for node in nodes:
        certificate, key = files[node.name].own
        write_pem(certificate, signed[node])
        write_pem(key, keys[node])
    return files


def write_pem(path: Path, what: x509.Certificate | ec.EllipticCurvePrivateKey) -> None:
    """Write a certificate, or a key that nobody else can read, to a new file.

    Raises:
        PlanError: when the file is there, or cannot be written.
    """
    match what:
        case x509.Certificate():
            mode, pem = 0o644, what.public_bytes(serialization.Encoding.PEM)
        case _:
            mode = 0o600
            pem = what.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(pem)
    except OSError as error:
        raise PlanError(f"cannot write {path}: {error.strerror}") from error


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begins: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(begins).not_valid_after(ends)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if address.is_unspecified:
            raise PlanError(
                f"the host {host!r} stands for all addresses of a machine; give the one at which others reach the node"
            )
        return x509.IPAddress(address)
    if not _HOST.fullmatch(host):
        raise PlanError(
            f"{host!r} is neither a host name nor an IP address; give one such as 'node-a.example' or '10.0.0.1', without "
            "a scheme or a port"
        )
    return x509.DNSName(host)
