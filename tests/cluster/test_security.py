"""Mutual TLS with real servers: who gets in, who does not, and what is said of it."""

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from streame.cluster.identity import Identity, only_identity, peer_identity
from streame.cluster.security import Tls, host_of, is_loopback, refuse_insecure
from streame.errors import PlanError
from tests.cluster.servers import Signer, WhoAmI, ask, now, who_am_i


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("tls") / "shop")


@pytest.fixture(scope="module")
def server(signer: Signer) -> Iterator[WhoAmI]:
    with who_am_i(signer.files("streame://shop/node/server")) as served:
        yield served


@pytest.fixture
def good(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Signer.files(signer, f"streame://shop/node/n{len(list(signer.folder.iterdir()))}")


def secure(server: WhoAmI, credentials: grpc.ChannelCredentials) -> grpc.Channel:
    return grpc.secure_channel(server.address, credentials)


def refused(server: WhoAmI, channel: grpc.Channel) -> grpc.RpcError:
    """The error of a call that must not reach the handler."""
    before = list(server.called)
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel)
    assert server.called == before
    error: grpc.RpcError = caught.value
    return error


def test_a_good_certificate_is_let_in_and_says_who_it_is(server: WhoAmI, good: Tls) -> None:
    me = good.check(now())
    assert ask(secure(server, good.channel_credentials())) == me.uri
    assert server.called[-1] == me


def test_no_client_certificate_is_refused(server: WhoAmI, signer: Signer) -> None:
    root = (signer.folder / "ca.pem").read_bytes()
    error = refused(server, secure(server, grpc.ssl_channel_credentials(root)))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_of_another_authority_is_refused(server: WhoAmI, good: Tls, tmp_path: Path) -> None:
    stranger = Signer(tmp_path / "other").files("streame://shop/node/stranger")
    mixed = Tls(good.ca, stranger.certificate, stranger.key)
    assert refused(server, secure(server, mixed.channel_credentials())).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(("begins", "ends"), [(-2, -1), (1, 2)], ids=["expired", "not yet valid"])
def test_a_certificate_of_another_time_is_refused(
    server: WhoAmI, signer: Signer, begins: int, ends: int
) -> None:
    tls = signer.files(f"streame://shop/node/timed{ends + 9}", begins=begins, ends=ends)
    assert refused(server, secure(server, tls.channel_credentials())).code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(PlanError, match=r"is valid from .* and now it is"):
        tls.check(now())


def test_plaintext_is_refused(server: WhoAmI) -> None:
    error = refused(server, grpc.insecure_channel(server.address))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_server_of_another_authority_is_not_trusted(good: Tls, tmp_path: Path) -> None:
    with who_am_i(Signer(tmp_path / "other").files("streame://shop/node/server")) as impostor:
        error = refused(impostor, secure(impostor, good.channel_credentials()))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_server_with_another_name_than_expected_is_not_trusted(server: WhoAmI, good: Tls) -> None:
    def channel(name: str) -> grpc.Channel:
        expected = Identity("shop", "node", name).host
        options = (("grpc.ssl_target_name_override", expected),)
        return grpc.secure_channel(server.address, good.channel_credentials(), options)

    assert refused(server, channel("another")).code() is grpc.StatusCode.UNAVAILABLE
    assert ask(channel("server"))


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("streame://bank/node/one", "streame://bank/node/one is not of this cluster, which is 'shop'"),
        ("streame://shop/client/one", "streame://shop/client/one may not call this; only the role node may"),
    ],
)
def test_the_right_authority_with_a_wrong_identity_is_refused(
    server: WhoAmI, signer: Signer, uri: str, reason: str
) -> None:
    error = refused(server, secure(server, signer.files(uri).channel_credentials()))
    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, reason)


@pytest.mark.parametrize(
    "names",
    [(), ("localhost",), ("streame://shop/node/a", "streame://shop/node/b"), ("streame://shop/node/a/b",),
     ("streame://shop/king/a",), ("streame://shop/node/A",), ("streame://shop/node/",), ("streame:shop",)],
)  # fmt: skip
def test_names_that_are_not_one_identity_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(PlanError):
        only_identity(names)
    with pytest.raises(PlanError):
        peer_identity({"x509_subject_alternative_name": [name.encode() for name in names]})


def test_a_connection_without_a_certificate_has_no_identity() -> None:
    with pytest.raises(PlanError, match="says 0 identities"):
        peer_identity({"transport_security_type": [b"insecure"]})


def test_a_key_that_others_can_read_is_refused(good: Tls) -> None:
    good.own[1].chmod(0o640)
    for use in (good.server_credentials, good.channel_credentials, lambda: good.check(now())):
        with pytest.raises(
            PlanError,
            match=re.escape(f"can be read by others (its mode is 0640); close it with: chmod 600 {good.key}"),
        ):
            use()


def test_files_that_do_not_fit_are_named(good: Tls, signer: Signer, tmp_path: Path) -> None:
    other = signer.files(f"streame://shop/node/other{os.getpid()}")
    with pytest.raises(PlanError, match="is not the key of"):
        Tls(good.ca, good.certificate, other.key).check(now())
    with pytest.raises(PlanError, match=r"cannot read the TLS file .*missing.*: No such file"):
        Tls(good.ca, tmp_path / "missing.pem", good.key).check(now())
    with pytest.raises(PlanError, match="is no PEM file of a certificate"):
        Tls(good.ca, good.key, good.key).check(now())
    with pytest.raises(PlanError, match="valid from"):
        good.check(now() + timedelta(days=30))


def test_authorities_are_known_by_their_certificates_and_not_by_how_these_are_written(
    good: Tls, tmp_path: Path
) -> None:
    other = Signer(tmp_path / "other").folder / "ca.pem"
    both = [good.ca.read_text(), other.read_text()]
    own, strange = good.authorities(), Tls(other, good.certificate, good.key).authorities()
    assert re.fullmatch("[0-9a-f]{32}", own[0])
    assert own[0] != strange[0]
    for number, text in enumerate(("# rotation\r\n".join(both), "".join(both[::-1]), "\n".join(both * 2))):
        bundle = tmp_path / f"bundle{number}.pem"
        bundle.write_text(text)
        assert Tls(bundle, good.certificate, good.key).authorities() == tuple(sorted(own + strange))
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(PlanError, match=r"broken\.pem is no PEM file of certificates"):
        Tls(broken, good.certificate, good.key).authorities()


def test_no_secret_is_shown(good: Tls, tmp_path: Path) -> None:
    key = good.own[1].read_bytes()
    secret = b"".join(key.splitlines()[1:-1]).decode()
    shown = [repr(good), str(good), repr(good.channel_credentials()), repr(good.server_credentials())]
    broken = tmp_path / "broken.key"
    broken.write_bytes(key.replace(b"PRIVATE", b"PRIVAT"))
    broken.chmod(0o600)
    with pytest.raises(PlanError, match="is no PEM file of a private key") as caught:
        Tls(good.ca, good.certificate, broken).check(now())
    shown += [str(caught.value), repr(caught.value.__cause__), str(caught.value.__suppress_context__)]
    for text in shown:
        for start in range(0, len(secret) - 16, 8):
            assert secret[start : start + 16] not in text


def test_without_files_a_node_starts_only_on_this_machine_and_when_told() -> None:
    tls = Tls(Path("ca.pem"), Path("a.pem"), Path("a.key"))
    refuse_insecure(["10.0.0.1:7000"], tls, insecure=False)
    refuse_insecure(["127.0.0.1:7000", "[::1]:7000", "localhost:0"], None, insecure=True)
    with pytest.raises(PlanError, match="a cluster needs TLS files"):
        refuse_insecure(["127.0.0.1:7000"], None, insecure=False)
    for outside in (
        "0.0.0.0:7000",
        "[::]:7000",
        "10.0.0.1:7000",
        "example.com:7000",
        "localhost.example.com:1",
    ):
        with pytest.raises(PlanError, match=re.escape(f"but {outside} can be reached from others")):
            refuse_insecure(["127.0.0.1:7000", outside], None, insecure=True)
    with pytest.raises(PlanError, match="there are TLS files and insecure=True"):
        refuse_insecure(["127.0.0.1:7000"], tls, insecure=True)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "7000",
        ":7000",
        "a:",
        "a:b",
        "a:70000",
        "::1:7000",
        "[a]:1",
        "[::1]",
        "a:1:2",
        "a:\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_an_address_that_cannot_be_understood_is_refused(address: str) -> None:
    with pytest.raises(PlanError, match="is no address"):
        host_of(address)


def test_hosts_of_this_machine() -> None:
    assert [host_of(each) for each in ("a:1", "[::1]:2", "127.0.0.1:3")] == ["a", "::1", "127.0.0.1"]
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "128.0.0.1", "local", "")))  # noqa: S104 - what must be refused
