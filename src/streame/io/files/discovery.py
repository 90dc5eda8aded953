"""Which files a path means: a file, a glob, a directory, or several of these."""

import errno
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from streame.errors import ConnectorError, PlanError
from streame.io.commit_log import committed
from streame.io.paths import require_local

PathLike = str | os.PathLike[str]
Paths = PathLike | Sequence[PathLike]


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files that some paths mean, now and later.

    A directory means all files below it; of one that a job with checkpoints writes, only what is committed. Files and directories whose names begin with `.` or `_` or end in
    `.tmp` are left out: that is how writers name what is not finished or is no data. A glob means what it says.

    Args:
        paths: files, directories and globs; a path that exists as it is written is no glob.
        follow: whether files may still come, so that nothing may be there yet.
    """

    paths: tuple[str, ...]
    follow: bool

    @classmethod
    def of(cls, path: Paths, *, follow: bool) -> "FileSet":
        """The files of one path or several, which must be there when the pipeline is built.

        Raises:
            PlanError: when a file is missing, or nothing is there and nothing can come.
        """
        given = [path] if isinstance(path, str | os.PathLike) else list(path)
        if not given:
            raise PlanError("no path was given; name a file, a directory or a glob")
        for one in given:
            require_local(one)
        files = cls(tuple(str(Path(one).expanduser()) for one in given), follow)
        for one in files.paths:
            try:
                found = any(True for _ in _files(one))
            except OSError as error:
                raise PlanError(_cannot_list(one, error)) from error
            if not found and not follow:
                raise PlanError(_nothing(one))
        return files

    def covers(self, path: str) -> bool:
        """Whether what is written to an absolute path would be read."""
        for one in self.paths:
            known = os.path.realpath(one)
            if path == known or (_is_glob(one) and fnmatch(path, known)):
                return True
            if Path(known).is_dir() and Path(path).is_relative_to(known):
                return True
        return False

    @property
    def is_one(self) -> bool:
        """Whether it is one file, and stays so."""
        return len(self.paths) == 1 and not _is_glob(self.paths[0]) and Path(self.paths[0]).is_file()

    def names(self) -> list[str]:
        """The files there are now, each once, in name order.

        Raises:
            ConnectorError: when a directory cannot be read, or what was there before has gone for good.
        """
        found: set[str] = set()
        for one in self.paths:
            try:
                here = set(_files(one))
            except FileNotFoundError as error:
                if not self.follow:
                    raise ConnectorError(_cannot_list(one, error)) from error
                continue
            except OSError as error:
                raise ConnectorError(_cannot_list(one, error)) from error
            if not here and not self.follow:
                raise ConnectorError(_nothing(one))
            found |= here
        return sorted(found)


def _is_glob(path: str) -> bool:
    return glob.has_magic(path) and not os.path.lexists(path)


def _files(path: str) -> Iterator[str]:
    if _is_glob(path):
        yield from _matching(path)
    elif Path(path).is_dir():
        yield from _below(path)
    else:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise OSError(errno.EINVAL, "neither a file nor a directory")
        yield path


def _matching(pattern: str) -> Iterator[str]:
    fixed = next(parent for parent in Path(pattern).parents if not glob.has_magic(str(parent)))
    try:
        os.scandir(fixed).close()  # `glob` says nothing about directories that it may not read
    except FileNotFoundError:
        return
    matches = glob.iglob(pattern, recursive=True)  # noqa: PTH207 (`Path.glob` takes no absolute pattern)
    yield from filter(os.path.isfile, matches)


def _below(directory: str) -> Iterator[str]:
    counts = committed(directory)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith((".", "_")) or entry.name.endswith(".tmp"):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
            elif entry.is_file() and (counts is None or counts(entry.name)):
                yield entry.path


def _nothing(path: str) -> str:
    if _is_glob(path):
        what = "no file matches"
    elif committed(path) is None:
        what = "no file is in the directory"
    else:
        what = "no part is committed yet in the directory"
    return f"{what} {str(Path(path).absolute())!r}; files may come later with follow=True"


def _cannot_list(path: str, error: OSError) -> str:
    return f"cannot read {str(Path(path).absolute())!r}: {(error.strerror or str(error)).lower()}"
