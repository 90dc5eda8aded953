"""A node in a process of its own, which runs a job of `jobs.py` as settings say: `python -m tests.cluster.member SETTINGS`."""

import faulthandler
import json
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import streame as st
from streame.cluster import cluster as cluster_module
from streame.cluster.security import Tls
from streame.cluster.transport import DataServer
from streame.core.failpoints import arm
from streame.errors import StreameError
from streame.runtime.signals import stop_on_signals
from tests.cluster.jobs import JOBS, queued
from tests.cluster.netns import move_to
from tests.cluster.putters import Putter

log = logging.getLogger("tests.member")


class Proxied(DataServer):
    """Tells others to reach it through a proxy."""

    proxy_port = 0

    def __init__(self, address: str, cluster: str, tls: Tls | None) -> None:
        super().__init__(address, cluster, tls)
        self.port = self.proxy_port


def main(settings: dict[str, Any]) -> int:
    """Take part until the job has ended, or this node has been told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    folder, name = Path(settings["folder"]), settings["node"]
    log.info("node %s is process %s", name, os.getpid())
    if settings.get("namespace"):
        move_to(settings["namespace"])

    def armed(number: int, frame: FrameType | None) -> None:
        arm((folder / f"{name}.armed").read_text())

    signal.signal(signal.SIGUSR1, armed)
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    if settings.get("proxy_port"):
        Proxied.proxy_port = settings["proxy_port"]
        setattr(cluster_module, "DataServer", Proxied)  # noqa: B010 - there is no setting for it
    tls = st.Tls(*map(Path, settings["tls"])) if settings.get("tls") else None
    cluster = st.Cluster(
        etcd=settings["etcd"], address=settings["address"], name=settings["cluster"], node=name,
        tls=tls, etcd_tls=tls, insecure=tls is None, lease="2s",
    )  # fmt: skip
    checkpoints: dict[str, Any] = {
        "checkpoints": folder / "checkpoints", "checkpoint_interval": settings["interval"],
    }  # fmt: skip
    try:
        if settings["job"] == "queued":
            items = st.Queue(maxsize=100)
            handle = queued(folder, items).start(cluster=cluster, **checkpoints)
            putter = Putter(items, folder, f"{name}-{os.getpid()}")
            with stop_on_signals(handle.stop):
                putter.start()
                handle.wait()
            putter.stop()
            status = handle.status()
        else:
            status = JOBS[settings["job"]](folder).run(cluster=cluster, **checkpoints)
    except StreameError as error:
        log.info("ended by %s: %s", type(error).__name__, error)
        return 1
    log.info("ended: %s", status.state)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
