"""Salvage: when a step fails for a batch, which rows fail by themselves, and what it gives for the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from polars.exceptions import PanicException

from streame.runtime.steps import MapContractError, Step

Run = Callable[[pl.DataFrame], pl.DataFrame]
FAILURES = (Exception, PanicException)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What a step gave for the good rows of a batch, in order, and the numbers of the rows that fail alone."""

    frame: pl.DataFrame
    bad: Sequence[int]


def salvage(step: Step, run: Run, frame: pl.DataFrame) -> Salvaged:
    """Run a step that fails for the whole batch on all rows for which it does not.

    Which rows fail is told by one expression where the step offers one. Otherwise what fails is halved until
    single rows are left: a thousand good rows cost one call, and a bad one about two for every halving.

    Args:
        step: the step.
        run: runs it on a frame.
        frame: the batch.

    Raises:
        MapContractError: when a user's function broke its promise; no row is to blame for that.
    """
    failure = step.failure()
    if failure is not None:
        try:
            bad = frame.select(failure).to_series().arg_true().to_list()
            return Salvaged(run(frame.filter(all_but(bad, frame.height))), bad)
        except FAILURES:
            # The step fails for a reason that the expression does not know.
            return halved(run, frame)
    return halved(run, frame)


def all_but(rows: Sequence[int], height: int) -> pl.Series:
    """A mask that leaves these rows out."""
    kept = np.ones(height, dtype=np.bool_)
    kept[rows] = False
    return pl.Series(kept)


def halved(run: Run, frame: pl.DataFrame) -> Salvaged:
    """Halve what fails until single rows are left.

    Args:
        run: what fails for the whole frame.
        frame: the rows.
    """
    results: list[pl.DataFrame] = []
    bad: list[int] = []
    pending = [(0, frame.height)]
    while pending:
        start, stop = pending.pop()
        try:
            results.append(run(frame[start:stop]))
        except MapContractError:
            raise
        except FAILURES:
            if stop - start == 1:
                bad.append(start)
            else:
                middle = (start + stop) // 2
                pending += [(middle, stop), (start, middle)]
    return Salvaged(pl.concat(results) if results else run(frame.clear()), bad)
