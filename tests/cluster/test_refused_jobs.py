"""Jobs that cannot run in a cluster, and clusters that cannot be: said before anything of it is asked."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.cluster.cluster import open_place
from streame.errors import CheckpointError, PlanError

NOWHERE = st.Cluster(etcd=["127.0.0.1:1"], address="127.0.0.1:0", name="shop", insecure=True)


def refusal(source: st.StreamDataFrame, **settings: int) -> str:
    job = st.job([source.sink_ndjson("out/", name="out")], name="orders")
    with pytest.raises(PlanError) as caught:
        job.run(cluster=NOWHERE, checkpoints="checkpoints", **settings)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("of_frames", [True, False])
def test_an_iterator_is_refused_since_nodes_read_again_when_others_come_and_go(of_frames: bool) -> None:
    def given() -> Iterator[pl.DataFrame | dict[str, int]]:
        yield pl.DataFrame({"n": [1]}) if of_frames else {"n": 1}

    if of_frames:
        source = st.scan_frames(given(), schema={"n": pl.Int64}, name="numbers")
    else:
        source = st.scan_rows(given(), schema={"n": pl.Int64}, name="numbers")
    assert "source 'numbers' is an iterator, which can be read only once" in refusal(source)


def test_one_instance_cannot_be_shared() -> None:
    source = st.scan_frames([pl.DataFrame({"n": [1]})])
    assert "'parallelism' is 1: in a cluster the nodes share the instances" in refusal(source, parallelism=1)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"etcd": None}, "etcd=None: give a list of addresses, such as ['etcd-1:2379']"),
        ({"etcd": "127.0.0.1:1"}, "etcd='127.0.0.1:1': give a list of addresses, such as ['127.0.0.1:1']"),
        ({"etcd": [1]}, "etcd=[1]: give a list of addresses"),
        ({"etcd": ["127.0.0.1:0"]}, "is not host:port with a port from 1 to 65535"),
        ({"address": None}, "address=None: give a text such as '10.0.0.1:50085'"),
        ({"name": None}, "name=None: give a text"),
        ({"node": 1}, "node=1: give a text"),
        ({"tls": "x"}, "tls='x': give st.Tls(ca=..., certificate=..., key=...)"),
        ({"etcd_tls": "x"}, "etcd_tls='x': give st.Tls(ca=...)"),
        ({"etcd_user": 1}, "etcd_user=1: give a text"),
        ({"etcd_password_file": 1}, "etcd_password_file=1: give the path of a file"),
        ({"listen": 1}, "listen=1: give a text such as '0.0.0.0:50085'"),
        ({"insecure": "no"}, "insecure='no': give True or False"),
        ({"lease": 5}, "lease=5: give a duration such as '5s'"),
        ({"listen": "127.0.0.1:5"}, "nobody can be reached at port 0"),
    ],
)
def test_arguments_of_another_type_are_named(arguments: dict[str, Any], error: str) -> None:
    given = {"etcd": ["127.0.0.1:1"], "address": "127.0.0.1:0", "insecure": True, **arguments}
    with pytest.raises(PlanError, match=re.escape(error)):
        st.Cluster(**given)


def test_what_is_no_cluster_is_refused() -> None:
    job = st.scan_frames([pl.DataFrame({"n": [1]})]).sink_ndjson("out/")
    with pytest.raises(PlanError, match=r"cluster='x': give st.Cluster\(\.\.\.\)"):
        job.run(cluster="x")  # type: ignore[arg-type]


def test_a_file_of_tls_is_named_by_a_path() -> None:
    with pytest.raises(PlanError, match="Tls: ca=None is no path; give that of a PEM file"):
        st.Tls(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["/proc/x/checkpoints", "file/checkpoints"])
def test_a_folder_of_checkpoints_that_cannot_be_made_is_told(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(
        CheckpointError, match=f"{place}: this folder of checkpoints cannot be made: .*; make it"
    ):
        open_place(place, {})


def test_a_folder_that_is_only_read_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="missing: there is no such folder; give the checkpoints of the job"
    ):
        open_place(str(tmp_path / "missing"), {}, make=False)
    assert not (tmp_path / "missing").exists()
