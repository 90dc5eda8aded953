"""A process that leads until it is killed, or until its parent is gone: `campaigner ENDPOINT KEY NAME`."""

import sys

from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.lease import LeaseKeeper
from streame.cluster.etcd.settings import EtcdSettings
from tests.cluster.campaign import campaign


def main(endpoint: str, key: str, name: str) -> None:
    """Win the election, print the epoch, and keep the lease."""
    etcd = EtcdClient(EtcdSettings((endpoint,)))
    with LeaseKeeper(etcd, 1) as lease:
        won = campaign(etcd, key, name.encode(), lease.id, timeout_s=10)
        assert won is not None
        print(won.epoch, flush=True)
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
