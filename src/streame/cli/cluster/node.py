"""`streame node`: run a job as one node of a cluster."""

import logging
import sys
from typing import Annotated

import typer

from streame.cli.cluster.options import (
    ClusterName,
    Etcd,
    EtcdPasswordFile,
    EtcdUser,
    Insecure,
    TlsCa,
    TlsCertificate,
    TlsKey,
    cluster_of,
)
from streame.cli.failure import told
from streame.cli.load import load_job
from streame.cli.run import (
    AllowDroppedState,
    AsJson,
    CheckpointInterval,
    Checkpoints,
    Errors,
    Savepoint,
    Target,
    Traceback,
    run_shown,
)
from streame.core.cluster_settings import load_cluster_settings


def node(
    target: Target,
    etcd: Etcd = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where the others reach this node. [STREAME_ADDRESS]",
            show_default=False,
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where it listens for them. [STREAME_LISTEN]",
            show_default="its address",
        ),
    ] = None,
    cluster_name: ClusterName = None,
    node: Annotated[
        str | None,
        typer.Option(
            help="The name of this node. [STREAME_NODE]", show_default="of its certificate or address"
        ),
    ] = None,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    etcd_user: EtcdUser = None,
    etcd_password_file: EtcdPasswordFile = None,
    insecure: Insecure = None,
    lease: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long the others wait for this node when it is not heard. [STREAME_LEASE]",
            show_default="5s",
        ),
    ] = None,
    errors: Errors = None,
    parallelism: Annotated[
        int | None,
        typer.Option(
            min=2, help="Instances of every keyed operator, which the nodes share.", show_default="4"
        ),
    ] = None,
    checkpoints: Checkpoints = None,
    checkpoint_interval: CheckpointInterval = None,
    savepoint: Savepoint = None,
    allow_dropped_state: AllowDroppedState = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Run a job together with the same command on other nodes.

    SIGINT (Ctrl-C) and SIGTERM end this node, and the others go on; the last one makes a last checkpoint. Settings that
    are not given come from STREAME_* variables, or from streame.toml: those of the cluster from its table named cluster.
    """
    with told(with_traceback=traceback):
        cluster = load_cluster_settings(
            {
                "etcd": etcd,
                "address": address,
                "listen": listen,
                "cluster_name": cluster_name,
                "node": node,
                "tls_ca": tls_ca,
                "tls_certificate": tls_certificate,
                "tls_key": tls_key,
                "etcd_user": etcd_user,
                "etcd_password_file": etcd_password_file,
                "insecure": insecure,
                "lease": lease,
            }
        )
        settings = {
            "errors": errors,
            "parallelism": parallelism,
            "checkpoints": checkpoints,
            "checkpoint_interval": checkpoint_interval,
            "savepoint": savepoint,
            "allow_dropped_state": allow_dropped_state or (),
            "cluster": cluster_of(cluster),
        }
        _tell_events()
        run_shown(load_job(target), settings, as_json=as_json)


def _tell_events() -> None:
    """Show on standard error what happens in the cluster, beside the progress."""
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("streame")
    log.addHandler(handler)
    log.setLevel(logging.INFO)


class _ToStderr(logging.Handler):
    """Writes to standard error as it is now: a live line puts something else in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)
