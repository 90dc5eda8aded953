"""A node in a process of its own that sends numbered rows: `python -m tests.cluster.node SETTINGS`, which is JSON."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from streame.cli.bench.process import peak_rss_mb, rss_mb
from streame.cluster.columns import ChannelColumns
from streame.cluster.frames import Attempt
from streame.cluster.identity import Identity
from streame.cluster.security import Tls
from streame.cluster.session import Session
from streame.cluster.transport import connect
from streame.core.messages import END_OF_STREAM, Barrier, Batch, Watermark
from streame.errors import StreameError

SCHEMA = pl.Schema({"n": pl.Int64(), "text": pl.String()})
COLUMNS = ChannelColumns.of(SCHEMA, None, "numbers")
WAIT_S = 20.0
ME, RECEIVER = Identity("shop", "node", "sender"), Identity("shop", "node", "receiver")


def rows(number: int, height: int, text_bytes: int) -> pl.DataFrame:
    """The batch of that number: whoever gets it can tell whether it is the right one."""
    first = number * height
    numbers = pl.int_range(first, first + height, eager=True).alias("n")
    return pl.select(numbers, text=numbers.cast(pl.String).str.zfill(text_bytes))


def batches(count: int, height: int, text_bytes: int) -> Iterator[pl.DataFrame]:
    """The first batches: many small ones are slices of one frame, which is quicker."""
    if count * height * text_bytes < 10_000_000:
        return rows(0, count * height, text_bytes).iter_slices(height)
    return (rows(number, height, text_bytes) for number in range(count))


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def main(settings: dict[str, Any]) -> None:
    files = settings.get("tls")
    tls = Tls(*map(Path, files)) if files else None
    session = Session(Attempt(*settings["attempt"]), ["receiver"], {}, lambda error: None)
    try:
        link = connect(settings["address"], ME, RECEIVER, session, tls, WAIT_S)
        channels = [link.sender(name, COLUMNS) for name in settings["channels"]]
        before = rss_mb()
        for number, frame in enumerate(
            batches(settings["batches"], settings["height"], settings["text_bytes"])
        ):
            channels[number % len(channels)].put(0, Batch(frame))
            if number % settings.get("tell_every", 1) == 0:
                tell(sent=number)
            if number and number % 10 == 0:
                for channel in channels:
                    channel.put(0, Watermark(number))
                    channel.put(0, Barrier(number))
        for channel in channels:
            channel.put(0, END_OF_STREAM)
        session.finish(WAIT_S)
        tell(done=True, grown_mb=peak_rss_mb() - before, closed=[channel.closed for channel in channels])
    except StreameError as error:
        tell(error=type(error).__name__, message=str(error))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
