"""How the property tests run a frame: with and without the optimizer, on one thread or several; and how they compare."""

from collections import Counter
from collections.abc import Sequence

import polars as pl

import streame as st
from streame.core.config import Config
from streame.io.memory import MemorySink
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.plan.optimizer import optimize
from streame.runtime.local import LocalRun


def collected(
    frame: st.StreamDataFrame, *, optimized: bool = True, parallelism: int = 1, channel_rows: int = 262_144
) -> pl.DataFrame:
    """All rows of a frame whose sources end."""
    sink = MemorySink(folds=frame.node.is_changes)
    plan = (Write(frame._node, lambda: sink, "out"),)
    writes = [node for node in optimize(plan) if isinstance(node, Write)] if optimized else plan
    run = LocalRun(lower(writes, Config(parallelism=parallelism, channel_rows=channel_rows)), Config())
    run.start()
    assert run.wait(20), "the job hangs"
    return sink.frame()


def scanned(batches: Sequence[pl.DataFrame], name: str = "rows", **settings: object) -> st.StreamDataFrame:
    """A stream of batches."""
    return st.scan_frames(list(batches), name=name, **settings)  # type: ignore[arg-type]


def rows_of(frame: pl.DataFrame) -> Counter[str]:
    """The rows without their order; NaN equals itself and -0.0 is not 0.0."""
    return Counter(map(repr, frame.rows()))
