"""Mutual TLS: the files of a node, the credentials made of them, and where a cluster may do without."""

import ipaddress
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from streame.cluster.identity import Identity, only_identity
from streame.errors import PlanError

FINGERPRINT_DIGITS = 32
"""So much of the SHA-256 of a certificate tells it from all others."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SETTINGS = "tls_ca, tls_certificate and tls_key"


@dataclass(frozen=True, slots=True)
class Tls:
    """The files with which a node proves who it is, and by which it knows the others. All are PEM.

    They are read when credentials are made of them, and only their paths are kept: no key is in a `repr`, a log or an
    argument of a process.

    Args:
        ca: the certificate of the authority that has signed all nodes of this cluster, and nobody else.
        certificate: of this node, with its identity as a URI. Without it, and without a key, the files are only for an etcd
            that asks for a user and a password instead.
        key: the private key of the certificate; nobody but its owner may read the file.

    Raises:
        PlanError: when one of certificate and key is given without the other, or something is no path.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def __init__(
        self,
        ca: str | os.PathLike[str],
        certificate: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
    ) -> None:
        if (certificate is None) != (key is None):
            given, missing = ("certificate", "key") if key is None else ("key", "certificate")
            raise PlanError(f"Tls: {given}= is given without {missing}=; give both, or none of them")
        paths: dict[str, object] = {"ca": ca, "certificate": certificate, "key": key}
        for name, path in paths.items():
            if isinstance(path, str | os.PathLike):
                object.__setattr__(self, name, Path(path))
            elif path is None and name != "ca":
                object.__setattr__(self, name, None)
            else:
                raise PlanError(f"Tls: {name}={path!r} is no path; give that of a PEM file")

    @property
    def own(self) -> tuple[Path, Path]:
        """The certificate and its key.

        Raises:
            PlanError: when there are none.
        """
        if self.certificate is None or self.key is None:
            raise PlanError(
                f"tls= has only the CA {self.ca}; nodes know each other by their certificates: give certificate= and key= too. "
                "A CA alone is for etcd_tls="
            )
        return self.certificate, self.key

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a server that lets in only who has a certificate of this cluster's authority.

        Raises:
            PlanError: when a file cannot be used.
        """
        key, chain, ca = self._read()
        return grpc.ssl_server_credentials([(key, chain)], root_certificates=ca, require_client_auth=True)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a connection to such a server.

        Raises:
            PlanError: when a file cannot be used.
        """
        key, chain, ca = self._read()
        return grpc.ssl_channel_credentials(ca, key, chain)

    def check(self, now: datetime) -> Identity:
        """Look at the files before anything is started, since a failed handshake says little.

        Args:
            now: the time, with a time zone.

        Returns:
            Who this node is.

        Raises:
            PlanError: when a file is missing, cannot be understood, is expired, or does not fit the others.
        """
        certificate_file, key_file = self.own
        key, chain, ca = self._read()
        certificate = _certificate(chain, certificate_file)
        _check_time(_certificate(ca, self.ca), self.ca, now)
        _check_time(certificate, certificate_file, now)
        try:
            public = load_pem_private_key(key, None).public_key()
        except Exception as error:  # whatever is wrong with it, its text is not shown
            raise PlanError(
                f"{key_file} is no PEM file of a private key without a password ({type(error).__name__})"
            ) from None
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if public.public_bytes(*form) != certificate.public_key().public_bytes(*form):
            raise PlanError(
                f"{key_file} is not the key of {certificate_file}; give the two that belong together"
            )
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            return only_identity(names.get_values_for_type(x509.UniformResourceIdentifier))
        except x509.ExtensionNotFound:
            return only_identity(())
        except PlanError as error:
            error.add_note(f"in {certificate_file}")
            raise

    def authorities(self) -> tuple[str, ...]:
        """The authorities that this node trusts: the start of the SHA-256 of each certificate in `ca`, sorted.

        The order of the certificates, and what stands around them, do not count.

        Raises:
            PlanError: when the file cannot be used.
        """
        try:
            found = x509.load_pem_x509_certificates(_read(self.ca))
        except ValueError as error:
            raise PlanError(f"{self.ca} is no PEM file of certificates: {error}") from error
        return tuple(sorted({each.fingerprint(SHA256()).hex()[:FINGERPRINT_DIGITS] for each in found}))

    def _read(self) -> tuple[bytes, bytes, bytes]:
        certificate, key = self.own
        return _read(key, private=True), _read(certificate), _read(self.ca)


def host_of(address: str) -> str:
    """The host of `HOST:PORT`; one of IPv6 stands in brackets.

    Raises:
        PlanError: when the address is not of that form.
    """
    host, colon, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        not (colon and bare and port.isascii() and port.isdigit())
        or int(port) > 65_535
        or (":" in bare) != (bare != host)
    ):
        raise PlanError(
            f"{address!r} is no address; write HOST:PORT with a port up to 65535, for IPv6 [HOST]:PORT"
        )
    return bare


def is_loopback(host: str) -> bool:
    """Whether a host can be reached only from this machine; a name other than `localhost` is not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_insecure(addresses: Sequence[str], tls: Tls | None, *, insecure: bool) -> None:
    """Refuse to start a node that anybody could talk to.

    Args:
        addresses: all that it listens on or connects to, as `HOST:PORT`.
        tls: its files, if it has any.
        insecure: whether the user has said that it should do without.

    Raises:
        PlanError: when there are no files and the user has not said so, or an address is not only of this machine.
    """
    outside = [address for address in dict.fromkeys(addresses) if not is_loopback(host_of(address))]
    if tls is not None:
        if insecure:
            raise PlanError(f"there are TLS files and insecure=True; leave out one of the two ({_SETTINGS})")
        return
    if not insecure:
        raise PlanError(
            f"a cluster needs TLS files: give {_SETTINGS} (`streame certs` makes some for a try); "
            "insecure=True does without, on this machine alone"
        )
    if outside:
        raise PlanError(
            f"insecure=True is for this machine alone, but {', '.join(outside)} can be reached from others; "
            f"give {_SETTINGS}, or use 127.0.0.1"
        )


def _read(path: Path, *, private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and mode & _OTHERS:
                raise PlanError(
                    f"the private key {path} can be read by others (its mode is {stat.S_IMODE(mode):04o}); "
                    f"close it with: chmod 600 {path}"
                )
            return file.read()
    except OSError as error:
        raise PlanError(f"cannot read the TLS file {path}: {error.strerror}") from error


def _certificate(pem: bytes, path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise PlanError(f"{path} is no PEM file of a certificate: {error}") from error


def _check_time(certificate: x509.Certificate, path: Path, now: datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begins <= now <= ends:
        raise PlanError(
            f"the certificate {path} is valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC, "
            f"and now it is {now:%Y-%m-%d %H:%M}; get a new one, or set the clock"
        )
