"""Attempts to get past a checkpoint: how careful a start is after crashes, and which row is to blame. Pure.

A process that dies is not told from one that is killed. Three deaths in a row at one checkpoint make the next start
*careful*: only so many rows are let out at once, over all sources, and a checkpoint follows before the next ones. Each
death among them narrows that down, until one row is alone. A row that was alone at two deaths is *condemned*: it is set
aside.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

CRASHES_MAX = 3
"""After so many deaths in a row at one checkpoint a start is careful."""

FIRST_ALLOWANCE = 4_096
"""How many rows are at work at once in the first careful start."""

NARROWER = 64
"""After a death among some rows, the part of them that is let out at once."""

WIDER = 8
"""When no row is suspected any more, how many times as many rows are let out behind each checkpoint."""

ALONE_MAX = 2
"""A row that was alone at so many deaths is condemned."""

CONDEMNED_MAX = 10
"""When so many rows are condemned and none between them has passed, it is not the rows."""

UNEXPLAINED_MAX = 10
"""After so many deaths of careful starts that point to no row, the job says so."""


@dataclass(frozen=True, slots=True)
class Portion:
    """The next rows of a split behind a checkpoint.

    Args:
        source: the name of the source.
        split: the split.
        rows: how many they are.
    """

    source: str
    split: str
    rows: int


@dataclass(frozen=True, slots=True)
class Row:
    """One row, so that it is known again.

    Args:
        source: the name of the source.
        split: the split.
        offset: its position as a number, where it has one.
        digest: of its values.
        text: the beginning of its values, for people.
    """

    source: str
    split: str
    offset: int | None
    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class Accused:
    """A row that was alone when the process died.

    Args:
        row: the row.
        deaths: how many times.
    """

    row: Row
    deaths: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is remembered of the starts at one checkpoint.

    Args:
        checkpoint: its number, 0 for the beginning.
        running: whether a process was at it and has not said that it ended.
        crashes: how many processes have died since it was decided.
        unexplained: how many deaths of careful starts in a row point to no row.
        allowance: how many rows may be at work at once; `None` at full speed.
        suspects: rows behind the checkpoint, one of which may kill.
        in_flight: the rows that were let out behind the checkpoint by a careful start.
        alone: the row that is in flight, if it is the only one.
        accused: rows that were alone at a death.
        condemned: rows that are to be set aside when they come.
        skipped: those of them that this start has set aside, which counts with the next checkpoint.
    """

    checkpoint: int
    running: bool = True
    crashes: int = 0
    unexplained: int = 0
    allowance: int | None = None
    suspects: tuple[Portion, ...] = ()
    in_flight: tuple[Portion, ...] = ()
    alone: Row | None = None
    accused: tuple[Accused, ...] = ()
    condemned: tuple[Row, ...] = ()
    skipped: tuple[Row, ...] = ()

    @property
    def at_work(self) -> int:
        """How many rows are in flight."""
        return sum(portion.rows for portion in self.in_flight)

    @property
    def awaited(self) -> set[str]:
        """Sources of which a row was set aside, and no other has gone on.

        Only another one shows that it was the row: if that kills too, nothing was decided yet.
        """
        return {row.source for row in self.skipped} - {each.source for each in self.in_flight}

    def let_out(self, source: str, split: str, rows: int, row: Row | None) -> "Attempt":
        """Rows go on.

        Args:
            source: the name of their source.
            split: their split.
            rows: how many.
            row: the row, if it will be the only one in flight.
        """
        return replace(self, in_flight=_sum(self.in_flight, [Portion(source, split, rows)]), alone=row)

    def not_let_out(self, portions: Iterable[Portion]) -> "Attempt":
        """Rows that were said to go on have not."""
        return replace(self, in_flight=_less(self.in_flight, portions))

    def set_aside(self, row: Row) -> "Attempt":
        """A condemned row has come, and does not go on."""
        condemned = tuple(each for each in self.condemned if each != row)
        return replace(self, condemned=condemned, skipped=(*self.skipped, row))

    def passed(self, number: int) -> "Attempt":
        """A later checkpoint was decided: what was in flight is done, and what was set aside is out."""
        done = _sum(self.in_flight, [Portion(row.source, row.split, 1) for row in self.skipped])
        suspects = _less(self.suspects, done)
        return Attempt(
            number,
            self.running,
            allowance=self.allowance,
            suspects=suspects,
            accused=tuple(each for each in self.accused if each.row != self.alone) if suspects else (),
            condemned=self.condemned if suspects else (),
        )

    def decided(self, number: int, *, used_up: bool, calm: bool = False) -> "Attempt":
        """A careful start has decided a checkpoint. With nobody left to suspect it makes bigger steps, then none.

        At full speed a death before the next checkpoint makes the next start careful again.

        Args:
            number: of the checkpoint.
            used_up: whether as many rows were in flight as were allowed.
            calm: whether the allowance has held nothing up for long, or there are no more rows.
        """
        passed = self.passed(number)
        if passed.suspects or passed.allowance is None:
            return passed
        if calm:
            return replace(passed, allowance=None, crashes=CRASHES_MAX - 1)
        return replace(passed, allowance=passed.allowance * WIDER) if used_up else passed

    def without(self, source: str, split: str | None = None) -> "Attempt":
        """No further row comes from a split, or from a source: none of it is suspected."""
        left = [each for each in self.suspects if each.source != source or split not in {None, each.split}]
        return replace(self, suspects=tuple(left))

    def of_sources(self, names: Collection[str]) -> "Attempt":
        """What of it is about sources that the job has."""
        return replace(
            self,
            suspects=tuple(each for each in self.suspects if each.source in names),
            accused=tuple(each for each in self.accused if each.row.source in names),
            condemned=tuple(row for row in self.condemned if row.source in names),
        )

    def ended(self) -> "Attempt | None":
        """The process ends in order, so that nothing is to blame; `None` if there is nothing to remember."""
        if self.allowance is None:
            return None
        return replace(self.taken_back(), running=False)

    def taken_back(self) -> "Attempt":
        """The same before anything went on behind the checkpoint."""
        return replace(self, in_flight=(), alone=None, condemned=(*self.skipped, *self.condemned), skipped=())


def next_attempt(before: Attempt | None, checkpoint: int) -> Attempt:
    """How the next start goes.

    Args:
        before: what the last process has left; `None` if it ended in order, or there was none.
        checkpoint: the number of the checkpoint that the job goes on from, 0 for the beginning.
    """
    if before is None or before.checkpoint > checkpoint:  # the job was set back: nothing that is known fits
        return Attempt(checkpoint)
    if before.checkpoint < checkpoint:
        before = before.passed(checkpoint)
    if not before.running:
        return replace(before.taken_back(), running=True)
    crashed = replace(before, crashes=before.crashes + 1)
    if crashed.allowance is None:
        return replace(crashed, allowance=FIRST_ALLOWANCE if crashed.crashes >= CRASHES_MAX else None)
    return _narrowed(crashed, crashed.allowance).taken_back()


def _narrowed(crashed: Attempt, allowance: int) -> Attempt:
    """What a death in a careful start says."""
    if crashed.alone is not None:
        suspects = _most(crashed.suspects, crashed.in_flight)
        return replace(_accuse(crashed, crashed.alone), allowance=1, suspects=suspects, unexplained=0)
    if not crashed.in_flight or allowance == 1:  # no row was at work, or more than could be held back
        return replace(crashed, unexplained=crashed.unexplained + 1)
    fewer = max(1, min(allowance, crashed.at_work) // NARROWER)
    return replace(crashed, allowance=fewer, suspects=crashed.in_flight, unexplained=0)


def _accuse(crashed: Attempt, row: Row) -> Attempt:
    deaths = 1 + next((each.deaths for each in crashed.accused if each.row == row), 0)
    others = tuple(each for each in crashed.accused if each.row != row)
    if deaths < ALONE_MAX:
        return replace(crashed, accused=(*others, Accused(row, deaths)))
    return replace(crashed, accused=others, condemned=(*crashed.condemned, row))


def _counted(portions: Iterable[Portion]) -> dict[tuple[str, str], int]:
    return {(each.source, each.split): each.rows for each in portions}


def _portions(counts: dict[tuple[str, str], int]) -> tuple[Portion, ...]:
    return tuple(Portion(*place, rows) for place, rows in counts.items() if rows > 0)


def _sum(some: Iterable[Portion], more: Iterable[Portion]) -> tuple[Portion, ...]:
    counts = _counted(some)
    for each in more:
        counts[each.source, each.split] = counts.get((each.source, each.split), 0) + each.rows
    return _portions(counts)


def _less(some: Iterable[Portion], done: Iterable[Portion]) -> tuple[Portion, ...]:
    gone = _counted(done)
    return _portions({place: rows - gone.get(place, 0) for place, rows in _counted(some).items()})


def _most(some: Iterable[Portion], more: Iterable[Portion]) -> tuple[Portion, ...]:
    counts = _counted(some)
    for place, rows in _counted(more).items():
        counts[place] = max(counts.get(place, 0), rows)
    return _portions(counts)
