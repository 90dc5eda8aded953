"""How the commands of clusters reach one: options, and what is made of them with the other settings."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import streame as st
from streame.cli.failure import UsageError
from streame.core.cluster_settings import ClusterSettings
from streame.errors import PlanError

Etcd = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT[,...]", help="The members of etcd. [STREAME_ETCD]", show_default=False),
]
ClusterName = Annotated[
    str | None,
    typer.Option(help="The name of the cluster. [STREAME_CLUSTER_NAME]", show_default="streame"),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Who has signed the certificates of the cluster. [STREAME_TLS_CA]"),
]
TlsCertificate = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The own certificate. [STREAME_TLS_CERTIFICATE]")
]
TlsKey = Annotated[Path | None, typer.Option(metavar="FILE", help="Its key. [STREAME_TLS_KEY]")]
EtcdUser = Annotated[str | None, typer.Option(help="A user of etcd. [STREAME_ETCD_USER]")]
EtcdPasswordFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Where the user's password is. [STREAME_ETCD_PASSWORD_FILE]"),
]
Insecure = Annotated[
    bool | None,
    typer.Option("--insecure", help="Do without TLS, on this machine alone. [STREAME_INSECURE]"),
]


def cluster_of(settings: ClusterSettings) -> st.Cluster:
    """The cluster that a node takes part in.

    Raises:
        UsageError: when an address is not given.
        PlanError: when a setting is wrong.
    """
    if settings.address is None:
        raise UsageError(
            "no address for this node is given, where the others reach it: --address HOST:PORT, or STREAME_ADDRESS"
        )
    return st.Cluster(
        etcd=members(settings),
        address=settings.address,
        name=settings.cluster_name,
        node=settings.node,
        tls=tls_of(settings),
        etcd_tls=etcd_tls_of(settings),
        listen=settings.listen,
        etcd_user=settings.etcd_user,
        etcd_password_file=settings.etcd_password_file,
        insecure=settings.insecure,
        lease=settings.lease,
    )


def members(settings: ClusterSettings) -> tuple[str, ...]:
    """The members of etcd.

    Raises:
        UsageError: when none is given.
    """
    if not settings.etcd:
        raise UsageError("no address of etcd is given: --etcd HOST:PORT, or STREAME_ETCD")
    return settings.etcd


def tls_of(settings: ClusterSettings) -> st.Tls | None:
    """The TLS files, if they are given."""
    if settings.tls_ca is None or settings.tls_certificate is None or settings.tls_key is None:
        return None
    return st.Tls(settings.tls_ca, settings.tls_certificate, settings.tls_key)


def etcd_tls_of(settings: ClusterSettings) -> st.Tls | None:
    """The TLS files for etcd alone, if they are given."""
    if settings.etcd_tls_ca is None:
        return None
    return st.Tls(settings.etcd_tls_ca, settings.etcd_tls_certificate, settings.etcd_tls_key)


def needing_cluster(load: Callable[[], Any]) -> Any:
    """What `load` imports, or an error that says how to install what is missing.

    Raises:
        PlanError: when a package is not there.
    """
    try:
        return load()
    except ModuleNotFoundError as error:
        raise PlanError(
            f"this needs the package {error.name}, which is not installed: pip install 'streame[cluster]'"
        ) from error


def inspection() -> Any:
    """The module that looks at clusters; imported only here, as no other command needs what it needs."""
    return needing_cluster(lambda: import_module("streame.cluster.inspection"))
