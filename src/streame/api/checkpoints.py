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
from streame.io.source import AcknowledgedSource
from streame.plan.identity import plan_identity
from streame.plan.nodes import Node, Scan, Write, walk
from streame.plan.rewrite import rewrite
from streame.runtime.checkpointing import Durable
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.outbox import file_name
from streame.state.checkpoint.store import CheckpointStore
from streame.storage.disk import LocalDisk
from streame.storage.log import Log


@dataclass(frozen=True, slots=True)
class DurableJob:
    """A job with checkpoints, which it has claimed.

    Args:
        writes: its sinks, with sources above them that can be read again.
        durable: where its checkpoints are kept.
    """

    writes: tuple[Write, ...]
    durable: Durable

    def give_back(self) -> None:
        """The job has not started: another one may claim the checkpoints."""
        for node in walk(*self.writes):
            if isinstance(node, Scan) and isinstance(node.source, AcknowledgedSource):
                node.source.close()
        self.durable.store.release()


def claimed(
    name: str, writes: Sequence[Write], config: Config, allow_dropped: Collection[str]
) -> DurableJob | None:
    """A job with checkpoints, if the settings ask for them.

    Args:
        name: the job's name.
        writes: its sinks, optimized.
        config: the settings of the run.
        allow_dropped: the operators whose state may be given up.

    Raises:
        PlanError: when a source cannot take part in checkpoints; says why, and what to use instead.
        CheckpointError: when the checkpoints cannot be claimed.
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
    store = open_store(config.checkpoints, name)
    durable = Durable(store, plan_identity(writes), settings, tuple(allow_dropped))
    store.claim()
    try:
        return DurableJob(_readable_again(writes, Path(config.checkpoints).absolute()), durable)
    except BaseException:
        store.release()
        raise


def _readable_again(writes: Sequence[Write], folder: Path) -> tuple[Write, ...]:
    """The same sinks, with a log behind each source that cannot be read again."""
    disk = LocalDisk(folder)

    def logged(node: Node, original: Node) -> Node:
        if not isinstance(node, Scan) or getattr(node.source, "replayable", True):
            return node
        return replace(node, source=LoggedSource(node.source, Log(disk, f"wal/{file_name(node.name)}")))

    return tuple(node for node in rewrite(writes, logged) if isinstance(node, Write))


def open_store(place: str, job: str) -> CheckpointStore:
    """The store of checkpoints behind a path or a URL.

    Args:
        place: a directory, or the URL of an object store.
        job: the name of the job.
    """
    return LocalCheckpoints(Path(place).absolute(), job)
