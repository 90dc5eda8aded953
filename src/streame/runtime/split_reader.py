"""Which split of a source is read next, and what goes wrong while reading it."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
from polars.exceptions import PanicException

from streame.core.clock import Clock
from streame.core.messages import SplitStatus
from streame.errors import ConnectorError, StreameError
from streame.io.source import Chunk, Source

DISCOVERY_INTERVAL_US = 250_000
"""How often a source that grows is asked for new splits."""


class SplitReader:
    """Reads the splits of a source: one after the other where they end, in turn where they do not.

    Attributes:
        busy_us: how long the reader's user was busy with what it gave; a split is not idle for that.

    Args:
        name: the source's name in the job, for messages.
        source: what is read.
        clock: the wall clock.
        idle_timeout_us: after how long a split that is polled and gives nothing is idle; `None` for never.
    """

    def __init__(self, name: str, source: Source, clock: Clock, idle_timeout_us: int | None = None) -> None:
        self._name = name
        self._source = source
        self._clock = clock
        self._schema = pl.Schema(source.schema())
        self._columns = list(self._schema)
        self._dtypes = list(self._schema.values())
        self._one_by_one = source.bounded and not getattr(source, "together", False)
        self._grows: bool = getattr(source, "grows", False)
        self._seen: set[str] = set()
        self._unread: deque[str] = deque()
        self._open: deque[tuple[str, Iterator[Chunk | None]]] = deque()
        self._discovered_us: int | None = None
        self._idle_timeout_us = idle_timeout_us
        self._quiet_since_us: dict[str, int] = {}
        self._idle: set[str] = set()
        self.busy_us = 0

    @property
    def ended(self) -> bool:
        """Whether no split is left and no new one can come."""
        return self._discovered_us is not None and not (self._grows or self._unread or self._open)

    def round(self) -> Iterator[tuple[str, Chunk] | SplitStatus]:
        """One look at each split that is open; yields what was there, and what became of the splits."""
        for split in self._discover():
            yield SplitStatus((self._name, split), "open")
        while self._unread and not (self._one_by_one and self._open):
            split = self._unread.popleft()
            with self._explained(split):
                self._open.append((split, iter(self._source.read(split, None))))
        for _ in range(len(self._open)):
            split, chunks = self._open.popleft()
            try:
                with self._explained(split):
                    chunk = next(chunks)
            except StopIteration:
                yield SplitStatus((self._name, split), "ended")
                continue
            self._open.append((split, chunks))
            if chunk is not None:
                with self._explained(split):
                    self._check(chunk)
                self._quiet_since_us.pop(split, None)
                self._idle.discard(split)
                yield split, chunk
            elif self._has_become_idle(split):
                yield SplitStatus((self._name, split), "idle")

    def close(self) -> list[BaseException]:
        """Release what the open splits hold; return what went wrong."""
        errors: list[BaseException] = []
        while self._open:
            _, chunks = self._open.popleft()
            close = getattr(chunks, "close", None)
            try:
                if close is not None:
                    close()
            except Exception as error:
                errors.append(error)
        return errors

    def _has_become_idle(self, split: str) -> bool:
        """Whether a split that gave nothing has done so for long enough; time spent on its rows does not count."""
        if self._idle_timeout_us is None or split in self._idle:
            return False
        now_us = self._clock.now_us() - self.busy_us
        if now_us - self._quiet_since_us.setdefault(split, now_us) < self._idle_timeout_us:
            return False
        self._idle.add(split)
        return True

    def _discover(self) -> list[str]:
        """Look for splits; return the new ones."""
        now_us = self._clock.now_us()
        last_us = self._discovered_us
        if last_us is not None and not (self._grows and now_us - last_us >= DISCOVERY_INTERVAL_US):
            return []
        self._discovered_us = now_us
        with self._explained(None):
            splits = list(self._source.splits())
        new = [split for split in splits if split not in self._seen]
        self._seen.update(new)
        self._unread += new
        return new

    def _check(self, chunk: object) -> None:
        """A source of one's own may break its promise, and what is wrong here is worse further down."""
        if not isinstance(chunk, Chunk):
            raise ConnectorError(
                f"the source gave a {type(chunk).__name__} where st.Chunk or None is expected"
            )
        frame = chunk.frame
        if frame.columns != self._columns or frame.dtypes != self._dtypes:
            raise ConnectorError(
                f"the source gave the columns {dict(frame.schema)}, but its schema is {dict(self._schema)}"
            )

    @contextmanager
    def _explained(self, split: str | None) -> Iterator[None]:
        """Say where an error happened, and of one that is not ours what it means for the job."""
        where = f"in source {self._name}" + (f", split {split}" if split is not None else "")
        try:
            yield
        except StopIteration:
            raise
        except StreameError as error:
            error.add_note(where)
            raise
        except (Exception, PanicException) as error:
            raise ConnectorError(f"{where}: {type(error).__name__}: {error}") from error
