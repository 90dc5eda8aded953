"""Jobs that cannot run in a cluster: said before anything of it is asked."""

from collections.abc import Iterator

import polars as pl
import pytest

import streame as st
from streame.errors import PlanError

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
