"""The table of proof: what was done to a job, and what came of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from streame.cli.chaos.disturbances import Armed, Step
from streame.cli.chaos.run import Tried
from streame.cli.chaos.scripts import KINDS

TITLES = {
    "kill": "SIGKILL at random",
    "stop": "SIGTERM",
    "failpoint": "failpoint",
    "full disk": "disk full",
    "damage": "file damaged",
}


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one kind of disturbance.

    Args:
        kind: what was tried.
        runs: how many runs.
        happened: disturbances that really happened.
        restarts: processes behind the first of each run.
        resumed: of these, those that went on from a checkpoint.
        lost: rows that are missing.
        doubled: rows that are there once more than undisturbed.
        changed: rows that are not there undisturbed.
        reordered: rows that stand elsewhere.
        stuck: runs that did not end.
        loud: processes that stopped with an error, where they may.
        failed: runs that ended with an error that nothing explains.
    """

    kind: str
    runs: int
    happened: int
    restarts: int
    resumed: int
    lost: int
    doubled: int
    changed: int
    reordered: int
    stuck: int
    loud: int
    failed: int

    @property
    def is_good(self) -> bool:
        """Whether the job did what it promises."""
        return not (self.lost or self.doubled or self.changed or self.reordered or self.stuck or self.failed)


COLUMNS = {
    "kind": "disturbance",
    "runs": "runs",
    "happened": "happened",
    "restarts": "restarts",
    "resumed": "resumed",
    "lost": "lost",
    "doubled": "doubled",
    "changed": "changed",
    "reordered": "reordered",
    "stuck": "stuck",
    "loud": "loud stops",
    "failed": "failed",
}


def rows(tried: Sequence[Tried]) -> list[Row]:
    """The table: a row for each kind that was tried."""
    kinds = [(kind, [each for each in tried if each.script.kind == kind]) for kind in KINDS]
    return [_row(TITLES[kind], found) for kind, found in kinds if found]


def nothing_resumed(found: Iterable[Row]) -> str | None:
    """What to say where jobs were started again, but none went on from a checkpoint: little has been shown then."""
    found = list(found)
    restarts = sum(row.restarts for row in found)
    if not restarts or any(row.resumed for row in found):
        return None
    return (
        f"none of {restarts:,} restarts went on from a checkpoint, so this shows nothing about resuming; give the job more "
        "rows, or a shorter --interval"
    )


def _row(kind: str, tried: Sequence[Tried]) -> Row:
    processes = [outcome for each in tried for _, outcome in each.outcomes]
    again = [outcome for each in tried for _, outcome in each.outcomes[1:]]
    failed = sum(each.over.how == "failed" for each in tried)
    return Row(
        kind=kind,
        runs=len(tried),
        happened=sum(each.happened for each in tried),
        restarts=len(again),
        resumed=sum(bool(outcome.resumed) for outcome in again),
        lost=sum(each.difference.lost for each in tried),
        doubled=sum(each.difference.doubled for each in tried),
        changed=sum(each.difference.changed for each in tried),
        reordered=sum(each.difference.reordered for each in tried),
        stuck=sum(each.over.how == "stuck" for each in tried),
        loud=sum(outcome.end == "failed" for outcome in processes) - failed,
        failed=failed,
    )


def table(found: Iterable[Row]) -> Table:
    """The table for a terminal."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, title in COLUMNS.items():
        shown.add_column(title, justify="left" if name == "kind" else "right", no_wrap=True)
    for row in found:
        shown.add_row(*(_cell(name, value) for name, value in asdict(row).items()))
    return shown


def _cell(name: str, value: str | int) -> Text:
    bad = name in {"lost", "doubled", "changed", "reordered", "stuck", "failed"} and value
    return Text(f"{value:,}" if isinstance(value, int) else value, "bold red" if bad else "")


def lines(found: Iterable[Row]) -> Iterator[str]:
    """The table as plain lines."""
    titles = list(COLUMNS.values())
    yield f"{titles[0]:<18}" + "".join(f"{title:>11}" for title in titles[1:])
    for row in found:
        kind, *numbers = asdict(row).values()
        yield f"{kind:<18}" + "".join(f"{number:>11,}" for number in numbers)


def troubles(tried: Iterable[Tried]) -> Iterator[str]:
    """Every run that went wrong: what was done in it, and what came of it."""
    for each in tried:
        if not each.is_good:
            yield f"{each.script.name}: {'; '.join(filter(None, (each.over.why, str(each.difference))))}"
            for step, outcome in each.outcomes:
                from_ = "" if outcome.resumed is None else f", went on from checkpoint {outcome.resumed}"
                happened = "" if outcome.happened or step.disturbance is None else " (did not happen)"
                yield f"  {step}{happened}: {outcome.end}{from_}{outcome.error and f': {outcome.error}'}"
            yield from (f"  {note}" for note in each.notes)


def unreached(tried: Iterable[Tried]) -> list[str]:
    """The failpoints that no run came to."""
    wanted: set[str] = set()
    reached: set[str] = set()
    for each in tried:
        if each.script.kind in {"failpoint", "full disk"}:
            wanted |= {at for step in each.script.steps if (at := _point(step))}
            reached |= {at for step, outcome in each.outcomes if outcome.happened and (at := _point(step))}
    return sorted(wanted - reached)


def _point(step: Step) -> str | None:
    return step.disturbance.point if isinstance(step.disturbance, Armed) else None


def as_data(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """The table as JSON values."""
    return [{**asdict(row), "good": row.is_good} for row in rows(tried)]
