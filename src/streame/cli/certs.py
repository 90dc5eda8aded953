"""`streame certs`: an authority and certificates for a cluster that is tried out."""

from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from streame.cli.failure import told
from streame.cli.run import Traceback
from streame.core.clock import SystemClock
from streame.errors import PlanError


def certs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the files are written.", show_default=False)
    ],
    cluster: Annotated[str, typer.Option("--cluster", help="The name of the cluster.", show_default=False)],
    node: Annotated[
        list[str], typer.Option("--node", help="The name of a node; give it for each.", show_default=False)
    ],
    client: Annotated[
        list[str] | None,
        typer.Option(
            "--client", help="The name of a tool that only asks: `streame cluster`.", show_default=False
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help="A host name or IP address of a node, beside localhost.", show_default=False
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", help="For how long they are valid.")] = 30,
    traceback: Traceback = False,
) -> None:
    """Make certificates with which the nodes of a cluster know each other, to try one out.

    The key of the authority that signs them is not kept: for one node more, make all of them anew.
    """
    with told(with_traceback=traceback):
        for module in ("cryptography", "grpc"):
            if find_spec(module) is None:
                raise PlanError(
                    f"certs needs the package {module}; install it with: pip install 'streame[cluster]'"
                )
        # They are imported only here: no other command needs them, and they take a tenth of a second.
        identity: Any = import_module("streame.cluster.identity")
        certificates: Any = import_module("streame.cluster.certificates")
        nodes = [identity.Identity.of(cluster, "node", name) for name in node]
        nodes += [identity.Identity.of(cluster, "client", name) for name in client or ()]
        now = datetime.fromtimestamp(SystemClock().now_us() // 1_000_000, UTC)
        certificates.make_certificates(folder, nodes, host or (), now, days)
        console = Console(highlight=False, soft_wrap=True)
        console.print(f"{folder / 'ca.pem'}: who signed them; every node needs it")
        for name in node:
            console.print(f"{folder / name}.pem, {folder / name}.key: node {name}")
        for name in client or ():
            console.print(f"{folder / name}.pem, {folder / name}.key: client {name}, for `streame cluster`")
