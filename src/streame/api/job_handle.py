"""A job that runs: its handle, and where it stands."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType

from streame.core.metrics import CheckpointMetrics, OperatorMetrics
from streame.errors import PlanError
from streame.runtime.local import State
from streame.runtime.runner import Run


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job stands.

    Args:
        name: the job's name.
        state: `running`, `degraded` (the disk of the checkpoints, of a sink, of a log or of state beyond
            `memory_limit` is full: nothing is read until there is room), `stopping`, `finished` or `failed`.
        seconds: how long it has run.
        rows_in: rows that the sources gave, bad ones included.
        rows_out: rows that went to the sinks, all together.
        rejected: rows that were refused by a source or a verb.
        error: the message of the error that ended it.
        checkpoint: the number of the last checkpoint that was decided; `None` if there is none.
        waits_for: what there is no room for, and what the system said, while it is `degraded`.
        checkpoints: more of the checkpoints: age, duration, sizes, failures; `None` for a job without.
        state_bytes: about the size in memory of what all operators keep; about a second old.
        state_disk_bytes: the size of what they keep on disk instead, because of `memory_limit`; about a second old.
    """

    name: str
    state: State
    seconds: float
    rows_in: int
    rows_out: int
    rejected: int
    error: str | None = None
    checkpoint: int | None = None
    waits_for: str | None = None
    checkpoints: CheckpointMetrics | None = None
    state_bytes: int = 0
    state_disk_bytes: int = 0


Loops = Sequence[asyncio.AbstractEventLoop | None]


class JobHandle(AbstractContextManager["JobHandle"]):
    """A running job. As a context manager it stops the job at the end of the block and waits for it.

    Made by `Job.start`; its methods may be called from any thread, also after the end.

    Example:
        >>> import queue, polars as pl, streame as st
        >>> orders, results = queue.Queue(), queue.Queue()
        >>> with st.scan_queue(orders, {"qty": pl.Int64}).sink_queue(results).start() as handle:
        ...     orders.put({"qty": 2})
        ...     results.get(timeout=10)
        {'qty': 2}
        >>> handle.status().state
        'finished'
    """

    def __init__(
        self,
        name: str,
        run: Run,
        sources: Iterable[str],
        sinks: Iterable[str],
        loops: Loops = (),
    ) -> None:
        self.name = name
        self._run = run
        self._sources = tuple(sources)
        self._sinks = tuple(sinks)
        self._loops = tuple(loops)

    def stop(self) -> None:
        """Read no further; what was read is worked on to its end. Returns at once; use `wait` for the end."""
        self._run.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end.

        Args:
            timeout: seconds; `None` waits as long as it takes.

        Returns:
            Whether the job has ended.

        Raises:
            StreameError: the error that ended the job, with the operator's name as a note.
            PlanError: when it is called in the event loop of an `asyncio.Queue` that the job uses; the job is stopped.
        """
        refuse_to_block(self._loops)
        return self._run.wait(timeout)

    def status(self) -> JobStatus:
        """Where the job stands.

        Returns:
            The counts of this moment, and the error if it has failed; never raises that error.
        """
        metrics = self.metrics()
        error, waits_for, checkpoints = self._run.error, self._run.waits_for, self._run.checkpoints()
        return JobStatus(
            name=self.name,
            state=self._run.state,
            seconds=self._run.seconds,
            rows_in=sum(metrics[name].rows_in for name in self._sources if name in metrics),
            rows_out=sum(metrics[name].rows_in for name in self._sinks if name in metrics),
            rejected=sum(each.rejected for each in metrics.values()),
            error=None if error is None else str(error),
            checkpoint=None if checkpoints is None else checkpoints.number,
            waits_for=waits_for,
            checkpoints=checkpoints,
            state_bytes=sum(each.state_bytes for each in metrics.values()),
            state_disk_bytes=sum(each.state_disk_bytes for each in metrics.values()),
        )

    def metrics(self) -> Mapping[str, OperatorMetrics]:
        """The counters of every source and operator.

        Returns:
            Counters by name, sources first; those of parallel instances are added up.
        """
        return self._run.metrics()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.wait()


def refuse_to_block(loops: Loops) -> None:
    """Queues of asyncio are filled and emptied by their loop, which would stand still while it waits for the job."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return
    if running in loops:
        raise PlanError(
            "the job uses an asyncio.Queue of the event loop that would now wait for the job, so neither would go on; "
            "use await asyncio.to_thread(job.run), or start() and await asyncio.to_thread(handle.wait)"
        )
