"""The settings of a node of a cluster: arguments win over `STREAME_*` variables, which win over `[cluster]` in `streame.toml`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from streame.core.config import CLUSTER_TABLE, SETTINGS_FILE, settings_in
from streame.errors import PlanError


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How a node, or a tool, reaches a cluster.

    Args:
        etcd: the members of etcd, as `HOST:PORT`.
        address: where the others reach the node.
        listen: where it listens for them, if that is another address.
        cluster_name: the name of the cluster.
        node: the name of the node.
        tls_ca: the certificate of the authority of the cluster.
        tls_certificate: that of this node or tool.
        tls_key: its key.
        etcd_tls_ca: the certificate of the authority of etcd, if that is another one.
        etcd_tls_certificate: that of this node or tool, for etcd, if it asks for one.
        etcd_tls_key: its key.
        etcd_user: a user of etcd.
        etcd_password_file: where its password is.
        insecure: whether to do without TLS.
        lease: how long others wait for a node that is not heard.
    """

    etcd: tuple[str, ...] = ()
    address: str | None = None
    listen: str | None = None
    cluster_name: str = "streame"
    node: str | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    etcd_tls_ca: Path | None = None
    etcd_tls_certificate: Path | None = None
    etcd_tls_key: Path | None = None
    etcd_user: str | None = None
    etcd_password_file: Path | None = None
    insecure: bool = False
    lease: str = "5s"


SETTINGS = tuple(each.name for each in fields(ClusterSettings))
TLS = ("tls_ca", "tls_certificate", "tls_key")
ETCD_TLS = tuple(f"etcd_{name}" for name in TLS)
PATHS = frozenset({*TLS, *ETCD_TLS, "etcd_password_file"})

_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def load_cluster_settings(
    arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> ClusterSettings:
    """The settings that hold.

    Args:
        arguments: what the caller gave, by setting; `None` means not given.
        environment: the process's environment variables, unless told otherwise.

    Raises:
        PlanError: for a setting that does not exist or a value that does not fit; says where it was found.
    """
    environment = os.environ if environment is None else environment
    table = settings_in(Path(SETTINGS_FILE)).get(CLUSTER_TABLE, {})
    if not isinstance(table, dict):
        raise PlanError(
            f"{CLUSTER_TABLE!r} in {SETTINGS_FILE} is {table!r}; write a table [{CLUSTER_TABLE}] there"
        )
    variables = {name: environment.get(f"STREAME_{name.upper()}") for name in SETTINGS}
    layers: list[tuple[str, Mapping[str, Any]]] = [
        (f"in [{CLUSTER_TABLE}] of {SETTINGS_FILE}", table),
        ("in the environment", variables),
        ("as an argument", arguments),
    ]
    values: dict[str, Any] = {}
    for where, layer in layers:
        for name, value in layer.items():
            if name not in SETTINGS:
                raise PlanError(
                    f"the setting {name!r} {where} does not exist; there are {', '.join(SETTINGS)}"
                )
            if value is not None:
                values[name] = _checked(name, value, f"the setting {name!r} {where}")
    _check_tls(values, TLS, "give all three")
    if "etcd_tls_ca" not in values or not values.keys().isdisjoint(ETCD_TLS[1:]):
        _check_tls(
            values, ETCD_TLS, "give all three, or etcd_tls_ca alone where etcd asks for no certificate"
        )
    return ClusterSettings(**values)


def _checked(name: str, value: Any, what: str) -> Any:
    if name == "etcd":
        listed = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(each, str) for each in listed):
            raise PlanError(f"{what} is {value!r}; give addresses such as 'etcd-1:2379,etcd-2:2379'")
        return tuple(part.strip() for each in listed for part in each.split(",") if part.strip())
    if name == "insecure":
        found = value if isinstance(value, bool) else _WORDS.get(str(value).lower())
        if found is None:
            raise PlanError(f"{what} is {value!r}; give true or false")
        return found
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise PlanError(f"{what} is {value!r}; give a text")
    return Path(value) if name in PATHS else os.fspath(value)


def _check_tls(values: Mapping[str, Any], names: Sequence[str], advice: str) -> None:
    given = [name for name in names if name in values]
    if given and len(given) < len(names):
        missing = [name for name in names if name not in given]
        raise PlanError(
            f"of the TLS files {', '.join(given)} is given, but not {', '.join(missing)}; {advice}"
        )
