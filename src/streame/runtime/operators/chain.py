"""A chain: neighbouring row-wise verbs that run as one call per batch."""

from collections.abc import Sequence

import polars as pl

from streame.core.messages import Batch, SplitStatus
from streame.core.positions import describe_position, with_position_column
from streame.errors import DataError
from streame.runtime.letters import RefusalPolicy, describe_error, refuse_rows
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.program import Program
from streame.runtime.salvage import FAILURES, Run, salvage
from streame.runtime.steps import FilterStep, MapContractError, MapStep, ProjectStep, Step


class ChainOperator(Operator):
    """Runs the steps on whole batches; when a batch fails, sets exactly the rows aside that fail by themselves.

    Args:
        steps: the verbs, in order.
        policy: what happens to rows that a step cannot compute.
    """

    def __init__(self, steps: Sequence[Step], policy: RefusalPolicy) -> None:
        self._program = Program(steps)
        self._steps = [(step, Program([step]).run) for step in steps]
        self._policy = policy

    def open(self, context: OperatorContext) -> None:
        """Remember the clock, for the time of dead letters."""
        self._clock = context.clock

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Run all steps on the rows."""
        try:
            frame = self._program.run(batch.frame)
        except FAILURES:
            frame = self._step_by_step(with_position_column(batch), out)
        if frame.height:
            out.emit(Batch(frame, split=batch.split))

    def on_split(self, port: int, status: SplitStatus, out: Collector) -> None:
        """Pass it on: rows go on one by one."""
        out.split_status(status)

    def _step_by_step(self, frame: pl.DataFrame, out: Collector) -> pl.DataFrame:
        for step, run in self._steps:
            try:
                frame = run(frame)
            except FAILURES as error:
                if isinstance(error, MapContractError) or (isinstance(step, MapStep) and not step.row_wise):
                    raise _whole_batch_error(step, frame, error) from error
                try:
                    salvaged = salvage(step, run, frame)
                except FAILURES as whole:
                    raise _whole_batch_error(step, frame, whole) from whole
                if salvaged.bad:
                    self._refuse(step, run, frame[salvaged.bad], out)
                frame = salvaged.frame
        return frame

    def _refuse(self, step: Step, run: Run, refused: pl.DataFrame, out: Collector) -> None:
        def reason(number: int) -> BaseException | str:
            try:
                run(refused[number : number + 1])
            except FAILURES as error:
                return error
            return "it failed among other rows, but not alone"

        refuse_rows(refused, reason, operator=step.name, policy=self._policy, clock=self._clock, out=out)


def _whole_batch_error(step: Step, frame: pl.DataFrame, cause: BaseException) -> DataError:
    place = describe_position(frame, 0) if frame.height else ""
    what = {FilterStep: "filter", ProjectStep: "projection", MapStep: "function"}.get(type(step), "verb")
    return DataError(
        f"{step.name}: the {what} failed for a batch of {frame.height} rows"
        f"{' that begins at ' + place if place else ''}: {describe_error(cause)}"
    )
