"""The protocol of a source: where rows come from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import polars as pl

from streame.core.deadletters import BadRow
from streame.core.messages import Offsets

Offset = Any
"""The next position to read in a split: any JSON value. `None` is the beginning."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a source hands over in one go.

    Args:
        frame: the good rows, in order; it has exactly the columns and dtypes of `Source.schema()`.
        next_offset: where reading would go on after these rows; any JSON value.
        offsets: gives the position of each row of `frame` as a number, for dead letters and error messages;
            without it the rows have no position of their own.
        rejected: the rows between the good ones that could not be decoded or validated.

    Example:
        >>> import polars as pl, streame as st
        >>> bad = st.BadRow(offset=1, kind="syntax", message="found 'x'; expected a number", raw=b"x")
        >>> st.Chunk(pl.DataFrame({"qty": [5]}), next_offset=2, rejected=[bad]).next_offset
        2
    """

    frame: pl.DataFrame
    next_offset: Offset
    offsets: Callable[[], Offsets] | None = None
    rejected: Sequence[BadRow] = ()


class Source(Protocol):
    """Rows from somewhere, in one or more splits that are read independently.

    A source is a description: it holds no open file or connection, so that a job can be built, explained and
    run more than once. All that is open lives in the iterator that `read` returns.

    Six more attributes may be there: `grows = True` says that new splits may appear while it is read, so that it
    never ends by itself; `one_split = True` that there is and will be one split; `together = True` that splits which
    end are read in turn, and not one after the other; `splits_apart = True` that in a cluster every node may read some of
    the splits: it finds all of them there, and the same rows in them; `python_rows = True` that its rows
    are Python objects, which `explain()` mentions; `replayable = False` that what was read cannot be read again, so that
    a job with checkpoints writes every chunk to a log before it goes on. `st.scan` shows a whole source. What a method raises ends the job, as a `ConnectorError` if it is no error of Streame's own.
    """

    bounded: bool
    """Whether the rows end. `collect()` and tables that are read whole need a bounded source."""

    def schema(self) -> pl.Schema:
        """Columns and dtypes of every frame. Asked once, when the pipeline is built.

        Returns:
            At least one column.
        """

    def splits(self) -> Sequence[str]:
        """The names of the splits there are now, in the order in which they are to be read.

        A source that grows is asked again from time to time: new names are new splits.

        Returns:
            Names, each once.
        """

    def read(self, split: str, offset: Offset) -> Iterator[Chunk | None]:
        """The rows of one split from `offset` on (`None`: from the beginning).

        `None` from the iterator means that nothing is there at the moment; a source that waits does so for
        at most 100 ms before it says so, because a job can only be stopped between two steps. The engine
        closes the iterator when it stops; use `try/finally` in a generator to release what it holds.

        A job that goes on from a checkpoint asks for every split that had not ended, also for one that is no longer
        among `splits`. A source that no longer has what follows an offset raises `SourceDataLost`.

        Args:
            split: one of `splits`.
            offset: a `next_offset` of this split, or `None`.

        Returns:
            The rows in order, in chunks that are held in memory one or a few at a time. It ends with the split.
        """


@runtime_checkable
class FileSource(Protocol):
    """A source that reads files, which a sink of the same job must not write."""

    def covers(self, path: str) -> bool:
        """Whether what is written to an absolute path would be read."""


@runtime_checkable
class NarrowableSource(Protocol):
    """A source that need not read all of its columns."""

    def with_columns_only(self, columns: Sequence[str]) -> Self:
        """The same source with only these columns.

        Args:
            columns: at least one name, in the order of `schema`.

        Returns:
            A source of its own; this one stays as it is.
        """


@runtime_checkable
class AcknowledgedSource(Protocol):
    """A source that keeps what it gave until a checkpoint says that it will not be asked for it again."""

    def decided(self, split: str, offset: Offset) -> None:
        """A split will be read from nowhere before `offset`; called from another thread than `read`."""

    def ended(self, split: str) -> None:
        """A split was read to its end, and will not be read again; called from another thread than `read`."""

    def close(self) -> None:
        """Nothing more is read in this run, and nothing more is decided."""
