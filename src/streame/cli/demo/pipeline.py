"""The job of the demo: the flights that left New York, hour by hour, with their airlines, their weather and their delays.

Copy it and make it yours. It runs by itself too: `streame run streame.cli.demo.pipeline:job --errors demo-out/errors`.
What it gives, said in plain Polars over the whole files, is in `plain.py` beside it.
"""

from pathlib import Path

import polars as pl

import streame as st

DATA = Path(__file__).parent / "data"
SINKS = ("departures", "hours", "routes")


def scheduled_flights() -> st.StreamDataFrame:
    """Every flight that was to leave; one without an aircraft is a dead letter."""
    return st.scan_parquet(DATA / "flights.parquet", required=["tailnum"], on_error="dead_letter")


def departures(flights: st.StreamDataFrame | None = None) -> st.StreamDataFrame:
    """Every flight that took off, with the name of its airline.

    Args:
        flights: those that were to leave; `scheduled_flights()` unless told otherwise.
    """
    flights = scheduled_flights() if flights is None else flights
    airlines = st.scan_csv(DATA / "airlines.csv", {"carrier": pl.String, "name": pl.String}).as_table(
        "carrier"
    )
    return (
        flights.filter(pl.col("dep_time").is_not_null())  # the others were cancelled
        .rename({"dep_delay": "departure_delay", "arr_delay": "arrival_delay", "dest": "destination"})
        .add_static_column("city", "New York")
        .join(airlines, on="carrier", how="left")
        .rename({"name": "airline", "tailnum": "aircraft"})
        .with_columns(scheduled=pl.col("time_hour") + pl.duration(minutes="minute"))
        .with_event_time("scheduled")
    )


def hours(departures: st.StreamDataFrame) -> st.StreamDataFrame:
    """Delays of every hour and airport, with the weather as it was last seen there, two hours before at most."""
    weather = st.scan_parquet(DATA / "weather.parquet", event_time="time_hour").select(
        "origin", "time_hour", "temp", "wind_speed", "precip", "visib"
    )
    return (
        departures.group_by_dynamic("scheduled", every="1h", group_by="origin")
        .agg(
            flights=pl.len(),
            late=(pl.col("departure_delay") > 15).sum(),
            mean_delay=pl.col("departure_delay").mean(),
            worst_delay=pl.col("departure_delay").max(),
        )
        .join_asof(weather, left_on="scheduled", right_on="time_hour", by="origin", tolerance="2h")
    )


def worst_routes(departures: st.StreamDataFrame) -> st.StreamDataFrame:
    """The ten routes with the largest mean delay so far, of those with a hundred flights: a stream of changes."""
    return (
        departures.group_by("origin", "destination")
        .agg(flights=pl.len(), mean_delay=pl.col("departure_delay").mean())
        .filter(pl.col("flights") >= 100)
        .top_k(10, by="mean_delay")
    )


def job(out: Path = Path("demo-out"), flights: st.StreamDataFrame | None = None) -> st.Job:
    """The departures, the hours and the changes of the worst routes as Parquet files in folders of `out`.

    Args:
        out: the folder.
        flights: the flights that were to leave, if they come from elsewhere.
    """
    rows = departures(flights)
    return st.job(
        [
            rows.sink_parquet(out / "flights", name="departures"),
            hours(rows).sink_parquet(out / "hours", name="hours"),
            worst_routes(rows).sink_parquet(out / "routes", changes=True, name="routes"),
        ]
    )
