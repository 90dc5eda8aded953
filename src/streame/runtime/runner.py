"""Who runs a job: this process alone, or many together."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from streame.core.config import Config
from streame.core.metrics import CheckpointMetrics, OperatorMetrics
from streame.core.staging import Json
from streame.io.logged import RowLog
from streame.runtime.graph import Graph
from streame.runtime.local import State

LogOf = Callable[[str], RowLog]
"""Opens the log of a source that cannot be read again, by the name of the source."""


class Run(Protocol):
    """A job that runs."""

    @property
    def state(self) -> State:
        """Where the job stands."""

    @property
    def waits_for(self) -> str | None:
        """What there is no room for on a full disk; `None` while nothing waits."""

    @property
    def error(self) -> BaseException | None:
        """The error that ended the job."""

    @property
    def seconds(self) -> float:
        """How long the job has run, or did."""

    def checkpoints(self) -> CheckpointMetrics | None:
        """The checkpoints at this moment; `None` without."""

    def metrics(self) -> Mapping[str, OperatorMetrics]:
        """The counters of every source and operator, by name; sources first."""

    def stop(self) -> None:
        """Read no further; returns at once."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; return whether it has come. Raises the error that ended the job."""


@dataclass(frozen=True, slots=True)
class Program:
    """A job, as far as whoever runs it has to know.

    Args:
        name: the job's name.
        plan: what its state depends on, as a JSON value.
        digest: of all that it does: equal for equal programs only.
        config: its settings.
        settings: what else a checkpoint says of the run.
        allow_dropped: names of operators whose state may be given up.
        savepoint: the folder of a savepoint to begin from where there is no checkpoint yet.
        check: finds out whether it can run on many nodes; raises `PlanError`.
        graph: makes the physical graph for some settings, with the logs of sources that cannot be read again; without
            those nothing may be read.
        in_etcd: the names of operators whose state is to be in etcd.
        stand_by: tells the sources that take rows from outside that another node reads them, and its address.
        stop_standing_by: tells them that this is over, and why nobody takes their rows any more.
    """

    name: str
    plan: Json
    digest: str
    config: Config
    settings: Mapping[str, Json]
    allow_dropped: Collection[str]
    savepoint: Path | None
    in_etcd: Collection[str]
    check: Callable[[], None]
    graph: Callable[[Config, LogOf | None], Graph]
    stand_by: Callable[[str | None], None]
    stop_standing_by: Callable[[str], None]


@runtime_checkable
class Runner(Protocol):
    """Runs jobs elsewhere than only in this process."""

    @property
    def parallelism(self) -> int:
        """How many instances a keyed operator has where the settings say nothing."""

    def start(self, program: Program) -> Run:
        """Start to take part in a job.

        Raises:
            PlanError: when the job cannot run there.
            ClusterError: when the others cannot be reached.
        """
