"""What goes into a job while its nodes are disturbed, and how its output is judged."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import polars as pl

from tests.cluster.feed import Tap
from tests.cluster.jobs import ALONE, DIFF, difference, parts, read


class Load(Protocol):
    """What goes into a job."""

    def written(self) -> Callable[[], bool]:
        """Something that tells, whenever it is asked, whether all rows of this moment are in the output."""

    def end(self) -> None:
        """Let no more rows come."""

    def troubles(self) -> str:
        """What is wrong with the output of a job that has ended; nothing if all is well."""

    def close(self) -> None:
        """Whatever the job does, let no more rows come."""


class FedRows:
    """Rows that a test lets out, and that the same job in one process reads too.

    Args:
        folder: of the job.
        job: its name.
    """

    def __init__(self, folder: Path, job: str) -> None:
        self._folder, self._job = folder, job
        self._tap = Tap(folder)
        self._rows: dict[Path, int] = {}

    def written(self) -> Callable[[], bool]:
        """See `Load`."""
        wanted = self._tap.rows
        return lambda: self._published() >= wanted

    def end(self) -> None:
        """See `Load`."""
        self._tap.close()

    def troubles(self) -> str:
        """See `Load`."""
        alone = self._folder / "alone"
        alone.mkdir()
        (alone / "feed").write_text((self._folder / "feed").read_text())
        ALONE[self._job](alone).run()
        found = difference(self._job, self._folder, alone)
        rows = self._published()
        return (
            found if rows == self._tap.rows else f"{found}\n{self._tap.rows} rows are let out, {rows} written"
        )

    def close(self) -> None:
        """See `Load`."""
        self._tap.close()

    def _published(self) -> int:
        for part in parts(self._folder / "raw"):
            if part not in self._rows:
                self._rows[part] = part.read_bytes().count(b"\n")
        return sum(self._rows.values())


class PutRows:
    """Rows that processes put into a queue, and what they were told.

    Args:
        folder: of the job.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def written(self) -> Callable[[], bool]:
        """See `Load`."""
        wanted = self._told("accepted")
        return lambda: wanted <= set(self._found())

    def end(self) -> None:
        """See `Load`."""
        (self._folder / "ended").touch()

    def troubles(self) -> str:
        """See `Load`."""
        found, accepted = self._found(), self._told("accepted")
        print(
            f"{len(accepted)} rows were accepted, {len(self._told('unknown'))} unknown, {len(found)} written"
        )
        lost = sorted(accepted - set(found))
        troubles = [f"{len(lost)} accepted rows are lost: {lost[:5]}"] if lost else []
        if (doubled := len(found) - len(set(found))) > 0:
            troubles.append(f"{doubled} rows are doubled")
        rows = pl.DataFrame(found, ("client", "n"), orient="row")
        if not rows.group_by("client", maintain_order=True).agg(pl.col("n").diff().min() > 0)["n"].all():
            troubles.append("rows of a client are out of order")
        counts = read(self._folder / "counts").group_by("client", "n").agg(pl.col(DIFF).sum())
        counted = counts.filter(pl.col(DIFF) != 0).select("client", "n").sort("client")
        if counted.rows() != rows.group_by("client").len("n").sort("client").rows():
            troubles.append("the counts are not those of the rows")
        return "\n".join(troubles)

    def close(self) -> None:
        """See `Load`."""
        self.end()

    def _found(self) -> list[tuple[str, int]]:
        rows = read(self._folder / "raw")
        return list(zip(rows["client"], rows["n"], strict=True)) if rows.height else []

    def _told(self, what: str) -> set[tuple[str, int]]:
        """The rows of which it was said."""
        told = set()
        for file in self._folder.glob("*.puts"):
            for line in file.read_text().splitlines():
                said, number = line.split()
                if said == what:
                    told.add((file.stem, int(number)))
        return told
