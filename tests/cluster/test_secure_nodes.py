"""Nodes that trust nobody without a certificate, and an etcd that does not either and asks for a password besides."""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import polars as pl
import pytest

import streame as st
from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.interface import Compare, Delete, Field, Transaction
from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.frames import Attempt
from streame.cluster.identity import Identity
from streame.cluster.security import Tls
from streame.cluster.session import Session
from streame.cluster.transport import connect
from streame.cluster.view import Keys, View, view_of
from streame.errors import ClusterError, PlanError
from tests.cluster import secure_shop
from tests.cluster.conftest import started
from tests.cluster.servers import Signer
from tests.cluster.worlds import base64_of
from tests.services.etcd import EtcdServers, die_with_parent, until

PASSWORD = "open-sesame-1414"  # noqa: S105 - of servers that live for a test
KEYS = Keys("shop", "orders")
WAIT_S = 60.0


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("signed") / "shop")


@pytest.fixture(scope="module")
def password_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secret") / "password"
    file.touch(mode=0o600)
    file.write_text(PASSWORD)
    return file


@pytest.fixture(scope="module")
def etcd(signer: Signer) -> Iterator[EtcdServers]:
    """It asks for certificates, and lets the user `nodes` use what the cluster `shop` has."""
    tls = signer.files("streame://shop/node/etcd")
    trusted = ssl.create_default_context(cafile=tls.ca)
    trusted.load_cert_chain(*tls.own)
    servers = started(
        1, "--cert-file", str(tls.certificate), "--key-file", str(tls.key), "--client-cert-auth",
        "--trusted-ca-file", str(tls.ca), scheme="https", tls=trusted,
    )  # fmt: skip
    try:
        for name, role in (("root", "root"), ("nodes", "shop")):
            servers.call("auth/user/add", name=name, password=PASSWORD)
            servers.call("auth/role/add", name=role)
            servers.call("auth/user/grant", user=name, role=role)
        own = {
            "permType": "READWRITE",
            "key": base64_of("/streame/shop/"),
            "range_end": base64_of("/streame/shop0"),
        }
        servers.call("auth/role/grant", name="shop", perm=own)
        servers.call("auth/enable")
        yield servers
    finally:
        servers.stop()


@dataclass
class Shop:
    """A cluster in a folder: its nodes are processes.

    Args:
        folder: where it keeps everything.
        etcd: its etcd.
        password_file: the password of the user of etcd.
        etcd_tls: with which etcd is spoken to.
    """

    folder: Path
    etcd: EtcdServers
    password_file: Path
    etcd_tls: Tls
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, tls: Tls | None, etcd_tls: Tls | None = None) -> None:
        """Start a node, without TLS an insecure one."""
        paths = [
            None if each is None else [str(each.ca), str(each.certificate), str(each.key)]
            for each in (tls, etcd_tls or self.etcd_tls)
        ]
        settings = {
            "folder": str(self.folder), "etcd": self.etcd.endpoints, "name": "shop", "node": name,
            "tls": paths[0], "etcd_tls": paths[1], "user": "nodes", "password_file": str(self.password_file),
        }  # fmt: skip
        command = [
            *die_with_parent(),
            sys.executable,
            "-m",
            "tests.cluster.secure_shop",
            json.dumps(settings),
        ]
        with self._log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def said(self, name: str) -> str:
        """What a node has said."""
        return self._log(name).read_text()

    def view(self) -> View:
        """What etcd says."""
        return view_of(self.client.range(KEYS.prefix), KEYS)

    @cached_property
    def client(self) -> EtcdClient:
        """A client as the nodes have one."""
        tls = self.etcd_tls
        settings = EtcdSettings(
            self.etcd.endpoints, tls.ca, tls.certificate, tls.key, "nodes", self.password_file
        )
        return EtcdClient(settings)

    def stop(self) -> None:
        """Kill whatever runs, and forget the job."""
        for process in self.running.values():
            process.kill()
            process.wait()
        for each in self.client.range(KEYS.prefix).entries:
            as_read = Compare(each.key, Field.MOD_REVISION, each.mod_revision)
            self.client.transact(Transaction((as_read,), (Delete(each.key),)))
        self.client.close()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


@pytest.fixture(scope="module")
def etcd_tls(signer: Signer) -> Tls:
    return signer.files("streame://shop/node/etcd-client")


@pytest.fixture
def shop(tmp_path: Path, etcd: EtcdServers, password_file: Path, etcd_tls: Tls) -> Iterator[Shop]:
    shop = Shop(tmp_path, etcd, password_file, etcd_tls)
    yield shop
    shop.stop()


def test_a_job_is_exact_and_strangers_stay_outside(shop: Shop, signer: Signer, tmp_path: Path) -> None:
    strangers = Signer(tmp_path / "strangers")
    for name in ("a", "b", "c"):
        shop.start(name, signer.files(f"streame://shop/node/{name}"))
    shop.start("other", signer.files("streame://other/node/other"))
    stranger = strangers.files("streame://shop/node/stranger")
    shop.start("stranger", stranger, etcd_tls=stranger)
    three = {"a", "b", "c"}

    def all_three_work() -> bool:
        entry = shop.view().attempt
        return entry is not None and {member.name for member in entry.members} == three

    assert until(all_three_work, WAIT_S, every=0.1), [shop.said(name) for name in shop.running]
    address = next(each.member.address for each in shop.view().nodes if each.member.name == "a")
    assert "streame://other/node/b is not of this cluster, which is 'shop'" in refusal(
        address, signer.files("streame://other/node/b")
    )
    assert "does not trust" in refusal(address, strangers.files("streame://shop/node/b"))
    assert shop.running["other"].wait(WAIT_S) == 1
    assert (
        "is a certificate of streame://other/node/other; this is node 'other' of cluster 'shop'"
        in shop.said("other")
    )
    assert until(lambda: "addresses and certificates are right" in shop.said("stranger"), WAIT_S)
    attempt = shop.view().attempt
    foreign = strangers.files("streame://shop/node/foreign")
    for name, tls in (("foreign", foreign), ("insecure", None)):  # etcd lets both in
        shop.start(name, tls)
    for name, own in (("foreign", f"trusts {foreign.authorities()[0]}"), ("insecure", "uses no TLS")):
        assert shop.running[name].wait(WAIT_S) == 1
        assert "PlanError: this node cannot speak to node" in shop.said(name)
        assert f"this node {own}, and that one trusts {authority_of(signer)}." in shop.said(name)
    assert shop.view().attempt == attempt, "the others did not notice"
    assert {each.member.name for each in shop.view().nodes} == three

    (shop.folder / secure_shop.GO).touch()
    for name in sorted(three):
        assert shop.running[name].wait(WAIT_S) == 0, shop.said(name)
    found = st.scan_parquet(shop.folder / secure_shop.OUT).collect()
    totals = found.group_by("item", "n", "qty").agg(pl.col("_diff").sum()).filter(pl.col("_diff") != 0)
    expected = secure_shop.orders().group_by("item").agg(n=pl.len(), qty=pl.col("qty").sum())
    assert sorted(totals.rows()) == sorted((*row, 1) for row in expected.rows())
    assert PASSWORD not in "".join(shop.said(name) for name in shop.running)
    written = [path for path in shop.folder.rglob("*") if path.is_file()]
    assert any(path.name == "MANIFEST" for path in written)
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]
    known = shop.client.range("/streame/shop/").entries
    assert known
    assert not [each.key for each in known if PASSWORD.encode() in each.value]


def authority_of(signer: Signer) -> str:
    """How the authority of a signer is called."""
    ca = signer.folder / "ca.pem"
    return Tls(ca, ca, ca).authorities()[0]


def test_a_node_ends_whose_leader_it_cannot_speak_to(shop: Shop, signer: Signer) -> None:
    shop.start("insecure", None)
    assert until(lambda: shop.view().leader is not None, WAIT_S), shop.said("insecure")
    shop.start("late", signer.files("streame://shop/node/late"))
    assert shop.running["late"].wait(WAIT_S) == 1
    assert f"this node trusts {authority_of(signer)}, and that one uses no TLS." in shop.said("late")
    assert shop.running["insecure"].poll() is None


def refusal(address: str, tls: Tls) -> str:
    """What whoever has these certificates is told by node `a`."""
    ended: list[ClusterError] = []
    session = Session(Attempt(1, 1), ["a"], {}, ended.append)
    try:
        connect(address, Identity("shop", "node", "b"), Identity("shop", "node", "a"), session, tls, 2.0)
    except ClusterError as error:
        return str(error)
    assert until(lambda: bool(ended), WAIT_S)
    return str(ended[0])


def test_a_node_of_another_cluster_is_refused_before_anything_is_asked(signer: Signer) -> None:
    tls = signer.files("streame://third/node/a")
    cluster = st.Cluster(etcd=["127.0.0.1:1"], address="127.0.0.1:0", name="shop", tls=tls)
    with pytest.raises(PlanError, match="is a certificate of streame://third/node/a"):
        cluster.identity()


def test_nodes_have_a_certificate_and_a_key_not_only_an_authority(signer: Signer) -> None:
    files = signer.files("streame://shop/node/whole")
    with pytest.raises(
        PlanError, match=r"nodes know each other by their certificates: give certificate= and key="
    ):
        st.Cluster(etcd=["127.0.0.1:1"], address="127.0.0.1:0", name="shop", tls=st.Tls(files.ca))
    with pytest.raises(PlanError, match="certificate= is given without key=; give both"):
        st.Tls(files.ca, files.certificate)
    with pytest.raises(PlanError, match="key= is given without certificate="):
        st.Tls(files.ca, key=files.key)


def test_no_secret_shows(signer: Signer, password_file: Path) -> None:
    tls = signer.files("streame://shop/node/shown")
    cluster = st.Cluster(
        etcd=["127.0.0.1:1"], address="127.0.0.1:0", name="shop", tls=tls, etcd_user="nodes",
        etcd_password_file=password_file,
    )  # fmt: skip
    shown = f"{cluster!r} {cluster.etcd_settings()!r} {tls!r} {cluster.identity()!r}"
    assert str(tls.key) in shown
    assert PASSWORD not in shown
    key = "".join(tls.own[1].read_text().splitlines()[1:-1])
    assert not any(key[at : at + 16] in shown for at in range(0, len(key) - 16, 16))
