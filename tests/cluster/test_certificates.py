"""Certificates for a try: what is refused, and that a refusal writes nothing."""

import re
from pathlib import Path

import grpc
import pytest

from streame.cluster.certificates import make_certificates
from streame.cluster.identity import Identity
from streame.errors import PlanError
from tests.cluster.servers import ask, now, who_am_i


def make(folder: Path, *names: str, hosts: tuple[str, ...] = (), days: int = 1) -> None:
    make_certificates(folder, [Identity.of("shop", "node", name) for name in names], hosts, now(), days)


@pytest.mark.parametrize(
    ("names", "hosts", "days", "message"),
    [
        (("a/b",), (), 1, "the node name 'a/b' cannot be used"),
        (("a", "a"), (), 1, "give each of them once"),
        ((), (), 1, "give each of them once"),
        (("ca",), (), 1, "no node can be called 'ca'"),
        (("a",), (), 0, "give 1 to 3650"),
        *(
            (("a",), (host,), 1, f"{host!r} is neither a host name nor an IP address")
            for host in (
                "ü",
                "x y",
                "http://x:80/",
                "x:80",
                "",
                "-x",
                "x..y",
                "10.0.0.256",
                "[::1]",
                "x\n",
                "y" * 64,
            )
        ),
        (("a",), ("0.0.0.0",), 1, "the host '0.0.0.0' stands for all addresses"),  # noqa: S104
        (("a",), ("::",), 1, "the host '::' stands for all addresses"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, names: tuple[str, ...], hosts: tuple[str, ...], days: int, message: str
) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        make(tmp_path / "tls", *names, hosts=hosts, days=days)
    assert not (tmp_path / "tls").exists()


@pytest.mark.parametrize("name", ["ca.pem", "a.pem", "b.key"])
def test_no_file_is_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlanError, match="exists already and is not written over"):
        make(tmp_path, "a", "b")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_hosts_and_names_of_every_kind_can_be_in_certificates(tmp_path: Path) -> None:
    name = "n" * 63
    nodes = [Identity.of("c" * 63, "node", name), Identity.of("c" * 63, "client", "a")]
    hosts = ("node-a.example", "node_a", "*.example", "3com.example", "10.0.0.5", "fe80::1")
    files = make_certificates(tmp_path, nodes, hosts, now(), 1)
    assert files[name].check(now()) == nodes[0]
    with who_am_i(files[name]) as server:
        channel = grpc.secure_channel(server.address, files["a"].channel_credentials())
        with pytest.raises(
            grpc.RpcError, match=f"{nodes[1].uri} is not of this cluster"
        ):  # TLS has let it in
            ask(channel)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "tls", "Not a directory")):
        with pytest.raises(PlanError, match=f"cannot make the folder {folder}: {why}; name another one"):
            make(folder, "a")
