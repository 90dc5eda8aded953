"""The input of a golden pipeline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from queue import Queue
from typing import Any

import polars as pl

import streame as st
from streame.core.deadletters import OnError


@dataclass(frozen=True)
class Given:
    """The rows of one source.

    Args:
        rows: a frame, or Python rows of which some may be bad.
        schema: the columns of Python rows.
        on_error: what happens to bad rows.
        required: columns that may not be null.
        endless: whether the pipeline is built as if the source never ended.
    """

    rows: pl.DataFrame | Sequence[Any]
    schema: Mapping[str, Any] | None = None
    on_error: OnError = "fail"
    required: Sequence[str] = ()
    endless: bool = False

    def scan(self, name: str, cuts: Sequence[int]) -> st.StreamDataFrame:
        """The source, with its rows cut into batches of these sizes in turn (Python rows come as they are)."""
        if self.endless:
            assert isinstance(self.rows, pl.DataFrame)
            queue: Queue[Any] = Queue()
            for row in (*self.rows.rows(named=True), st.END):
                queue.put(row)
            return st.scan_queue(
                queue, self.rows.schema, on_error=self.on_error, required=self.required, name=name
            )
        if isinstance(self.rows, pl.DataFrame):
            return st.scan_frames(
                self.batches(cuts), schema=self.rows.schema, on_error=self.on_error, required=self.required, name=name
            )  # fmt: skip
        assert self.schema is not None
        return st.scan_rows(self.rows, self.schema, on_error=self.on_error, required=self.required, name=name)

    def batches(self, cuts: Sequence[int]) -> list[Any]:
        """The rows in batches of these sizes, in turn."""
        batches: list[Any] = []
        at = 0
        while at < len(self.rows):
            size = cuts[len(batches) % len(cuts)]
            batches.append(self.rows[at : at + size])
            at += size
        return batches
