"""Counters of the running operators."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StateSize:
    """How much an operator keeps.

    Args:
        rows: entries: groups, rows of a table, rows that wait.
        bytes: about their size in memory.
        disk_bytes: how much of them is on disk instead.
    """

    rows: int
    bytes: int
    disk_bytes: int = 0


NO_STATE = StateSize(0, 0)


@dataclass(frozen=True, slots=True)
class CheckpointMetrics:
    """The checkpoints of a job at one moment.

    Args:
        number: of the last one that was decided; `None` if there is none.
        decided_at_us: when it was decided: microseconds since 1970 in UTC.
        age_s: how many seconds ago that was. What the job has done since is done again after a crash.
        duration_s: how many seconds there were between its beginning, when barriers were asked for, and the moment at
            which it was decided; `None` if an earlier run has made it.
        new_bytes: how many bytes of state and of its manifest were written for it; `None` as above.
        state_bytes: the size of all state that it refers to, also what earlier ones have written; `None` as above.
        full_disk_failures: how often, in this run, a checkpoint could not be written or its output not be published
            because the disk was full.
        log_bytes: the size of the logs of sources that cannot be read again: rows since the last checkpoint, and
            those before it that share a segment (8 MiB) with them.
    """

    number: int | None = None
    decided_at_us: int | None = None
    age_s: float | None = None
    duration_s: float | None = None
    new_bytes: int | None = None
    state_bytes: int | None = None
    full_disk_failures: int = 0
    log_bytes: int = 0


@dataclass(slots=True)
class OperatorMetrics:
    """What one operator has done so far, all its instances together when read through a job.

    Args:
        rows_in: rows taken.
        rows_out: rows sent on.
        batches: batches taken.
        rejected: rows refused, whether they became dead letters or were dropped.
        late: rows that came after their windows had closed.
        gaps: rows that belong to no window, because there are gaps between the windows.
        state_rows: entries kept: groups, rows of a table, rows that wait; about a second old.
        state_bytes: about their size in memory; about a second old.
        state_disk_bytes: the size of what is on disk instead, because of `memory_limit`; about a second old.
        watermark: the least watermark sent on: nanoseconds since 1970, or ticks; `None` before the first.
    """

    rows_in: int = 0
    rows_out: int = 0
    batches: int = 0
    rejected: int = 0
    late: int = 0
    gaps: int = 0
    state_rows: int = 0
    state_bytes: int = 0
    state_disk_bytes: int = 0
    watermark: int | None = None

    def add(self, other: "OperatorMetrics") -> None:
        """Count another instance in."""
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        self.batches += other.batches
        self.rejected += other.rejected
        self.late += other.late
        self.gaps += other.gaps
        self.state_rows += other.state_rows
        self.state_bytes += other.state_bytes
        self.state_disk_bytes += other.state_disk_bytes
        known = [each for each in (self.watermark, other.watermark) if each is not None]
        self.watermark = min(known, default=None)
