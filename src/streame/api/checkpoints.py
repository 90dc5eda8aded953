"""What a job needs to have checkpoints: the store behind a path or a URL, and sources that can be read again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import polars as pl

from streame.core.config import Config
from streame.core.hashing import KEY_GROUPS
from streame.errors import PlanError
from streame.io.logged import LoggedSource
from streame.plan.identity import plan_identity
from streame.plan.nodes import Node, Scan, Write
from streame.plan.rewrite import rewrite
from streame.runtime.checkpointing import Durable
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.store import CheckpointStore
from streame.storage.disk import LocalDisk
from streame.storage.log import Log


@dataclass(frozen=True, slots=True)
class DurableJob:
    """A job with checkpoints.

    Args:
        writes: its sinks, with sources above them that can be read again.
        durable: where its checkpoints are kept.
    """

    writes: tuple[Write, ...]
    durable: Durable


def durable_job(
    name: str, writes: Sequence[Write], config: Config, allow_dropped: Collection[str]
) -> DurableJob | None:
    """A job with checkpoints, if the settings ask for them.

    Args:
        name: the job's name.
        writes: its sinks, optimized.
        config: the settings of the run.
        allow_dropped: the operators whose state may be given up.

    Raises:
        PlanError: when a source or a sink cannot take part in checkpoints; says why, and what to use instead.
    """
    if config.checkpoints is None:
        if allow_dropped:
            raise PlanError("allow_dropped_state is about checkpoints, but there is no checkpoints=")
        return None
    settings = {
        "parallelism": config.parallelism,
        "key_groups": KEY_GROUPS,
        "streame": version("streame"),
        "polars": pl.__version__,
    }
    plan = plan_identity(writes)
    durable = Durable(open_store(config.checkpoints, name), plan, settings, tuple(allow_dropped))
    logs = Path(config.checkpoints) / "wal"

    def logged(node: Node, original: Node) -> Node:
        if not isinstance(node, Scan) or getattr(node.source, "replayable", True):
            return node
        return replace(node, source=LoggedSource(node.source, Log(LocalDisk(logs / node.name))))

    rewritten = rewrite(writes, logged)
    return DurableJob(tuple(write for write in rewritten if isinstance(write, Write)), durable)


def open_store(place: str, job: str) -> CheckpointStore:
    """The store of checkpoints behind a path or a URL.

    Args:
        place: a directory, or the URL of an object store.
        job: the name of the job.
    """
    return LocalCheckpoints(Path(place).absolute(), job)
