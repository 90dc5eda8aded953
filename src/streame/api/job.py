"""Jobs: one or more sinks and everything above them, run together under one name."""

import asyncio
import logging
import os
import queue
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

from streame.api.checkpoints import Beginning, claimed
from streame.api.job_handle import JobHandle, JobStatus, Loops, refuse_to_block
from streame.api.program import kept_in_etcd, program
from streame.core.changes import DIFF
from streame.core.config import load_config
from streame.core.failpoints import check_failpoints
from streame.errors import PlanError
from streame.io.deadletter_files import DeadLetterFiles
from streame.io.file_sinks import FileOutput
from streame.io.queues import QueueSink
from streame.io.sink import Delivery, Sink
from streame.io.source import FileSource
from streame.plan.explain import explain
from streame.plan.identity import plan_identity
from streame.plan.losses import losses
from streame.plan.lower import lower
from streame.plan.nodes import Node, Scan, Stateful, TableJoin, Write, walk
from streame.plan.optimizer import optimize
from streame.runtime.local import LocalRun
from streame.runtime.runner import Runner
from streame.runtime.signals import stop_on_signals

Errors = str | os.PathLike[str] | queue.Queue[Any] | queue.SimpleQueue[Any] | asyncio.Queue[Any] | None


log = logging.getLogger("streame")

_KINDS = {Scan: "source", Stateful: "verb", TableJoin: "join", Write: "sink"}


class Job:
    """One or more sinks and everything above them. Made by the sinks and `st.job`; running it starts it anew.

    Args:
        writes: the sinks.
        name: the job's name.

    Raises:
        PlanError: when two sources, stateful verbs or sinks have the same name, or two sinks write the same path.

    Example:
        >>> import polars as pl, streame as st
        >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup"], "qty": [2, 3]})])
        >>> job = orders.filter(pl.col("qty") > 2).sink_parquet("big/")
        >>> status = job.run()
        >>> status.state, status.rows_in, status.rows_out
        ('finished', 2, 1)
    """

    def __init__(self, writes: Iterable[Write], name: str) -> None:
        self.name = name
        self._writes = tuple(writes)
        _check_names(self._writes)
        _check_inputs(self._writes)

    @property
    def writes(self) -> tuple[Write, ...]:
        """The sinks as nodes of a plan."""
        return self._writes

    def run(
        self,
        *,
        checkpoints: str | os.PathLike[str] | None = None,
        checkpoint_interval: str | timedelta | None = None,
        savepoint: str | os.PathLike[str] | None = None,
        allow_dropped_state: Collection[str] = (),
        errors: Errors = None,
        parallelism: int | None = None,
        channel_rows: int | None = None,
        channel_bytes: int | None = None,
        memory_limit: str | int | None = None,
        shutdown_timeout: str | timedelta | None = None,
        switch_interval: str | timedelta | None = None,
        cluster: Runner | None = None,
    ) -> JobStatus:
        """Run the job until its sources end, or until SIGINT or SIGTERM.

        A signal stops the reading; what was read is worked on and written before this returns. With checkpoints that is
        one last checkpoint, from which the next run goes on: windows that are open stay open.

        Args:
            checkpoints: a directory, or the URL of an object store (`"s3://bucket/prefix"`), that belongs to this job
                alone. A run goes on from the last checkpoint in it, whatever ended the run before; output of sinks
                that can take part is exactly once. Without it nothing survives the process, which a job that never
                ends by itself says at its start (logger `streame`).
            checkpoint_interval: how long there is between two checkpoints, and so until output can be seen (`"5s"`).
            savepoint: a savepoint (`streame savepoint`) of this job to begin from, when there is no checkpoint yet.
            allow_dropped_state: names of operators in the last checkpoint that this job does not have any more, or
                that do something else now: their state is given up.
            errors: where dead letters go: a directory for NDJSON part files, or a queue for dicts. For anything
                else use `.rejected`. Without it they are counted.
            parallelism: instances of every keyed operator (1; in a cluster 4, which the nodes share, and at least 2).
            channel_rows: rows that may wait between two tasks (262,144).
            channel_bytes: bytes that may wait between two tasks (64 MiB).
            memory_limit: how much memory the state of keyed verbs may take (`"1GB"`, at least `"1MB"`); the rest is on disk.
            shutdown_timeout: how long a stop may take before it is given up (`"60s"`).
            switch_interval: how long one Python thread may keep the others waiting; lower it for latency beside
                Python code that loops. It holds for the whole process.
            cluster: `st.Cluster(...)` to run it together with the same program on other nodes. A signal then ends this
                node, and the others go on.

        Returns:
            The final status: `finished`, whether the sources ended or a signal came.

        Raises:
            PlanError: when a setting or `errors` is wrong, when a source or a sink cannot take part in checkpoints, or
                it is called in the event loop of an `asyncio.Queue` that the job uses.
            CheckpointError: when the checkpoints cannot be used: another process does, they are damaged or those of
                another job or plan.
            DataError: when a row is bad, or kills the process, and its source has `on_error="fail"`, or a function of
                `map_batches` fails.
            ConnectorError: when a source or a sink fails.
            StreameError: when a stop takes longer than `shutdown_timeout`, or the process has died so often behind one
                checkpoint that it is not a row.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_rows([{"qty": 2}, {"qty": "x"}], {"qty": pl.Int64}, on_error="dead_letter")
            >>> orders.sink_csv("orders.csv").run(errors="bad/").rejected
            1
            >>> st.scan_ndjson("bad/", {"kind": pl.String, "raw": pl.String}).collect().to_dicts()
            [{'kind': 'type', 'raw': '{"qty":"x"}'}]
        """
        refuse_to_block(self._loops())
        handle = self.start(
            errors=errors,
            savepoint=savepoint,
            allow_dropped_state=allow_dropped_state,
            checkpoints=checkpoints,
            checkpoint_interval=checkpoint_interval,
            parallelism=parallelism,
            channel_rows=channel_rows,
            channel_bytes=channel_bytes,
            memory_limit=memory_limit,
            shutdown_timeout=shutdown_timeout,
            switch_interval=switch_interval,
            cluster=cluster,
        )
        with stop_on_signals(handle.stop):
            handle.wait()
        return handle.status()

    def start(
        self,
        *,
        errors: Errors = None,
        savepoint: str | os.PathLike[str] | None = None,
        allow_dropped_state: Collection[str] = (),
        cluster: Runner | None = None,
        **settings: Any,
    ) -> JobHandle:
        """Start the job in threads of its own.

        Args:
            errors: where dead letters go, as for `run`.
            savepoint: as for `run`.
            allow_dropped_state: as for `run`.
            cluster: as for `run`.
            **settings: the settings of `run`.

        Returns:
            A handle with `stop`, `wait`, `status` and `metrics`.

        Raises:
            PlanError: when a setting or `errors` is wrong.
            ConnectorError: when a sink cannot be opened.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"qty": [2, 3]})])
            >>> handle = orders.sink_ndjson("orders.ndjson").start(channel_rows=1000)
            >>> handle.wait(timeout=10), handle.status().rows_out
            (True, 2)
        """
        check_failpoints()
        if not (cluster is None or isinstance(cluster, Runner)):
            raise PlanError(f"cluster={cluster!r}: give st.Cluster(...), or leave it out")
        config = load_config(settings, parallelism=1 if cluster is None else cluster.parallelism)
        if config.switch_interval_us is not None:
            sys.setswitchinterval(config.switch_interval_us / 1e6)
        writes = self._optimized()
        scans = [node for node in walk(*self._writes) if isinstance(node, Scan)]
        names = [scan.name for scan in scans], [write.name for write in self._writes]
        if cluster is not None:
            beginning = Beginning(savepoint, allow_dropped_state)
            together = program(self.name, writes, config, beginning, _errors_sink(errors))
            return JobHandle(self.name, cluster.start(together), *names, self._loops())
        if small := kept_in_etcd(writes):
            raise PlanError(
                f'{", ".join(sorted(small))}: state="etcd" is for jobs in a cluster; leave it out, or give cluster='
            )
        durable = claimed(self.name, writes, config, Beginning(savepoint, allow_dropped_state))
        try:
            graph = lower(writes if durable is None else durable.writes, config, _errors_sink(errors))
            run = LocalRun(graph, config, durable=None if durable is None else durable.durable)
        except BaseException:
            if durable is not None:
                durable.give_back()
            raise
        handle = JobHandle(self.name, run, *names, self._loops())
        run.start()
        if durable is None and (lost := losses(self._writes, self.name)) is not None:
            log.warning("%s", lost)
        return handle

    def _loops(self) -> Loops:
        """The event loops of the queues that the job reads and fills."""
        scans = [node for node in walk(*self._writes) if isinstance(node, Scan)]
        return [getattr(scan.source, "loop", None) for scan in scans] + [write.loop for write in self._writes]

    def explain(self) -> str:
        """The plan as a readable tree: operators, chains, schemas, Python functions, and what bounds state.

        Returns:
            Lines with the sinks first and what feeds them below; for people, and not the same for ever.

        Example:
            >>> import polars as pl, streame as st
            >>> job = st.scan_frames([pl.DataFrame({"qty": [2]})], name="orders").sink_csv("orders.csv")
            >>> print(job.explain())
            job orders.csv
            └─ sink orders.csv (orders.csv)
               │  -> qty: Int64
               └─ source orders (FramesSource, ends, on_error=fail)
                     -> qty: Int64
        """
        return explain(self._optimized(), self.name)

    def identity(self) -> dict[str, Any]:
        """What the state in a checkpoint of this job depends on: its operators by name, and what each of them does.

        Returns:
            A JSON value. A checkpoint can be gone on from by a job of an equal one.
        """
        return plan_identity(self._optimized())

    def _optimized(self) -> tuple[Write, ...]:
        return tuple(write for write in optimize(self._writes) if isinstance(write, Write))


def job(jobs: Iterable[Job], *, name: str = "job") -> Job:
    """Several sinks under one roof. A source that they share is read once.

    Args:
        jobs: what the `sink_*` verbs gave.
        name: the job's name.

    Returns:
        One job with all their sinks; nothing runs yet.

    Raises:
        PlanError: when there are none, two sources or joins have the same name, or two sinks write the same path.

    Example:
        >>> import polars as pl, streame as st
        >>> orders = st.scan_frames([pl.DataFrame({"qty": [2, 30]})])
        >>> big = orders.filter(pl.col("qty") > 10)
        >>> status = st.job([orders.sink_parquet("all/"), big.sink_csv("big.csv")], name="orders").run()
        >>> status.rows_in, status.rows_out
        (2, 3)
    """
    listed: list[Any] = [None] if isinstance(jobs, Job) else list(jobs)
    if not all(isinstance(each, Job) for each in listed):
        raise PlanError("job: give a list of jobs, which the sinks of a StreamDataFrame make")
    if not listed:
        raise PlanError("job: give at least one sink")
    counts: dict[str, int] = {}
    writes = []
    for write in (write for each in listed for write in each.writes):
        number = counts[write.name] = counts.get(write.name, 0) + 1
        writes.append(write if number == 1 else replace(write, name=f"{write.name}-{number}"))
    return Job(writes, name)


def write_job(
    node: Node,
    make_sink: Callable[[], Sink],
    name: str,
    *,
    text: str = "",
    separate: bool = True,
    target: str | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
    file: FileOutput | None = None,
    delivery: Delivery = "exactly_once",
) -> Job:
    """A job with one sink."""
    if node.is_changes and DIFF in node.schema:
        raise PlanError(
            f"{name}: the rows are a changes stream, whose weights come out as the column {DIFF!r}, and they have "
            "such a column already; rename it"
        )
    return Job([Write(node, make_sink, f"sink {name}", text, separate, target, loop, file, delivery)], name)


def _check_names(writes: tuple[Write, ...]) -> None:
    names: dict[str, Node] = {}
    targets: dict[str, str] = {}
    for node in walk(*writes):
        if (
            isinstance(node, Scan | Stateful | TableJoin | Write)
            and names.setdefault(node.name, node) is not node
        ):
            kinds = _kind(names[node.name]), _kind(node)
            what = f"two {kinds[0]}s" if kinds[0] == kinds[1] else f"a {kinds[0]} and a {kinds[1]}"
            raise PlanError(
                f"{what} of the job are called {node.name!r}; give one of them another name with name="
            )
        if (
            isinstance(node, Write)
            and node.target
            and targets.setdefault(node.target, node.name) != node.name
        ):
            raise PlanError(
                f"{targets[node.target]!r} and {node.name!r} both write {node.target}; give each a path of its own"
            )


def _kind(node: Node) -> str:
    return next(kind for each, kind in _KINDS.items() if isinstance(node, each))


def _check_inputs(writes: tuple[Write, ...]) -> None:
    """Refuse a sink that writes what the job reads: it would empty its own input, or read its own output."""
    sources = [node for node in walk(*writes) if isinstance(node, Scan)]
    for write, scan in product(writes, sources):
        if write.target and isinstance(scan.source, FileSource) and scan.source.covers(write.target):
            raise PlanError(
                f"{write.name!r} writes {write.target}, which source {scan.name!r} reads; write to another place"
            )


def _errors_sink(errors: Errors) -> Callable[[], Sink] | None:
    match errors:
        case None:
            return None
        case str() | os.PathLike():
            return lambda: DeadLetterFiles(Path(errors))
        case _:
            sink = QueueSink(errors)
            return lambda: sink
