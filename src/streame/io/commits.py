"""A commit of a directory of parts: what the output of one checkpoint is, and all that was written before it."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from streame.core.staging import Json
from streame.errors import ConnectorError

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is whole and on the disk.

    Args:
        name: of its file; of its staged one before it is published.
        rows: how many it has.
        bytes: how long it is.
        digest: xxh3_128 of its bytes.
    """

    name: str
    rows: int
    bytes: int
    digest: str

    def as_json(self) -> Json:
        """The part as a JSON value."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Written:
    """What a sink has staged in its whole life.

    Args:
        sink: a number at random that was drawn when it began, which no other sink has.
        parts: how many.
        rows: how many.
    """

    sink: str
    parts: int = 0
    rows: int = 0

    def and_part(self, part: Part) -> "Written":
        """The same with one part more."""
        return Written(self.sink, self.parts + 1, self.rows + part.rows)

    def as_json(self) -> Json:
        """The counts as a JSON value."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Commit:
    """The file of one checkpoint.

    Args:
        checkpoint: its number.
        commit: how many commits there are up to here, so that one that is gone is noticed.
        written: everything up to here.
        parts: those of this checkpoint, in order.
    """

    checkpoint: int
    commit: int
    written: Written
    parts: tuple[Part, ...]

    def encoded(self) -> bytes:
        """The text of the file."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1).encode()

    @classmethod
    def decoded(cls, place: str, text: bytes) -> "Commit":
        """The commit in a file.

        Raises:
            ConnectorError: when it is none that this version can read.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            if found.pop("format") != _FORMAT:
                raise ConnectorError(f"{place}: was written by a newer version of Streame; use that one")
            parts = tuple(Part(**part) for part in found.pop("parts"))
            return cls(written=Written(**found.pop("written")), parts=parts, **found)
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectorError(
                f"{place}: is no commit of Streame ({error}); bring back the file that was there"
            ) from error
