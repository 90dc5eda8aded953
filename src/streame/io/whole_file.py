"""A sink that writes one file of a format that is written in one go: Parquet or Arrow IPC."""

import os
from pathlib import Path

import polars as pl

from streame.errors import ConnectorError, PlanError
from streame.io.formats.encoders import WholeEncoder
from streame.io.output_file import GatheredFile, naming
from streame.io.single_file import refuse_directory
from streame.io.sink import Sink


class WholeFile(Sink):
    """Writes one file, which appears when all rows have come, and not at all if the job fails.

    An existing one is replaced. Such a file has its index at the end, so nothing of it can be there at a checkpoint:
    a job with checkpoints refuses it.

    Args:
        path: the file. Missing folders above it are made.
        encoder: the format.
    """

    def __init__(self, path: Path, encoder: WholeEncoder) -> None:
        self._path = path
        self._encoder = encoder
        self._written = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._file: GatheredFile | None = None

    def check_checkpoints(self) -> None:
        """Refuse them.

        Raises:
            PlanError: always.
        """
        raise PlanError(
            f"{self._path}: one {self._encoder.suffix.removeprefix('.')} file is written when all rows have come, "
            f"so a job with checkpoints cannot write it; end the path with '/' for a directory of parts "
            f"({self._path.with_suffix('')}/), or write NDJSON or CSV"
        )

    def check_cluster(self) -> None:
        """Refuse it.

        Raises:
            PlanError: always.
        """
        raise PlanError(
            f"{self._path}: one {self._encoder.suffix.removeprefix('.')} file is replaced as a whole, and a leader that was "
            "paused could put its own rows in the place of those of the next one, so a job in a cluster cannot write it; end "
            f"the path with '/' for a directory of parts ({self._path.with_suffix('')}/)"
        )

    def open(self, schema: pl.Schema) -> None:
        """Find out at once whether the file can be written."""
        with naming(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            refuse_directory(self._path)
            self._written.touch()
            self._file = GatheredFile(self._written, self._encoder, schema)

    def write(self, frame: pl.DataFrame) -> None:
        """Take some rows; those of the calls before go to disk if they are too many for memory."""
        with naming(self._path):
            self._open_file.spill()
            self._open_file.append(frame)

    def close(self) -> None:
        """Write the file and give it its name."""
        try:
            with naming(self._path):
                self._open_file.finish()
                self._written.replace(self._path)
        except ConnectorError:
            self.abort()
            raise

    def abort(self) -> None:
        """Leave nothing."""
        if self._file is not None:
            self._file.discard()
            with naming(self._path):
                self._written.unlink(missing_ok=True)

    @property
    def _open_file(self) -> GatheredFile:
        assert self._file is not None, "open comes first"
        return self._file
