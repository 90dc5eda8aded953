"""A sink that writes one file."""

import os
from pathlib import Path

import polars as pl

from streame.errors import ConnectorError
from streame.io.formats.encoders import Encoder, LineEncoder
from streame.io.output_file import OutputFile, naming, open_file
from streame.io.sink import Sink


class SingleFile(Sink):
    """Writes one file; an existing one is replaced.

    NDJSON and CSV are written as rows come and can be read after every `flush`; if the job fails, what came
    so far is left as `<name>.partial`. Parquet and IPC files have their index at the end, so they appear when
    all rows have come, and not at all if the job fails.

    Args:
        path: the file. Missing folders above it are made.
        encoder: the format.
    """

    def __init__(self, path: Path, encoder: Encoder) -> None:
        self._path = path
        self._encoder = encoder
        self._appends = isinstance(encoder, LineEncoder)
        self._written = path if self._appends else path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._file: OutputFile | None = None

    def open(self, schema: pl.Schema) -> None:
        """Find out at once whether the file can be written."""
        with naming(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.is_dir():
                raise IsADirectoryError(
                    "it is a directory; end the path with '/' to write part files into it"
                )
            if not self._appends:
                self._written.touch()
            self._file = open_file(self._written, self._encoder, schema)

    def write(self, frame: pl.DataFrame) -> None:
        """Take some rows."""
        with naming(self._path):
            self._open_file.append(frame)

    def flush(self) -> None:
        """Bring the rows into the file, where the format allows that."""
        with naming(self._path):
            self._open_file.flush()

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            with naming(self._path):
                self._open_file.finish()
                if not self._appends:
                    self._written.replace(self._path)
        except ConnectorError:
            self.abort()
            raise

    def abort(self) -> None:
        """Leave nothing that looks finished."""
        if self._file is None:
            return
        with naming(self._path):
            self._file.discard()
            if not self._appends:
                self._written.unlink(missing_ok=True)
            elif self._path.is_file():  # not a pipe or a device
                self._path.replace(self._path.with_name(self._path.name + ".partial"))

    @property
    def _open_file(self) -> OutputFile:
        assert self._file is not None, "open comes first"
        return self._file
