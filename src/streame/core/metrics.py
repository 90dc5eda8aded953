"""Counters of the running operators."""

from dataclasses import dataclass


@dataclass(slots=True)
class OperatorMetrics:
    """What one operator has done so far, all its instances together when read through a job.

    Args:
        rows_in: rows taken.
        rows_out: rows sent on.
        batches: batches taken.
        rejected: rows refused, whether they became dead letters or were dropped.
    """

    rows_in: int = 0
    rows_out: int = 0
    batches: int = 0
    rejected: int = 0

    def add(self, other: "OperatorMetrics") -> None:
        """Count another instance in."""
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        self.batches += other.batches
        self.rejected += other.rejected
