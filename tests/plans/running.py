"""Runs a plan and says what is wrong with the answer."""

from dataclasses import dataclass
from typing import Any

import polars as pl
from polars.exceptions import PanicException

import streame as st
from tests.plans import prelude
from tests.plans.model import Part, Plan


@dataclass(frozen=True)
class Failure:
    """What went wrong.

    Args:
        kind: what sort of thing; a smaller plan that fails in another way is another failure.
        text: the details.
    """

    kind: str
    text: str


class OracleError(Exception):
    """Polars itself has no answer."""


class Built:
    """The streams and frames of a plan, while it grows."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = dict(vars(prelude))

    def add(self, number: int, part: Part) -> None:
        """Run the code of a part; Polars first.

        Raises:
            OracleError: when Polars has no answer.
        """
        *before, stream, polars = part.code(number)
        self._run("\n".join(before))
        try:
            self._run(polars)
        except (pl.exceptions.PolarsError, PanicException, TypeError, ValueError, OverflowError) as error:
            raise OracleError(str(error)) from error
        self._run(stream)

    def stream(self, number: int) -> st.StreamDataFrame:
        """The stream of a part."""
        return self.names[f"f{number}"]  # type: ignore[no-any-return]

    def rows(self, number: int) -> pl.DataFrame:
        """Polars' rows of a part."""
        return self.names[f"p{number}"]  # type: ignore[no-any-return]

    def _run(self, code: str) -> None:
        exec(code, self.names)  # noqa: S102 - it is our own


def failure(plan: Plan) -> Failure | None:
    """What is wrong with the answer to a plan; `None` where it is right.

    Raises:
        OracleError: when Polars has no answer.
    """
    built = Built()
    try:
        for number, part in enumerate(plan.parts):
            built.add(number, part)
    except st.StreameError as error:
        return Failure(type(error).__name__, f"{type(error).__name__}: {error}")
    last = len(plan.parts) - 1
    return failure_of(built.stream(last), built.rows(last), plan)


def failure_of(stream: st.StreamDataFrame, expected: pl.DataFrame, plan: Plan) -> Failure | None:
    """What is wrong with the answer of a stream, run as the plan says."""
    if stream.schema != expected.schema:
        return Failure("schema", f"the schema is {stream.schema}\nbut should be {expected.schema}")
    try:
        found = prelude.run(stream, plan.parallelism, optimized=plan.optimized)
    except (Exception, PanicException) as error:
        return Failure(type(error).__name__, f"{type(error).__name__}: {error}")
    differs = prelude.difference(found, expected)
    return Failure("difference", differs) if differs else None
