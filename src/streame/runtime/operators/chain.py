"""A chain: neighbouring row-wise verbs that run as one call per batch."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter

import polars as pl
from polars.exceptions import PanicException

from streame.core.clock import to_datetime
from streame.core.deadletters import BadRow, OnError, dead_letters, shorten
from streame.core.foreign_errors import first_paragraph
from streame.core.messages import Batch
from streame.core.positions import POSITION, describe_position, with_position_column, without_position_column
from streame.errors import DataError
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.program import Program
from streame.runtime.salvage import FAILURES, Run, salvage
from streame.runtime.steps import FilterStep, MapContractError, MapStep, ProjectStep, Step

EXPLAINED_ROWS_MAX = 1_000
"""How many refused rows of one batch get a message of their own; it costs an evaluation of each."""

UNEXPLAINED = f"like the {EXPLAINED_ROWS_MAX:,} rows refused before it in the same batch"


class ChainOperator(Operator):
    """Runs the steps on whole batches; when a batch fails, sets exactly the rows aside that fail by themselves.

    Args:
        steps: the verbs, in order.
        on_error: what happens to rows that a step cannot compute.
        deciding: the sources whose policy that is, for the error message.
    """

    def __init__(self, steps: Sequence[Step], on_error: OnError, deciding: Sequence[str] = ()) -> None:
        self._program = Program(steps)
        self._steps = [(step, Program([step]).run) for step in steps]
        self._on_error = on_error
        self._deciding = tuple(deciding)

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
            out.emit(Batch(frame))

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
        match self._on_error:
            case "fail":
                raise _row_error(step, run, refused[:1], self._deciding)
            case "drop":
                out.count_rejected(refused.height)
            case "dead_letter":
                out.reject(_letters(step, run, refused, to_datetime(self._clock.now_us())))


def _letters(step: Step, run: Run, refused: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """The refused rows as dead letters; neighbours from the same split together."""
    rows = without_position_column(refused)
    positions = refused[POSITION].to_list() if POSITION in refused.columns else [None] * refused.height
    bad: list[tuple[tuple[str | None, str | None], BadRow]] = []
    for i, position in enumerate(positions):
        place = position or {"source": None, "split": None, "offset": None}
        reason = _reason(run, refused[i : i + 1]) if i < EXPLAINED_ROWS_MAX else UNEXPLAINED
        row = BadRow(place["offset"], "compute", reason, _as_json(rows[i : i + 1]))
        bad.append(((place["source"], place["split"]), row))
    return pl.concat(
        dead_letters([row for _, row in group], source=source, split=split, operator=step.name, at=at)
        for (source, split), group in groupby(bad, key=itemgetter(0))
    )


def _reason(run: Run, row: pl.DataFrame) -> str:
    """What the step says of a single row."""
    try:
        run(row)
    except FAILURES as error:
        return _kind_and_reason(error)
    return "it failed among other rows, but not alone"


def _kind_and_reason(error: BaseException) -> str:
    name, text = type(error).__name__, first_paragraph(error)
    return name if text == name else f"{name}: {text}"


def _as_json(row: pl.DataFrame) -> bytes:
    """One row as a JSON object; as Python would print it where JSON has no word for a value."""
    try:
        return row.write_ndjson().strip().encode()
    except (pl.exceptions.PolarsError, PanicException):
        return repr(row.row(0, named=True)).encode()


def _row_error(step: Step, run: Run, row: pl.DataFrame, deciding: Sequence[str]) -> DataError:
    cause: BaseException | None = None
    try:
        run(row)
    except FAILURES as error:
        cause = error
    place = describe_position(row, 0)
    refused = DataError(
        f"{step.name}: {_kind_and_reason(cause) if cause else 'the row cannot be computed'}"
        f"{' at ' + place if place else ''}; the row is {shorten(_as_json(without_position_column(row)))}. "
        f"Mend the row or the expression, or give {' and '.join(map(repr, deciding)) or 'the source'} "
        'on_error="dead_letter" to set such rows aside'
    )
    refused.__cause__ = cause
    return refused


def _whole_batch_error(step: Step, frame: pl.DataFrame, cause: BaseException) -> DataError:
    place = describe_position(frame, 0) if frame.height else ""
    what = {FilterStep: "filter", ProjectStep: "projection", MapStep: "function"}.get(type(step), "verb")
    return DataError(
        f"{step.name}: the {what} failed for a batch of {frame.height} rows"
        f"{' that begins at ' + place if place else ''}: {_kind_and_reason(cause)}"
    )
