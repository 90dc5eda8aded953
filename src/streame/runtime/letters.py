"""Refusing rows in a verb: as the policy of their sources says, an error, dead letters or a count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PanicException

from streame.core.clock import Clock, to_datetime
from streame.core.deadletters import BadRow, Kind, OnError, dead_letters, shorten
from streame.core.foreign_errors import first_paragraph
from streame.core.hidden import POSITION, WEIGHT, user_frame
from streame.core.positions import NO_SOURCE, describe_position
from streame.errors import DataError
from streame.runtime.operator import Collector

EXPLAINED_ROWS_MAX = 1_000
"""How many refused rows of one batch get a message of their own; it may cost an evaluation of each."""

UNEXPLAINED = f"like the {EXPLAINED_ROWS_MAX:,} rows refused before it in the same batch"

Reason = Callable[[int], BaseException | str]
"""What is wrong with the row of this number: the error that it raised, or a sentence."""


@dataclass(frozen=True, slots=True)
class RefusalPolicy:
    """What a verb does with rows that it cannot work on.

    Args:
        on_error: the strictest policy of the sources above it.
        deciding: the sources whose policy that is, for the error message.
    """

    on_error: OnError = "fail"
    deciding: Sequence[str] = ()


def refuse_rows(
    rows: pl.DataFrame,
    reason: Reason,
    *,
    operator: str,
    policy: RefusalPolicy,
    clock: Clock,
    out: Collector,
    kind: Kind = "compute",
    remedy: str = "Mend the row or the expression",
) -> None:
    """Refuse rows. One that is taken back was refused when it came, and is not refused again.

    Args:
        rows: the rows, with their hidden columns.
        reason: says of a row what is wrong with it; asked for the first rows only.
        operator: the name of the operator that refuses them.
        policy: what becomes of them.
        clock: for the time of the dead letters.
        out: where they go.
        kind: the kind of the dead letters.
        remedy: what the user can do, for the error message.

    Raises:
        DataError: when the policy is `fail`; with the error of the first row as its cause.
    """
    if WEIGHT in rows.columns:
        came = np.flatnonzero(rows[WEIGHT].to_numpy() > 0)
        rows, reason = rows[came], _reindexed(reason, came)
    if not rows.height:
        return
    match policy.on_error:
        case "fail":
            raise _row_error(rows[:1], reason(0), operator, policy.deciding, remedy)
        case "drop":
            out.count_rejected(rows.height)
        case "dead_letter":
            out.reject(_letters(rows, reason, operator, to_datetime(clock.now_us()), kind))


def _reindexed(reason: Reason, rows: npt.NDArray[np.intp]) -> Reason:
    return lambda number: reason(int(rows[number]))


def describe_error(error: BaseException | str) -> str:
    """The kind of an error and its first paragraph; a sentence as it is."""
    if isinstance(error, str):
        return error
    name, text = type(error).__name__, first_paragraph(error)
    return name if text == name else f"{name}: {text}"


def _letters(refused: pl.DataFrame, reason: Reason, operator: str, at: datetime, kind: Kind) -> pl.DataFrame:
    """The refused rows as dead letters; neighbours from the same split together."""
    rows = user_frame(refused)
    positions = refused[POSITION].to_list() if POSITION in refused.columns else [None] * refused.height
    bad: list[tuple[tuple[str | None, str | None], BadRow]] = []
    for i, position in enumerate(positions):
        known = position is not None and position["source"] not in {None, NO_SOURCE}
        place = position if known else {"source": None, "split": None, "offset": None}
        message = describe_error(reason(i)) if i < EXPLAINED_ROWS_MAX else UNEXPLAINED
        row = BadRow(place["offset"], kind, message, as_json(rows[i : i + 1]))
        bad.append(((place["source"], place["split"]), row))
    return pl.concat(
        dead_letters([row for _, row in group], source=source, split=split, operator=operator, at=at)
        for (source, split), group in groupby(bad, key=itemgetter(0))
    )


def as_json(row: pl.DataFrame) -> bytes:
    """One row as a JSON object; as Python would print it where JSON has no word for a value."""
    try:
        return row.write_ndjson().strip().encode()
    except (pl.exceptions.PolarsError, PanicException):
        return repr(row.row(0, named=True)).encode()


def _row_error(
    row: pl.DataFrame, error: BaseException | str, operator: str, deciding: Sequence[str], remedy: str
) -> DataError:
    place = describe_position(row, 0)
    refused = DataError(
        f"{operator}: {describe_error(error)}"
        f"{' at ' + place if place else ''}; the row is {shorten(as_json(user_frame(row)))}. "
        f"{remedy}, or give {' and '.join(map(repr, deciding)) or 'the source'} "
        'on_error="dead_letter" to set such rows aside'
    )
    refused.__cause__ = error if isinstance(error, BaseException) else None
    return refused
