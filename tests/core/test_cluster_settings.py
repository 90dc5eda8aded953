"""Where the settings of a node come from, and which of them wins."""

from pathlib import Path

import pytest

from streame.core.cluster_settings import load_cluster_settings
from streame.core.config import load_config
from streame.errors import PlanError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_arguments_win_over_variables_and_these_over_the_file() -> None:
    Path("streame.toml").write_text(
        'parallelism = 3\n[cluster]\netcd = ["e1:2379", "e2:2379"]\naddress = "a:1"\ninsecure = true\nlease = "9s"\n'
    )
    environment = {"STREAME_ADDRESS": "b:1", "STREAME_NODE": "b", "STREAME_INSECURE": "false"}
    found = load_cluster_settings({"node": "c", "lease": None}, environment)
    assert (found.etcd, found.address, found.node, found.insecure, found.lease) == (
        ("e1:2379", "e2:2379"), "b:1", "c", False, "9s",
    )  # fmt: skip
    assert load_config({}, {}).parallelism == 3


def test_members_of_etcd_may_be_one_text_and_files_are_paths() -> None:
    files = {"tls_ca": Path("ca.pem"), "tls_certificate": "a.pem"}
    found = load_cluster_settings(files, {"STREAME_ETCD": "e1:2379, e2:2379", "STREAME_TLS_KEY": "a.key"})
    assert found.etcd == ("e1:2379", "e2:2379")
    assert (found.tls_ca, found.tls_certificate, found.tls_key) == (
        Path("ca.pem"),
        Path("a.pem"),
        Path("a.key"),
    )


@pytest.mark.parametrize(
    ("text", "environment", "error"),
    [
        ("[cluster]\nport = 1", {}, r"the setting 'port' in \[cluster\] of streame.toml does not exist; there are etcd,"),
        ("cluster = 1", {}, r"'cluster' in streame.toml is 1; write a table \[cluster\] there"),
        ("[cluster]\netcd = [1]", {}, r"is \[1\]; give addresses such as"),
        ("", {"STREAME_INSECURE": "maybe"}, "the setting 'insecure' in the environment is 'maybe'; give true or false"),
        ("", {"STREAME_NODE": ""}, "the setting 'node' in the environment is ''; give a text"),
        ("", {"STREAME_TLS_CA": "ca.pem"}, "tls_ca is given, but not tls_certificate, tls_key; give all three"),
        ("", {"STREAME_ETCD_TLS_KEY": "key"}, "etcd_tls_key is given, but not etcd_tls_ca, etcd_tls_certificate;"),
        ("", {"STREAME_ETCD_TLS_CA": "ca", "STREAME_ETCD_TLS_KEY": "key"},
         "give all three, or etcd_tls_ca alone where etcd asks for no certificate"),
    ],
)  # fmt: skip
def test_wrong_settings_say_where_they_are(text: str, environment: dict[str, str], error: str) -> None:
    Path("streame.toml").write_text(text)
    with pytest.raises(PlanError, match=error):
        load_cluster_settings({}, environment)
