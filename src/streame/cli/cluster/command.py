"""`streame cluster`: look at a cluster, take nodes out of it, and copy the checkpoints of its jobs."""

import json
from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console

from streame.cli.cluster.options import (
    ClusterName,
    Etcd,
    EtcdPasswordFile,
    EtcdUser,
    TlsCa,
    TlsCertificate,
    TlsKey,
    etcd_tls_of,
    inspection,
    members,
    tls_of,
)
from streame.cli.cluster.text import show
from streame.cli.failure import ExitCode, told
from streame.cli.run import Traceback
from streame.core.cluster_settings import load_cluster_settings
from streame.core.durations import duration_us
from streame.core.locations import local_folder

Job = Annotated[str | None, typer.Option(metavar="NAME", help="Only this job.", show_default="all")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(
    name="cluster",
    help="Look at a cluster, take nodes out of it, and make savepoints.",
    no_args_is_help=True,
)


@app.command()
def status(
    etcd: Etcd = None,
    cluster_name: ClusterName = None,
    job: Job = None,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    etcd_user: EtcdUser = None,
    etcd_password_file: EtcdPasswordFile = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Show the jobs of a cluster: its nodes, who leads, what runs where, the last checkpoint, counters and watermarks.

    Every node is asked, and has two seconds for its answer.
    """
    with told(with_traceback=traceback):
        look = _opened(etcd, cluster_name, tls_ca, tls_certificate, tls_key, etcd_user, etcd_password_file)
        with closing(look):
            report = look.report(job)
        if as_json:
            print(inspection().as_json(report))
        else:
            show(_console(), report)


@app.command()
def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", help="The name of a node.", show_default=False)],
    etcd: Etcd = None,
    cluster_name: ClusterName = None,
    job: Job = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until the node has ended.")] = False,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to wait until the node has ended.")
    ] = "60s",
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    etcd_user: EtcdUser = None,
    etcd_password_file: EtcdPasswordFile = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Let a node hand its work over to the others and end. The last node makes a last checkpoint.

    Exit code 1 if it has not ended in time; it is still to end then.
    """
    with told(with_traceback=traceback):
        timeout_s = duration_us(timeout, where="--timeout") / 1e6
        look = _opened(etcd, cluster_name, tls_ca, tls_certificate, tls_key, etcd_user, etcd_password_file)
        with closing(look):
            drained = look.drain(node, job)
            ended = None if no_wait else look.await_end(drained, timeout_s)
        jobs = ", ".join(each.job for each in drained)
        if as_json:
            print(json.dumps({"version": 1, "drained": [asdict(each) for each in drained], "ended": ended}))
        else:
            _console().print(_outcome(node, jobs, timeout, ended=ended))
        if ended is False:
            raise typer.Exit(ExitCode.FAILED)


@app.command()
def savepoint(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The name of a job.", show_default=False)],
    checkpoints: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="Its checkpoints, a folder or an s3:// URL, as its nodes know them.",
            show_default=False,
        ),
    ],
    target: Annotated[str, typer.Argument(metavar="NEW_DIR", help="The savepoint; a new folder.")],
    etcd: Etcd = None,
    cluster_name: ClusterName = None,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    etcd_user: EtcdUser = None,
    etcd_password_file: EtcdPasswordFile = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Copy the last checkpoint of a job to a new folder, from which a job can begin; this one may be running.

    `streame node --savepoint` begins from it, and `streame run --savepoint` in one process.
    """
    with told(with_traceback=traceback):
        folder = local_folder(target, where="NEW_DIR")
        look = _opened(etcd, cluster_name, tls_ca, tls_certificate, tls_key, etcd_user, etcd_password_file)
        with closing(look):
            number = look.make_savepoint(job, checkpoints, folder)
        if as_json:
            print(json.dumps({"version": 1, "job": job, "checkpoint": number, "savepoint": str(folder)}))
        else:
            _console().print(f"checkpoint {number} copied to {target}")


def _outcome(node: str, jobs: str, timeout: str, *, ended: bool | None) -> str:
    """What has become of a node."""
    match ended:
        case None:
            return f"node {node} is to end (job {jobs})"
        case True:
            return f"node {node} has handed its work over and ended (job {jobs})"
        case False:
            return f"node {node} has not ended within {timeout}; it is still to end (job {jobs})"


def _opened(
    etcd: str | None,
    cluster_name: str | None,
    ca: object,
    certificate: object,
    key: object,
    user: str | None,
    password: object,
) -> Any:
    settings = load_cluster_settings(
        {
            "etcd": etcd,
            "cluster_name": cluster_name,
            "tls_ca": ca,
            "tls_certificate": certificate,
            "tls_key": key,
            "etcd_user": user,
            "etcd_password_file": password,
        }
    )
    return inspection().Inspection.of(
        members(settings),
        settings.cluster_name,
        tls_of(settings),
        settings.etcd_user,
        settings.etcd_password_file,
        etcd_tls_of(settings),
    )


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False)
