"""Who a node is: what its certificate says, and nothing else."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from streame.errors import PlanError

Role: TypeAlias = Literal["node", "client"]
"""What a certificate is for: a node of the cluster, or a tool that only asks."""

ROLES: tuple[Role, ...] = get_args(Role)
SCHEME = "streame"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_URI = re.compile(rf"{SCHEME}://([^/]*)/([^/]*)/([^/]*)")
_NAMES = ("peer_uri", "x509_subject_alternative_name")
"""Where gRPC puts the names of a certificate; only the first says which of them are URIs, and not every version has it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A node or a tool.

    Args:
        cluster: the name of its cluster.
        role: what it may be.
        name: its own name within the cluster.
    """

    cluster: str
    role: Role
    name: str

    @property
    def uri(self) -> str:
        """How a certificate says it: a URI among its subject alternative names."""
        return f"{SCHEME}://{self.cluster}/{self.role}/{self.name}"

    @property
    def host(self) -> str:
        """The host name under which a server with this identity is known, whatever its address.

        A caller that expects this name in the certificate reaches this node or nobody.
        """
        return f"{self.name}.{self.role}.{self.cluster}.{SCHEME}.internal"

    @classmethod
    def of(cls, cluster: str, role: str, name: str) -> "Identity":
        """An identity whose parts are checked.

        Raises:
            PlanError: when a part cannot stand in a host name, or the role does not exist.
        """
        for what, label in (("cluster", cluster), ("node", name)):
            if not _LABEL.fullmatch(label):
                raise PlanError(
                    f"the {what} name {label!r} cannot be used; take 1 to 63 small letters, digits and hyphens, "
                    "with a letter or digit at both ends"
                )
        known: Mapping[str, Role] = {each: each for each in ROLES}
        if role not in known:
            raise PlanError(f"the role {role!r} does not exist; there are {', '.join(ROLES)}")
        return cls(cluster, known[role], name)

    @classmethod
    def parse(cls, uri: str) -> "Identity":
        """The identity that a URI says.

        Raises:
            PlanError: when it says none.
        """
        match = _URI.fullmatch(uri)
        if match is None:
            raise PlanError(f"{uri!r} is no identity; one looks like {SCHEME}://CLUSTER/ROLE/NAME")
        return cls.of(match[1], match[2], match[3])


def only_identity(names: Iterable[str]) -> Identity:
    """The identity among the names of a certificate.

    Args:
        names: its subject alternative names.

    Raises:
        PlanError: when there is none, or more than one.
    """
    found = {name for name in names if name.startswith(f"{SCHEME}:")}
    if len(found) != 1:
        raise PlanError(
            f"the certificate says {len(found)} identities; it must have exactly one URI {SCHEME}://CLUSTER/ROLE/NAME "
            "among its subject alternative names (`streame certs` makes such certificates)"
        )
    return Identity.parse(found.pop())


def peer_identity(auth_context: Mapping[str, Any]) -> Identity:
    """Who is at the other end of a call, by the certificate that was checked when the connection was made.

    Args:
        auth_context: what gRPC says of the connection: by name, some values as bytes.

    Raises:
        PlanError: when the connection has no certificate, or the certificate no identity.
    """
    names = next((auth_context[each] for each in _NAMES if auth_context.get(each)), ())
    return only_identity(name.decode("utf-8", "replace") for name in names)


def refusal(peer: Identity, cluster: str, roles: Iterable[Role]) -> str | None:
    """Why somebody may not call here; `None` if they may.

    Args:
        peer: who calls.
        cluster: whose cluster this is.
        roles: who may call.
    """
    if peer.cluster != cluster:
        return f"{peer.uri} is not of this cluster, which is {cluster!r}"
    if peer.role not in roles:
        return f"{peer.uri} may not call this; only the role {' or '.join(sorted(roles))} may"
    return None
