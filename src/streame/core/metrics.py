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
