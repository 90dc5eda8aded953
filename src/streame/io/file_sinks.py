"""Which sink a path means: one file, or a directory of part files."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from streame.core.clock import Clock
from streame.errors import PlanError
from streame.io.formats.encoders import Encoder, LineCompression, LineEncoder
from streame.io.parts import PartFiles, PartLimits
from streame.io.paths import require_local
from streame.io.single_file import SingleFile
from streame.io.whole_file import WholeFile

_COMPRESSION: dict[str, LineCompression] = {".gz": "gzip", ".zst": "zstd"}


def is_directory(path: str | os.PathLike[str]) -> bool:
    """Whether a path without suffix, or with a slash at its end, was given."""
    return os.fspath(path).endswith("/") or not Path(path).suffix


def line_compression(path: str | os.PathLike[str], given: LineCompression | None) -> LineCompression:
    """What compresses a file of lines: what was asked for, or what the suffix says."""
    return given or _COMPRESSION.get(Path(path).suffix, "uncompressed")


def file_sink(
    path: str | os.PathLike[str],
    encoder: Encoder,
    *,
    part_rows: int | None = None,
    part_bytes: int | None = None,
    part_interval: str | timedelta | None = None,
    clock: Clock | None = None,
) -> PartFiles | SingleFile | WholeFile:
    """The sink that writes to a path.

    Args:
        path: a path with a suffix is one file; without one, or with a slash at its end, a directory.
        encoder: the format.
        part_rows: the most rows in a part of a directory (1,000,000).
        part_bytes: about the most bytes in a part of a directory (128 MiB).
        part_interval: how long a part may wait for more rows ("1m").
        clock: for `part_interval`.

    Raises:
        PlanError: when a limit makes no sense, or is given for one file.
    """
    require_local(path)
    given = {"rows": part_rows, "size": part_bytes, "interval": part_interval}
    limits = {name: value for name, value in given.items() if value is not None}
    if is_directory(path):
        make: Callable[..., PartLimits] = PartLimits
        return PartFiles(Path(path), encoder, make(**limits), clock)
    if limits:
        raise PlanError(
            f"part_rows, part_bytes and part_interval are for a directory of parts, but {os.fspath(path)!r} "
            "is one file; end the path with '/' for a directory, or leave them out"
        )
    if isinstance(encoder, LineEncoder):
        return SingleFile(Path(path), encoder)
    return WholeFile(Path(path), encoder)


@dataclass(frozen=True, slots=True)
class FileOutput:
    """A file, or a directory of parts, that a sink writes.

    Args:
        path: as for `file_sink`.
        encoder: the format.
        part_rows: as for `file_sink`.
        part_bytes: as for `file_sink`.
        part_interval: as for `file_sink`.
    """

    path: str
    encoder: Encoder
    part_rows: int | None = None
    part_bytes: int | None = None
    part_interval: str | timedelta | None = None

    def sink(self) -> PartFiles | SingleFile | WholeFile:
        """The sink that writes it.

        Raises:
            PlanError: when a limit makes no sense, or is given for one file.
        """
        return file_sink(
            self.path,
            self.encoder,
            part_rows=self.part_rows,
            part_bytes=self.part_bytes,
            part_interval=self.part_interval,
        )
