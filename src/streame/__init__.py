"""Streame: Polars dataframes over rows that never stop arriving."""

import importlib
import typing

from streame.api.dataframe import StreamDataFrame, concat
from streame.api.job import Job, job
from streame.api.job_handle import JobHandle, JobStatus
from streame.api.now import now
from streame.api.scan import scan, scan_frames, scan_queue, scan_rows
from streame.api.scan_files import scan_csv, scan_ipc, scan_ndjson, scan_parquet
from streame.api.sinks import sink
from streame.api.sketches import approx_n_unique, approx_quantile
from streame.api.table import StreamTable
from streame.core.deadletters import DEAD_LETTER_SCHEMA, BadRow
from streame.core.group import Group
from streame.core.metrics import CheckpointMetrics, OperatorMetrics
from streame.core.staging import Decided, Outbox, Staged
from streame.core.user_aggregates import Aggregate
from streame.errors import (
    CheckpointDamaged,
    CheckpointError,
    ClusterError,
    ConnectorError,
    DataError,
    NotAccepted,
    NotLeader,
    PeerLost,
    PlanChanged,
    PlanError,
    SinkRegressed,
    SourceDataLost,
    StreameError,
    Superseded,
)
from streame.io.durable_queue import END, Queue
from streame.io.sink import Sink, TransactionalSink
from streame.io.source import Chunk, Source

if typing.TYPE_CHECKING:
    from streame.cluster.cluster import Cluster
    from streame.cluster.security import Tls

_CLUSTER = {"Cluster": "streame.cluster.cluster", "Tls": "streame.cluster.security"}
"""What needs packages that not everybody has; it is imported when it is asked for."""

__all__ = [
    "DEAD_LETTER_SCHEMA",
    "END",
    "Aggregate",
    "BadRow",
    "CheckpointDamaged",
    "CheckpointError",
    "CheckpointMetrics",
    "Chunk",
    "Cluster",
    "ClusterError",
    "ConnectorError",
    "DataError",
    "Decided",
    "Group",
    "Job",
    "JobHandle",
    "JobStatus",
    "NotAccepted",
    "NotLeader",
    "OperatorMetrics",
    "Outbox",
    "PeerLost",
    "PlanChanged",
    "PlanError",
    "Queue",
    "Sink",
    "SinkRegressed",
    "Source",
    "SourceDataLost",
    "Staged",
    "StreamDataFrame",
    "StreamTable",
    "StreameError",
    "Superseded",
    "Tls",
    "TransactionalSink",
    "approx_n_unique",
    "approx_quantile",
    "concat",
    "job",
    "now",
    "scan",
    "scan_csv",
    "scan_frames",
    "scan_ipc",
    "scan_ndjson",
    "scan_parquet",
    "scan_queue",
    "scan_rows",
    "sink",
]


def __getattr__(name: str) -> typing.Any:
    """What a cluster needs."""
    if name not in _CLUSTER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_CLUSTER[name]), name)
    except ModuleNotFoundError as error:
        raise PlanError(
            f"st.{name} needs the package {error.name}, which is not installed: pip install 'streame[cluster]'"
        ) from error
