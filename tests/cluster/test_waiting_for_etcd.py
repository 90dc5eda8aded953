"""A job whose etcd is full waits, as it does for a full disk, and goes on with the same checkpoint."""

from itertools import count
from pathlib import Path

import polars as pl

import streame as st
from streame.cluster.checkpoints import ClusterCheckpoints, Place
from streame.cluster.etcd.election import stand
from streame.cluster.frames import Attempt
from streame.cluster.view import Keys
from streame.core.config import Config
from streame.plan.identity import plan_identity
from streame.plan.lower import lower
from streame.runtime.checkpointing import Durable
from streame.runtime.local import LocalRun
from streame.storage.objects import ObjectStore
from streame.testing.memory_etcd import MemoryEtcd
from tests.cluster.test_transport import eventually
from tests.storage.memory_bucket import MemoryBucket


def test_a_full_etcd_is_waited_for(tmp_path: Path) -> None:
    etcd = MemoryEtcd()
    place = Place(ObjectStore(MemoryBucket()), etcd, Keys("shop", "orders"), "orders")
    won = stand(etcd, place.keys.leader, b"me", etcd.grant(600).id, timeout_s=1)
    assert won is not None
    frames = [pl.DataFrame({"k": [number % 3]}) for number in range(20)]
    counts = st.scan_frames(frames, name="rows").group_by("k").agg(n=pl.len())
    job = st.job([counts.sink_ndjson(tmp_path / "out", changes=True, name="counts")])
    writes = job._optimized()
    store = ClusterCheckpoints(place, won, Attempt(won.epoch, 1), None, 0, count())
    config = Config(checkpoint_interval_us=0)
    run = LocalRun(
        lower(writes, config, apart=True), config, durable=Durable(store, plan_identity(writes), {})
    )
    etcd.is_full = True
    run.start()
    eventually(lambda: run.waits_for is not None)
    assert run.state == "degraded"
    etcd.is_full = False
    assert run.wait(30)
    rows = pl.concat(pl.read_ndjson(part) for part in sorted((tmp_path / "out").glob("part-*")))
    assert (
        rows.group_by("k", "n")
        .agg(pl.col("_diff").sum())
        .filter(pl.col("_diff") != 0)
        .sort("k")
        .rows() == [(0, 7, 1), (1, 7, 1), (2, 6, 1)]
    )  # fmt: skip
