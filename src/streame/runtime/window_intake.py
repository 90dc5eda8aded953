"""The intake of windows: which rows of a batch count, where they belong, and what is known of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.frames import frame_of
from streame.core.hidden import WEIGHT
from streame.core.messages import Batch
from streame.core.positions import with_position_column
from streame.core.windows import Windows
from streame.runtime.letters import RefusalPolicy, refuse_rows
from streame.runtime.operator import Collector, OperatorContext
from streame.runtime.operators.pre_aggregation import values_of
from streame.runtime.placement import Placed, place
from streame.runtime.preparation import Preparation
from streame.runtime.window_results import WindowSetup


@dataclass(frozen=True, slots=True)
class Intake:
    """The rows that count.

    Args:
        placed: the slices that they belong to.
        keys: their key columns.
        rows: what the aggregation must know of them.
        weights: +1 or -1 for each, in a changes stream.
        height: how many there are.
        is_partial: whether each stands for several.
    """

    placed: Placed
    keys: pl.DataFrame
    rows: pl.DataFrame
    weights: npt.NDArray[np.int64] | None
    height: int
    is_partial: bool = False


class WindowIntake:
    """Sorts out the rows of one batch after the other.

    Args:
        setup: what is computed of them.
        policy: what becomes of rows without an event time, or for which an aggregate cannot be computed.
        windows: the windows of the setup.
        context: the surroundings of the operator.
    """

    def __init__(
        self, setup: WindowSetup, policy: RefusalPolicy, windows: Windows, context: OperatorContext
    ) -> None:
        self._setup = setup
        self._policy = policy
        self._windows = windows
        self._context = context
        self._preparation = Preparation(setup.aggregation, setup.rule.time, policy)

    def run(self, batch: Batch, closed: int, out: Collector) -> Intake | None:
        """The rows that count; others are refused, late or in no window.

        Args:
            batch: the rows.
            closed: the watermark, up to which windows are closed.
            out: where refused and late rows go.
        """
        setup, windows = self._setup, self._windows
        frame, values = batch.frame, values_of(batch.frame)
        if values is None:
            frame, rows = self._preparation.run(self._timed(batch, out), self._context, out)
        else:
            rows = values
        if not frame.height:
            return None
        ticks = windows.ticks(frame)
        given = frame.drop(setup.computed_keys) if setup.computed_keys else frame
        placed = place(given, ticks, windows, closed=closed, lateness=setup.lateness, out=out)
        if placed is None:
            return None
        if placed.kept is not None:
            mask = pl.Series(placed.kept)
            frame, rows = frame.filter(mask), rows.filter(mask) if rows.width else rows
        weights = frame[WEIGHT].to_numpy() if setup.retractable else None
        keys = frame_of([frame.get_column(name) for name in setup.key_columns])
        return Intake(placed, keys, rows, weights, frame.height, values is not None)

    def _timed(self, batch: Batch, out: Collector) -> Batch:
        """The rows that have an event time; the others are refused."""
        wrong = self._windows.unknown(batch.frame)
        if wrong is None:
            return batch
        frame = with_position_column(batch)
        refused = frame.filter(pl.Series(wrong))
        column = self._setup.rule.time.column
        times = refused.get_column(column)
        refuse_rows(
            refused,
            lambda row: f"the event time {column} is {'null' if times[row] is None else times[row]}",
            operator=self._context.name,
            policy=self._policy,
            clock=self._context.clock,
            out=out,
            kind="time",
            remedy="Mend or filter the row",
        )
        return Batch(frame.filter(pl.Series(~wrong)))
