"""`streame certs`: what it writes is enough for two nodes to know each other, and nothing is written over."""

import stat
from pathlib import Path

import grpc

from streame.cluster.identity import Identity
from streame.cluster.security import Tls
from tests.cli.process import streame
from tests.cluster.servers import ask, now, who_am_i


def files(folder: Path, name: str) -> Tls:
    return Tls(folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key")


def test_the_nodes_it_makes_know_each_other(tmp_path: Path) -> None:
    arguments = (
        "certs", "tls", "--cluster", "shop", "--node", "a", "--node", "b", "--client", "ann",
        "--host", "10.1.2.3",
    )  # fmt: skip
    done = streame(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tls/ca.pem" in done.stdout
    assert "tls/b.pem, tls/b.key: node b" in done.stdout
    folder = tmp_path / "tls"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    keys = {f"{name}.key": 0o600 for name in ("a", "b", "ann")}
    assert modes == {"ca.pem": 0o644, "a.pem": 0o644, "b.pem": 0o644, "ann.pem": 0o644, **keys}
    assert files(folder, "ann").check(now()) == Identity("shop", "client", "ann")
    assert files(folder, "a").check(now()) == Identity("shop", "node", "a")
    with who_am_i(files(folder, "a")) as server:
        channel = grpc.secure_channel(server.address, files(folder, "b").channel_credentials())
        assert ask(channel) == "streame://shop/node/b"

    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = streame(*arguments, cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already and is not written over" in again.stderr
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_wrong_usage_is_told(tmp_path: Path) -> None:
    done = streame("certs", "tls", "--cluster", "Shop", "--node", "a", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "the cluster name 'Shop' cannot be used" in done.stderr
    assert not (tmp_path / "tls").exists()
