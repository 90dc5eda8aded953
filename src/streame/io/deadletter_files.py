"""Dead letters as NDJSON part files that a person can read."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from streame.core.clock import Clock
from streame.core.deadletters import DEAD_LETTER_SCHEMA
from streame.core.staging import Decided, Outbox, Staged
from streame.io.formats.encoders import NdjsonEncoder
from streame.io.parts import PartFiles, PartLimits
from streame.io.sink import TransactionalSink
from streame.storage.disk import Disk

_COLUMNS = [name for name in DEAD_LETTER_SCHEMA if name != "at"]
READABLE_SCHEMA = pl.Schema(
    {name: pl.String() if name == "raw" else DEAD_LETTER_SCHEMA[name] for name in _COLUMNS}
    | {"raw_base64": pl.String(), "at": DEAD_LETTER_SCHEMA["at"]}
)
"""The columns of the files: `raw` is text, and null where the bytes are none; then they are in `raw_base64`."""


def readable(letters: pl.DataFrame) -> pl.DataFrame:
    """Dead letters of `DEAD_LETTER_SCHEMA` as a frame of `READABLE_SCHEMA`, which JSON can hold."""
    texts = [None if raw is None else _text(raw) for raw in letters.get_column("raw")]
    raw = pl.Series("raw", texts, pl.String)
    encoded = pl.when(raw.is_null()).then(pl.col("raw").bin.encode("base64")).alias("raw_base64")
    return letters.with_columns(raw, encoded).select(list(READABLE_SCHEMA))


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


class DeadLetterFiles(TransactionalSink):
    """A directory of NDJSON part files with dead letters.

    Without checkpoints they are there to be read within about a second; with them they appear with the other output
    of their checkpoint, each once. In a cluster nothing is locked: they are parts with a commit log like any others, and
    an old leader can neither overwrite nor remove those of the next one.

    Args:
        directory: made if it does not exist; a second run appends.
        clock: for the interval between parts.
        disk: the directory, for what decides about its content.
    """

    def __init__(self, directory: Path, clock: Clock | None = None, disk: Disk | None = None) -> None:
        self._parts = PartFiles(directory, NdjsonEncoder(), PartLimits(interval="1s"), clock, disk)
        self._staged = False

    def check_cluster(self) -> None:
        """See `PartFiles`."""
        self._parts.check_cluster()

    def open(self, schema: pl.Schema) -> None:
        """Make the directory; the schema is `DEAD_LETTER_SCHEMA`."""
        self._staged = False
        self._parts.open(READABLE_SCHEMA)

    def write(self, frame: pl.DataFrame) -> None:
        """Take some dead letters."""
        self._parts.write(readable(frame))

    def flush(self) -> None:
        """Make them visible, if a second has passed since the first of them."""
        self._parts.flush()

    def close(self) -> None:
        """Make the last ones visible."""
        self._parts.close()

    def abort(self) -> None:
        """The job failed, most likely because of these very rows: make them visible all the same.

        With checkpoints they come again, when the job goes on from the last one.
        """
        if self._staged:
            self._parts.abort()
        else:
            self._parts.close()

    def join_checkpoints(self, decided: Sequence[Decided], outbox: Outbox) -> None:
        """Publish what is decided, and remove what is not."""
        self._staged = True
        self._parts.join_checkpoints(decided, outbox)

    def stage(self) -> Staged:
        """Finish the part, and say which parts have become whole."""
        return self._parts.stage()

    def publish(self, decided: Decided) -> None:
        """Make the dead letters of a checkpoint visible."""
        self._parts.publish(decided)
