"""Dead letters: rows that were refused, with the reason and the place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

Kind = Literal["syntax", "encoding", "type", "null", "columns", "size", "compute", "time", "crash"]
"""Why a row was refused.

* `syntax`: the line is no document of its format
* `encoding`: the bytes are not UTF-8, or name a character that does not exist
* `type`: a value does not fit its dtype
* `null`: a `required` column has no value
* `columns`: a line has too few or too many fields
* `size`: the row is larger than a row may be
* `compute`: a verb could not be computed for the row
* `time`: the event time is missing where one is needed, or centuries away
* `crash`: the process died while only this row was at work
"""

OnError = Literal["fail", "dead_letter", "drop"]

_COLUMNS: dict[str, pl.DataType] = {
    "source": pl.String(),
    "split": pl.String(),
    "offset": pl.Int64(),
    "operator": pl.String(),
    "kind": pl.String(),
    "message": pl.String(),
    "raw": pl.Binary(),
    "at": pl.Datetime("us", "UTC"),
}
DEAD_LETTER_SCHEMA = pl.Schema(_COLUMNS)


@dataclass(frozen=True, slots=True)
class BadRow:
    """One refused row, as the code that refused it knows it.

    Args:
        offset: its position in the split; `None` where the row has none (the result of an aggregate).
        kind: why it was refused, see `Kind`.
        message: what was found and what was expected, for a person; names the column and the value.
        raw: the row's own bytes at a source; the row as JSON at a verb.
    """

    offset: int | None
    kind: Kind
    message: str
    raw: bytes


def dead_letters(
    rows: Sequence[BadRow], *, source: str | None, split: str | None, operator: str, at: datetime
) -> pl.DataFrame:
    """The dead letters of one operator as a frame of `DEAD_LETTER_SCHEMA`."""
    return pl.DataFrame(
        {
            "source": [source] * len(rows),
            "split": [split] * len(rows),
            "offset": [row.offset for row in rows],
            "operator": [operator] * len(rows),
            "kind": [row.kind for row in rows],
            "message": [row.message for row in rows],
            "raw": [row.raw for row in rows],
            "at": [at] * len(rows),
        },
        schema=DEAD_LETTER_SCHEMA,
    )


def shorten(raw: bytes) -> str:
    """The beginning of a row, for a message."""
    text = raw[:200].decode(errors="replace")
    return text if len(raw) <= 200 else f"{text}... ({len(raw)} bytes)"


def strictest(policies: Sequence[OnError]) -> OnError:
    """The policy of a verb that stands below several sources: `fail` before `dead_letter` before `drop`."""
    order: tuple[OnError, ...] = ("fail", "dead_letter", "drop")
    return min(policies, key=order.index, default="fail")
