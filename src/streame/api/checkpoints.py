"""What a job needs to have checkpoints: the store behind a path or a URL, and sources that can be read again."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from streame.core.config import Config
from streame.core.hashing import KEY_GROUPS
from streame.core.locations import folder_or_objects, local_folder
from streame.errors import PlanError
from streame.io.logged import LoggedSource, RowLog
from streame.io.source import AcknowledgedSource
from streame.plan.identity import plan_identity
from streame.plan.nodes import Node, Scan, Write, walk
from streame.plan.rewrite import rewrite
from streame.runtime.checkpointing import Durable
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.objects import checkpoints_on_s3
from streame.state.checkpoint.outbox import file_name
from streame.state.checkpoint.plan_difference import check_plan
from streame.state.checkpoint.savepoints import LOGS, Check
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


@dataclass(frozen=True, slots=True)
class Beginning:
    """From which state a job begins.

    Args:
        savepoint: a savepoint, where there is no checkpoint yet.
        allow_dropped: the operators whose state may be given up.
    """

    savepoint: str | os.PathLike[str] | None = None
    allow_dropped: Collection[str] = ()


def claimed(name: str, writes: Sequence[Write], config: Config, beginning: Beginning) -> DurableJob | None:
    """A job with checkpoints, if the settings ask for them.

    Args:
        name: the job's name.
        writes: its sinks, optimized.
        config: the settings of the run.
        beginning: from which state it begins.

    Raises:
        PlanError: when a source cannot take part in checkpoints; says why, and what to use instead.
        CheckpointError: when the checkpoints cannot be claimed.
    """
    if config.checkpoints is None:
        if beginning.allow_dropped or beginning.savepoint is not None:
            raise PlanError(
                "allow_dropped_state and savepoint are about checkpoints; give checkpoints= as well"
            )
        return None
    settings = run_settings(config)
    plan, allowed = plan_identity(writes), tuple(beginning.allow_dropped)
    store = open_store(
        config.checkpoints, name, beginning.savepoint, lambda before: check_plan(before, plan, allowed)
    )
    durable = Durable(store, plan, settings, allowed)
    store.claim()
    try:
        return DurableJob(_readable_again(writes, config.checkpoints), durable)
    except BaseException:
        store.release()
        raise


def run_settings(config: Config) -> dict[str, Any]:
    """What a checkpoint says of a run, for people and for later versions."""
    return {
        "parallelism": config.parallelism,
        "key_groups": KEY_GROUPS,
        "streame": version("streame"),
        "polars": pl.__version__,
    }


def _readable_again(writes: Sequence[Write], place: str) -> tuple[Write, ...]:
    """The same sinks, with a log on this machine behind each source that cannot be read again."""
    folder = folder_or_objects(place, where="checkpoints")

    def open_log(source: str) -> RowLog:
        if isinstance(folder, str):
            raise PlanError(
                f"source {source!r} cannot be read again, so its rows go through a log, which needs a disk; keep the "
                "checkpoints in a directory"
            )
        return Log(LocalDisk(folder.absolute()), f"{LOGS}/{file_name(source)}")

    return readable_again(writes, open_log)


def readable_again(writes: Sequence[Write], open_log: Callable[[str], RowLog]) -> tuple[Write, ...]:
    """The same sinks, with a log behind each source that cannot be read again.

    Args:
        writes: the sinks.
        open_log: opens the log of a source, by its name.
    """
    opened: list[LoggedSource] = []

    def logged(node: Node, original: Node) -> Node:
        if not isinstance(node, Scan) or getattr(node.source, "replayable", True):
            return node
        opened.append(LoggedSource(node.source, open_log(node.name)))
        return replace(node, source=opened[-1])

    try:
        return tuple(node for node in rewrite(writes, logged) if isinstance(node, Write))
    except BaseException:
        for source in opened:
            source.close()
        raise


def savepoint_folder(savepoint: str | os.PathLike[str]) -> Path:
    """The folder of a savepoint; it is always on a disk."""
    return local_folder(savepoint, where="savepoint").absolute()


def open_store(
    place: str, job: str, savepoint: str | os.PathLike[str] | None, check: Check
) -> CheckpointStore:
    """The store of checkpoints behind a path or a URL.

    Args:
        place: a directory, or the URL of an object store.
        job: the name of the job.
        savepoint: the folder of a savepoint to begin from.
        check: raises when the job cannot go on with the plan of the savepoint.
    """
    begin = None if savepoint is None else savepoint_folder(savepoint)
    folder = folder_or_objects(place, where="checkpoints")
    if isinstance(folder, str):
        return checkpoints_on_s3(folder, job, os.environ, savepoint=begin, check=check)
    return LocalCheckpoints(folder.absolute(), job, savepoint=begin, check=check)
