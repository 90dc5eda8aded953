"""Starts the services that tests use, says where they are, and stops them at Ctrl-C: `make services`."""

import signal
import threading
from contextlib import ExitStack

from tests.services.etcd import EtcdServers


def main() -> None:
    """Run one etcd of one member and one of three, until told to stop."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with ExitStack() as running:
        for members in (1, 3):
            servers = EtcdServers(members)
            running.callback(servers.stop)
            servers.start()
            print(f"etcd, {members} member(s): {','.join(servers.endpoints)}", flush=True)
        print("Ctrl-C stops them and removes their data.", flush=True)
        over.wait()


if __name__ == "__main__":
    main()
