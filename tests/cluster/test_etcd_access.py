"""Who may speak to etcd: certificates, users, roles; and that no secret shows in what is printed."""

import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import streame as st
from streame.cli.main import app
from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.interface import Compare, Field, Put, Transaction
from streame.cluster.etcd.settings import EtcdSettings
from streame.errors import AccessDenied, EtcdError, EtcdUnavailable, NoSpace, PlanError
from tests.cluster.conftest import started
from tests.cluster.worlds import base64_of, put, taken
from tests.services.certificates import Authority
from tests.services.etcd import EtcdServers

PASSWORD = "open-sesame-2718"  # noqa: S105 - of servers that live for a test
Connect = Callable[..., EtcdClient]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("trusted"))


@pytest.fixture(scope="module")
def secured(authority: Authority) -> Iterator[EtcdServers]:
    """An etcd that asks for client certificates."""
    certificate, key = authority.issue("server")
    servers = started(
        1, "--cert-file", str(certificate), "--key-file", str(key), "--client-cert-auth",
        "--trusted-ca-file", str(authority.file), scheme="https",
    )  # fmt: skip
    yield servers
    servers.stop()


def test_with_a_certificate(
    secured: EtcdServers, authority: Authority, prefix: str, connect: Connect
) -> None:
    certificate, key = authority.issue("client")
    etcd = connect(*secured.endpoints, ca_file=authority.file, certificate_file=certificate, key_file=key)
    begin = put(etcd, prefix + "a", b"1").revision
    assert len(taken(etcd.watch(prefix, begin, is_prefix=True), 1)) == 1
    assert etcd.keep_alive(etcd.grant(10).id) == 10


def test_without_the_right_certificate(
    secured: EtcdServers, authority: Authority, tmp_path: Path, connect: Connect
) -> None:
    stranger = Authority(tmp_path)
    certificate, key = stranger.issue("client")
    ours = authority.file
    for settings in (
        {},
        {"ca_file": ours},
        {"ca_file": ours, "certificate_file": certificate, "key_file": key},
        {"ca_file": stranger.file, "certificate_file": certificate, "key_file": key},
    ):
        etcd = connect(*secured.endpoints, timeout_s=0.4, **settings)
        with pytest.raises(EtcdUnavailable, match=r"addresses and certificates are right"):
            etcd.get("a")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(PASSWORD + "\n")
    return file


class Guarded:
    """An etcd with users: `ann` may use what begins with `ours`.

    Args:
        servers: an etcd of one member, without users.
    """

    ours = "/streame/ours/"

    def __init__(self, servers: EtcdServers) -> None:
        self.servers = servers
        for name, role in (("root", "root"), ("ann", "streame")):
            servers.call("auth/user/add", name=name, password=PASSWORD)
            servers.call("auth/role/add", name=role)
            servers.call("auth/user/grant", user=name, role=role)
        self.allow(self.ours, token="")
        servers.call("auth/enable")

    def allow(self, prefix: str, token: str | None = None) -> None:
        """Let ann use a prefix."""
        if token is None:
            token = self.servers.call("auth/authenticate", name="root", password=PASSWORD)["token"]
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        allowed = {"permType": "READWRITE", "key": base64_of(prefix), "range_end": base64_of(end)}
        self.servers.call("auth/role/grant", token=token, name="streame", perm=allowed)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    servers = started(1)
    yield Guarded(servers)
    servers.stop()


@pytest.fixture
def ann(guarded: Guarded, password_file: Path, connect: Connect) -> EtcdClient:
    return connect(*guarded.servers.endpoints, user="ann", password_file=password_file)


def test_a_user_may_do_everything_below_the_prefix_of_the_role(guarded: Guarded, ann: EtcdClient) -> None:
    key = guarded.ours + "everything"
    lease = ann.grant(10)
    watch = ann.watch(guarded.ours, ann.get(key).revision + 1, is_prefix=True)
    put(ann, key, b"1", lease.id)
    assert len(taken(watch, 1)) == 1
    assert ann.keep_alive(lease.id) == 10
    assert [entry.key for entry in ann.range(guarded.ours).entries] == [key]
    ann.revoke(lease.id)
    assert ann.get(key).entry is None


def test_a_user_may_do_nothing_elsewhere(guarded: Guarded, ann: EtcdClient) -> None:
    for refused in (
        lambda: ann.get("/streame/theirs"),
        lambda: ann.range("/streame/"),
        lambda: ann.transact(
            Transaction((Compare("/streame/theirs", Field.VERSION, 0),), (Put("/streame/theirs", b""),))
        ),
        lambda: ann.watch("/streame/theirs", 1).next(10),
    ):
        with pytest.raises(AccessDenied, match="permission denied; give the user a role"):
            refused()


def test_a_token_is_renewed_when_the_server_has_forgotten_it(guarded: Guarded, ann: EtcdClient) -> None:
    watch = ann.watch(guarded.ours, put(ann, guarded.ours + "a", b"1").revision + 1, is_prefix=True)
    guarded.servers.kill(0)
    guarded.servers.start()
    assert put(ann, guarded.ours + "a", b"2").succeeded is False
    assert len(taken(watch, 1)) == 1


def test_a_token_is_renewed_when_roles_have_changed(guarded: Guarded, ann: EtcdClient) -> None:
    ann.get(guarded.ours)
    guarded.allow("/streame/more/")
    assert put(ann, "/streame/more/a", b"1").revision
    guarded.allow("/streame/most/")
    assert len(taken(ann.watch("/streame/more/a", 1), 1)) == 1


def test_a_wrong_or_missing_user(
    guarded: Guarded, one_member: EtcdServers, password_file: Path, connect: Connect
) -> None:
    endpoints = guarded.servers.endpoints
    with pytest.raises(AccessDenied, match="etcd asks for a user"):
        connect(*endpoints).get("a")
    with pytest.raises(AccessDenied, match="etcd asks for none"):
        connect(*one_member.endpoints, user="ann", password_file=password_file).get("a")
    password_file.write_text("wrong-3141")
    wrong = connect(*endpoints, user="ann", password_file=password_file)
    for refused in (lambda: wrong.get("a"), lambda: wrong.watch("a", 1).next(10)):
        with pytest.raises(AccessDenied, match="check the user and the password file") as error:
            refused()
        assert "3141" not in str(error.value) + repr(error.value)


@pytest.fixture
def encrypted(authority: Authority) -> Iterator[Guarded]:
    """An etcd that shows a certificate and asks for none, but for a user."""
    certificate, key = authority.issue("encrypted")
    servers = started(
        1, "--cert-file", str(certificate), "--key-file", str(key), scheme="https",
        tls=ssl.create_default_context(cafile=authority.file),
    )  # fmt: skip
    yield Guarded(servers)
    servers.stop()


def test_a_user_and_the_authority_of_etcd_are_enough(
    encrypted: Guarded, authority: Authority, password_file: Path, tmp_path: Path
) -> None:
    endpoints = encrypted.servers.endpoints
    cluster = st.Cluster(
        etcd=endpoints, address="127.0.0.1:0", name="ours", node="a", insecure=True,
        etcd_tls=st.Tls(authority.file), etcd_user="ann", etcd_password_file=password_file,
    )  # fmt: skip
    numbers = st.scan_frames([pl.DataFrame({"n": [1]})], name="numbers")
    job = st.job([numbers.sink_ndjson(f"{tmp_path}/out/", name="out")], name="counts")
    assert job.run(cluster=cluster, checkpoints=str(tmp_path / "checkpoints")).state == "finished"
    variables = {
        "STREAME_ETCD": ",".join(endpoints), "STREAME_CLUSTER_NAME": "ours", "STREAME_ETCD_USER": "ann",
        "STREAME_ETCD_TLS_CA": str(authority.file), "STREAME_ETCD_PASSWORD_FILE": str(password_file),
    }  # fmt: skip
    asked = CliRunner().invoke(app, ["cluster", "status"], env=variables)
    assert (asked.exit_code, "job counts: finished" in asked.stdout) == (0, True), asked.output
    without = CliRunner().invoke(app, ["cluster", "status"], env={**variables, "STREAME_ETCD_TLS_CA": None})
    assert without.exit_code == 1, "it does not speak to etcd without TLS"


def test_no_secret_shows(
    guarded: Guarded,
    password_file: Path,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    etcd = connect(*guarded.servers.endpoints, user="ann", password_file=password_file, timeout_s=0.3)
    watch = etcd.watch(guarded.ours, 1, is_prefix=True)
    etcd.get(guarded.ours)
    calls = etcd._calls
    token = calls._token
    assert token
    guarded.servers.kill(0)
    shown = []
    for ask in (lambda: etcd.get("a"), lambda: put(etcd, "a", b"")):
        with pytest.raises(EtcdError) as error:
            ask()
        shown += [str(error.value), repr(error.value), repr(error.value.__cause__)]
    guarded.servers.start()
    shown += [repr(each) for each in (etcd, calls, calls.settings, calls.channels, watch)]
    shown += [caplog.text, *capfd.readouterr()]
    assert [text for text in shown if PASSWORD in text or token in text] == []


def test_settings_that_cannot_be(tmp_path: Path, password_file: Path) -> None:
    file = tmp_path / "file"
    for settings, message in (
        ({"endpoints": ()}, "no endpoint is given"),
        ({"endpoints": ("http://127.0.0.1:2379",)}, "is not host:port"),
        ({"endpoints": ("etcd-1",)}, "is not host:port"),
        ({"endpoints": ("127.0.0.1:0",)}, "is not host:port with a port from 1 to 65535"),
        ({"endpoints": ("127.0.0.1:99999",)}, "is not host:port with a port from 1 to 65535"),
        ({"endpoints": ("etcd-1:2379",)}, "without a CA file only loopback addresses are spoken to"),
        ({"endpoints": ("127.evil.org:2379",)}, "without a CA file only loopback"),
        ({"certificate_file": file}, "a certificate file and a key file are given together"),
        ({"certificate_file": file, "key_file": file}, "a certificate file without a CA file"),
        ({"user": "ann"}, "a user and a password file are given together"),
    ):
        with pytest.raises(PlanError, match=message):
            EtcdSettings(**{"endpoints": ("localhost:2379", "[::1]:2379"), **settings})  # type: ignore[arg-type]


def test_secrets_lie_in_files_of_the_owner_alone(password_file: Path) -> None:
    settings = EtcdSettings(("localhost:1",), user="ann", password_file=password_file)
    password_file.chmod(0o640)
    with pytest.raises(PlanError, match=r"others than its owner may use the password .* chmod 600"):
        EtcdClient(settings)
    password_file.chmod(0o600)
    password_file.write_bytes(b"sesame\xff")
    with pytest.raises(PlanError, match="is not UTF-8") as error:
        EtcdClient(settings)
    assert "sesame" not in repr(error.value) + repr(error.value.__context__)
    password_file.unlink()
    with pytest.raises(PlanError, match=r"the password in .* cannot be read: No such file"):
        EtcdClient(settings)


def test_an_etcd_that_is_full_says_so(connect: Connect) -> None:
    servers = started(1, "--quota-backend-bytes", str(1 << 20))
    try:
        etcd = connect(*servers.endpoints)
        with pytest.raises(NoSpace, match=r"database space exceeded; compact and defragment"):
            fill(etcd)
        assert etcd.get("/full/0").entry is not None
    finally:
        servers.stop()


def fill(etcd: EtcdClient) -> None:
    """Write more than a quota of a megabyte."""
    for number in range(100):
        put(etcd, f"/full/{number}", bytes(100_000))
