"""What the demo shows at its end: a table of the airlines, worked out with Polars from the files it wrote."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich import box
from rich.table import Table
from rich.text import Text

import streame as st
from streame.cli.demo import pipeline
from streame.cli.demo.folder import DemoFolder


def delays(flights: Path) -> pl.DataFrame:
    """Flights and delays of every airline, the busiest first.

    Args:
        flights: a folder of Parquet files.

    Returns:
        The columns `airline`, `flights`, `mean_delay` and `worst_delay`, delays at departure in minutes.
    """
    return (
        pl.scan_parquet(flights / "*.parquet")
        .group_by("airline")
        .agg(
            flights=pl.len(),
            mean_delay=pl.col("departure_delay").mean().round(1),
            worst_delay=pl.col("departure_delay").max(),
        )
        .sort("flights", "airline", descending=[True, False])
        .collect()
    )


def as_table(airlines: pl.DataFrame) -> Table:
    """The airlines for the eye."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("Airline")
    for title in ("Flights", "Mean delay", "Worst delay"):
        table.add_column(title, justify="right")
    for row in airlines.iter_rows(named=True):
        worst = f"{row['worst_delay'] // 60} h {row['worst_delay'] % 60:02} min"
        table.add_row(row["airline"], f"{row['flights']:,}", f"{row['mean_delay']:.1f} min", worst)
    return table


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the flights; the 16 airlines are not counted."""

    read: int
    written: int
    cancelled: int
    refused: int
    seconds: float
    rows_per_s: float

    @classmethod
    def of(cls, handle: st.JobHandle) -> "Counts":
        """The counts of a job that has ended."""
        status, read = handle.status(), handle.metrics()["flights"].rows_in
        cancelled = read - status.rows_out - status.rejected
        return cls(read, status.rows_out, cancelled, status.rejected, status.seconds, read / status.seconds)


def closing(counts: Counts, folder: DemoFolder) -> Iterator[Text]:
    """What came, went and was refused, and where it is now."""
    yield _line(
        "read", f"{counts.read:,} flights in {counts.seconds:.2f} s, {counts.rows_per_s:,.0f} a second"
    )
    yield _line("written", f"{counts.written:,} departures to {folder.flights}", "green")
    yield _line("dropped", f"{counts.cancelled:,} flights that were cancelled")
    yield _line(
        "refused",
        f"{counts.refused:,} flights without an aircraft; the dead letters are in {folder.errors}",
        "yellow",
    )
    yield _line("the job", str(_short(Path(pipeline.__file__))))


def _line(name: str, text: str, colour: str = "cyan") -> Text:
    return Text.assemble((f"{name:>8}  ", colour), text)


def _short(path: Path) -> Path:
    """Relative to the current folder where it is below that."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
