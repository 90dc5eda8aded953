"""What the demo shows at its end: tables worked out with Polars from the files it wrote, and whether they are right."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal
from rich import box
from rich.table import Table
from rich.text import Text

import streame as st
from streame.cli.demo import pipeline, plain
from streame.cli.demo.folder import DemoFolder

NOT_KNOWN = "not known"


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


def by_weather(hours: Path) -> pl.DataFrame:
    """Delays by what the weather was in the hour, the mildest first and hours without a report last.

    Args:
        hours: a folder of Parquet files.

    Returns:
        The columns `weather`, `flights`, `late` (the share of flights that left more than 15 minutes late) and
        `mean_delay` in minutes.
    """
    weather = (
        pl.when(pl.col("visib").is_null())
        .then(pl.lit(NOT_KNOWN))
        .when(pl.col("visib") < 2)
        .then(pl.lit("poor visibility"))
        .when(pl.col("precip") > 0)
        .then(pl.lit("rain or snow"))
        .when(pl.col("wind_speed") > 20)
        .then(pl.lit("strong wind"))
        .otherwise(pl.lit("fair"))
    )
    flights = pl.col("flights").sum()
    return (
        pl.scan_parquet(hours / "*.parquet")
        .group_by(weather=weather)
        .agg(
            flights=flights,
            late=(pl.col("late").sum() / flights).round(3),
            mean_delay=((pl.col("mean_delay") * pl.col("flights")).sum() / flights).round(1),
        )
        .sort(pl.col("weather") == NOT_KNOWN, "mean_delay")
        .collect()
    )


def folded(changes: Path) -> pl.DataFrame:
    """What a stream of changes comes to: the rows that were said more often than taken back.

    Args:
        changes: a folder of Parquet files with the column `_diff`.

    Returns:
        The columns without `_diff`, the worst route first.
    """
    written = pl.scan_parquet(changes / "*.parquet")
    columns = [name for name in written.collect_schema() if name != "_diff"]
    return (
        written.group_by(columns)
        .agg(pl.col("_diff").sum())
        .filter(pl.col("_diff") > 0)
        .drop("_diff")
        .sort("mean_delay", descending=True)
        .collect()
    )


def equals_plain_polars(folder: DemoFolder) -> bool:
    """Whether the files hold what `plain.py` works out from the whole input; the last digits of a mean may differ."""
    hours = pl.read_parquet(folder.hours / "*.parquet").sort("scheduled", "origin")
    try:
        assert_frame_equal(hours, plain.hours(), check_column_order=False)
        assert_frame_equal(folded(folder.routes), plain.worst_routes(), check_column_order=False)
    except AssertionError:
        return False
    return True


def tables(airlines: pl.DataFrame, weather: pl.DataFrame, routes: pl.DataFrame) -> Iterator[Table]:
    """The numbers for the eye."""
    table = _table("Airline", "Flights", "Mean delay", "Worst delay")
    for row in airlines.iter_rows(named=True):
        worst = f"{row['worst_delay'] // 60} h {row['worst_delay'] % 60:02} min"
        table.add_row(row["airline"], f"{row['flights']:,}", f"{row['mean_delay']:.1f} min", worst)
    yield table
    table = _table("Weather of the hour", "Flights", "Mean delay", "Late")
    for row in weather.iter_rows(named=True):
        mean = f"{row['mean_delay']:.1f} min"
        table.add_row(row["weather"], f"{row['flights']:,}", mean, f"{row['late']:.0%}")
    yield table
    table = _table("The ten worst routes", "Flights", "Mean delay")
    for row in routes.iter_rows(named=True):
        route = f"{row['origin']} to {row['destination']}"
        table.add_row(route, f"{row['flights']:,}", f"{row['mean_delay']:.1f} min")
    yield table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column(first, min_width=27)
    for title in others:
        table.add_column(title, justify="right", min_width=11)
    return table


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the flights; airlines and weather are not counted."""

    read: int
    written: int
    cancelled: int
    refused: int
    hours_written: int
    route_changes: int
    seconds: float
    rows_per_s: float

    @classmethod
    def of(cls, handle: st.JobHandle) -> "Counts":
        """The counts of a job that has ended."""
        status, metrics = handle.status(), handle.metrics()
        read, seconds = metrics["flights"].rows_in, status.seconds
        written, hours, changes = (metrics[f"sink {name}"].rows_in for name in pipeline.SINKS)
        cancelled = read - written - status.rejected
        return cls(read, written, cancelled, status.rejected, hours, changes, seconds, read / seconds)


def closing(counts: Counts, folder: DemoFolder, *, equal: bool) -> Iterator[Text]:
    """What came, went and was refused, where it is now, and whether it is right."""
    yield _line(
        "read", f"{counts.read:,} flights in {counts.seconds:.2f} s, {counts.rows_per_s:,.0f} a second"
    )
    yield _line("written", f"{counts.written:,} departures to {folder.flights}", "green")
    yield _line(
        "", f"{counts.hours_written:,} hours of an airport with their weather to {folder.hours}", "green"
    )
    yield _line("", f"{counts.route_changes:,} changes of the ten worst routes to {folder.routes}", "green")
    yield _line("dropped", f"{counts.cancelled:,} flights that were cancelled")
    yield _line(
        "refused",
        f"{counts.refused:,} flights without an aircraft; the dead letters are in {folder.errors}",
        "yellow",
    )
    script = _short(Path(plain.__file__))
    if equal:
        yield _line(
            "checked", f"the numbers are those of plain Polars over the whole files: {script}", "green"
        )
    else:
        yield _line(
            "wrong", f"the numbers are not those of plain Polars over the whole files: {script}", "red"
        )
    yield _line("the job", str(_short(Path(pipeline.__file__))))


def _line(name: str, text: str, colour: str = "cyan") -> Text:
    return Text.assemble((f"{name:>8}  ", colour), text)


def _short(path: Path) -> Path:
    """Relative to the current folder where it is below that."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
