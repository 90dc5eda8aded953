"""`streame node` and `streame cluster` with arguments that do not fit, and what a report looks like."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from streame.cli.cluster.options import etcd_tls_of, tls_of
from streame.cli.cluster.text import duration, show, spans
from streame.cli.main import app
from streame.cluster.report import ClusterReport, report_job
from streame.cluster.security import Tls
from streame.core.cluster_settings import load_cluster_settings
from tests.cluster.test_report import LEADER, RUNNING, WORKER

JOB = """
import polars as pl, streame as st
job = st.scan_rows([{"item": "a"}], {"item": pl.String}).sink_ndjson("out/")
closure = (lambda rate: st.scan_rows([{"item": "a"}], {"item": pl.String}).map_batches(lambda f: f.head(rate)).sink_ndjson("out/"))(3)
"""
NODE = ("node", "shop.py:job", "--etcd", "127.0.0.1:1", "--address", "127.0.0.1:0")
TLS = ("--tls-ca", "ca.pem", "--tls-certificate", "a.pem", "--tls-key", "a.key")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(JOB)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("node", "shop.py:job", "--etcd", "127.0.0.1:1"), "no address for this node is given"),
        (("node", "shop.py:job", "--address", "127.0.0.1:0"), "no address of etcd is given"),
        (NODE, "a cluster needs TLS files"),
        ((*NODE, "--insecure", *TLS), "leave out one of the two"),
        ((*NODE, *TLS[:2]), "tls_ca is given, but not tls_certificate, tls_key; give all three"),
        ((*NODE, "--insecure"), "a cluster needs checkpoints="),
        ((*NODE, "--insecure", "--lease", "1s"), "give more"),
        ((*NODE, "--insecure", "--cluster-name", "A B"), "the cluster name 'A B' cannot be used"),
        (
            ("node", "shop.py:closure", *NODE[2:], "--insecure", "--checkpoints", "ck"),
            "uses 'rate' from the function around it",
        ),
        ((*NODE, "--insecure", "--listen", "10.0.0.5:1"), "10.0.0.5"),
        ((*NODE, "--insecure", "--listen", "127.0.0.1:5"), "nobody can be reached at port 0"),
        (("cluster", "status"), "no address of etcd is given"),
        (("cluster", "status", "--etcd", "etcd-1:2379"), "without a CA file only loopback addresses"),
        (("cluster", "drain", "a", "--etcd", "127.0.0.1:1", "--timeout", "soon"), "--timeout"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_starts(arguments: tuple[str, ...], error: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, error in done.stderr) == (2, True), done.stderr


def test_a_node_may_listen_elsewhere_and_have_files_of_its_own_for_etcd() -> None:
    names = {
        f"{of}tls_{name}": Path(f"{of}{name}")
        for of in ("", "etcd_")
        for name in ("ca", "certificate", "key")
    }
    files = {name: str(path) for name, path in names.items()}
    settings = load_cluster_settings({"etcd": "e:1", "address": "a:1", "listen": "10.0.0.5:2", **files}, {})
    assert etcd_tls_of(settings) == Tls(Path("etcd_ca"), Path("etcd_certificate"), Path("etcd_key"))
    assert tls_of(settings) == Tls(Path("ca"), Path("certificate"), Path("key"))
    assert settings.listen == "10.0.0.5:2"
    assert etcd_tls_of(load_cluster_settings({"etcd_tls_ca": "ca"}, {})) == Tls("ca")


def test_an_etcd_that_does_not_answer_is_told_of() -> None:
    done = CliRunner().invoke(app, ["cluster", "status", "--etcd", "127.0.0.1:1"])
    assert done.exit_code == 1
    assert "127.0.0.1:1" in done.stderr


def test_a_report_is_told_in_plain_lines_or_as_tables() -> None:
    job = report_job("orders", RUNNING, {"a-1": LEADER, "b-1": WORKER}, 140_000_000)
    for terminal in (False, True):
        console = Console(width=120, force_terminal=terminal, highlight=False)
        with console.capture() as capture:
            show(console, ClusterReport(1, "shop", (job,)))
        said = capture.get()
        for line in (
            "job orders: running, a leads (epoch 5, attempt 2)",
            "  40 rows in, 6 out in this attempt, the watermark is 2 min behind the clock; state 100 B",
            "  checkpoint 7 of attempt 5.1, 1.5 s old, took 0.20 s, 9 B",
        ):
            assert line in said
        assert ("node: name b, role worker, address 127.0.0.1:2" in said) is not terminal
        assert (
            "operator: name windows, in 39, out 6, state 100 B, watermark 1970-01-01 00:00:20" in said
        ) is not terminal


def test_numbers_for_people() -> None:
    assert spans((0, 1, 2, 5, 7, 8)) == "0-2 5 7-8"
    assert [duration(each) for each in (1.25, 130, 7300, 200_000)] == ["1.2 s", "2 min", "2 h", "2 d"]
