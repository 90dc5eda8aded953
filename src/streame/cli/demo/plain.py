"""What the demo works out as rows arrive, in plain Polars over the whole files. Both must give the same."""

from pathlib import Path

import polars as pl

DATA = Path(__file__).parent / "data"


def departures() -> pl.LazyFrame:
    """Every flight that took off and has an aircraft."""
    return (
        pl.scan_parquet(DATA / "flights.parquet")
        .filter(pl.col("dep_time").is_not_null(), pl.col("tailnum").is_not_null())
        .with_columns(scheduled=pl.col("time_hour") + pl.duration(minutes="minute"))
        .sort("scheduled", maintain_order=True)
    )


def hours() -> pl.DataFrame:
    """Delays of every hour and airport, with the weather as it was last seen there, two hours before at most."""
    weather = pl.scan_parquet(DATA / "weather.parquet").select(
        "origin", "time_hour", "temp", "wind_speed", "precip", "visib"
    )
    return (
        departures()
        .group_by_dynamic("scheduled", every="1h", group_by="origin")
        .agg(
            flights=pl.len(),
            late=(pl.col("dep_delay") > 15).sum(),
            mean_delay=pl.col("dep_delay").mean(),
            worst_delay=pl.col("dep_delay").max(),
        )
        .sort("scheduled", "origin")
        .join_asof(
            weather.sort("time_hour"),
            left_on="scheduled",
            right_on="time_hour",
            by="origin",
            tolerance="2h",
            check_sortedness=False,  # Polars cannot check it by group; both were sorted just now
        )
        .collect()
    )


def worst_routes() -> pl.DataFrame:
    """The ten routes with the largest mean delay, of those with a hundred flights; the worst first."""
    return (
        departures()
        .group_by("origin", destination="dest")
        .agg(flights=pl.len(), mean_delay=pl.col("dep_delay").mean())
        .filter(pl.col("flights") >= 100)
        .top_k(10, by="mean_delay")
        .sort("mean_delay", descending=True)
        .collect()
    )


if __name__ == "__main__":
    print(hours(), worst_routes(), sep="\n")
