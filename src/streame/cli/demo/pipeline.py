"""The job of the demo: flights of New York with the names of their airlines. Copy it and make it yours.

It runs by itself too: `streame run streame.cli.demo.pipeline:job --errors demo-out/errors`.
"""

from pathlib import Path

import polars as pl

import streame as st

DATA = Path(__file__).parent / "data"


def departures() -> st.StreamDataFrame:
    """Every flight that took off, with the name of its airline; one without an aircraft is a dead letter."""
    flights = st.scan_parquet(DATA / "flights.parquet", required=["tailnum"], on_error="dead_letter")
    airlines = st.scan_csv(DATA / "airlines.csv", {"carrier": pl.String, "name": pl.String}).as_table(
        "carrier"
    )
    return (
        flights.filter(pl.col("dep_time").is_not_null())  # the others were cancelled
        .rename({"dep_delay": "departure_delay", "arr_delay": "arrival_delay", "dest": "destination"})
        .add_static_column("city", "New York")
        .join(airlines, on="carrier", how="left")
        .rename({"name": "airline", "tailnum": "aircraft"})
    )


def job(out: Path = Path("demo-out")) -> st.Job:
    """The departures as Parquet files in `out/flights`."""
    return departures().sink_parquet(out / "flights")
