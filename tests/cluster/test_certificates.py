"""Certificates for a try: what is refused, and that a refusal writes nothing."""

from pathlib import Path

import pytest

from streame.cluster.certificates import make_certificates
from streame.cluster.identity import Identity
from streame.errors import PlanError
from tests.cluster.servers import now


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
        (("a",), ("ü",), 1, "is neither a host name nor an IP address"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, names: tuple[str, ...], hosts: tuple[str, ...], days: int, message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        make(tmp_path / "tls", *names, hosts=hosts, days=days)
    assert not (tmp_path / "tls").exists()


@pytest.mark.parametrize("name", ["ca.pem", "a.pem", "b.key"])
def test_no_file_is_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlanError, match="exists already and is not written over"):
        make(tmp_path, "a", "b")
    assert [path.name for path in tmp_path.iterdir()] == [name]
