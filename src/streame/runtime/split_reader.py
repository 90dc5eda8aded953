"""Which split of a source is read next, and what goes wrong while reading it."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl
from polars.exceptions import PanicException

from streame.core.clock import Clock
from streame.core.messages import SplitStatus
from streame.errors import ConnectorError, SourceDataLost, StreameError
from streame.io.source import AcknowledgedSource, Chunk, Offset, Source
from streame.runtime.cut_chunks import Within

DISCOVERY_INTERVAL_US = 250_000
"""How often a source that grows is asked for new splits."""


class SplitReader:
    """Reads the splits of a source: one after the other where they end, in turn where they do not.

    Args:
        name: the source's name in the job, for messages.
        source: what is read.
        clock: the wall clock.
        idle_timeouts_us: after how long a split that is polled and gives nothing is idle.
        mine: chooses among splits those that it reads, where others read the rest.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        clock: Clock,
        idle_timeouts_us: Collection[int] = (),
        mine: Callable[[Sequence[str]], Sequence[str]] = tuple,
    ) -> None:
        self._mine = mine
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
        self._idle_timeouts_us = sorted(idle_timeouts_us)
        self._quiet_since_us: dict[str, int] = {}
        self._timeouts_told: dict[str, int] = {}
        self._busy_us = 0
        self._offsets: dict[str, Offset] = {}
        self._read: set[str] = set()
        self._within: dict[str, Within] = {}
        self._skip: dict[str, Within] = {}

    def position(self) -> Any:
        """Where reading would go on, as a JSON value: the offset of each split, and which have been read whole.

        Where only a part of a chunk has gone on, also how many good and bad rows behind the offset that are.
        """
        within = {split: [each.rows, each.rejected] for split, each in self._within.items()}
        position = {"offsets": dict(self._offsets), "read": sorted(self._read)}
        return {**position, "within": within} if within else position

    def restore(self, position: Any) -> None:
        """Begin at a position that another reader of the same source had; called before the first round."""
        self._offsets, self._read = dict(position["offsets"]), set(position["read"])
        self._within = {split: Within(*counts) for split, counts in position.get("within", {}).items()}
        self._skip = dict(self._within)

    def handed_on(self, split: str, chunk: Chunk) -> None:
        """A chunk has gone on, so that reading would go on behind it."""
        self._offsets[split] = chunk.next_offset
        self._within.pop(split, None)
        if split in self._skip:
            self._within[split] = self._skip[split]

    def handed_on_part(self, split: str, part: Chunk) -> None:
        """A part of a chunk has gone on, so that reading would go on within it."""
        self._within[split] = self._within.get(split, Within()).plus(part)

    def decided(self, position: Any) -> None:
        """Tell a source that wants to know it from where on it may be asked for rows again."""
        if isinstance(self._source, AcknowledgedSource):
            for split, offset in position["offsets"].items():
                self._source.decided(split, offset)
            for split in position["read"]:
                self._source.ended(split)

    @property
    def ended(self) -> bool:
        """Whether no split is left and no new one can come."""
        return self._discovered_us is not None and not (self._grows or self._unread or self._open)

    def round(self) -> Iterator[tuple[str, Chunk] | SplitStatus]:
        """One look at each split that is open; yields what was there, and what became of the splits.

        No split becomes idle by the time that others take: whoever is given something, or another split's rows.
        """
        for item, busy_since_us in self._look():
            yield item
            self._busy_us += self._clock.now_us() - busy_since_us

    def _look(self) -> Iterator[tuple[tuple[str, Chunk] | SplitStatus, int]]:
        """What there is, and since when the time is not that of waiting."""
        now_us = self._clock.now_us
        began_us = now_us()
        statuses = self._discover()
        while self._unread and not (self._one_by_one and self._open):
            split = self._unread.popleft()
            with self._explained(split):
                self._open.append((split, iter(self._source.read(split, self._offsets.get(split)))))
        self._busy_us += now_us() - began_us
        for status in statuses:
            yield status, now_us()
        for _ in range(len(self._open)):
            split, chunks = self._open.popleft()
            began_us = now_us()
            try:
                with self._explained(split):
                    chunk = next(chunks)
            except StopIteration:
                self._end(split)
                yield SplitStatus((self._name, split), "ended"), began_us
                continue
            self._open.append((split, chunks))
            if chunk is not None:
                with self._explained(split):
                    self._check(chunk)
                self._quiet_since_us.pop(split, None)
                self._timeouts_told.pop(split, None)
                yield (split, self._new_of(split, chunk)), began_us
                continue
            for status in self._became_idle(split):
                yield status, now_us()
        if self._open:
            self._quiet_since_us.pop("", None)
            self._timeouts_told.pop("", None)
        elif self._grows:
            for status in self._became_idle(""):
                yield status, now_us()

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
        if isinstance(self._source, AcknowledgedSource):
            self._source.close()
        return errors

    def _new_of(self, split: str, chunk: Chunk) -> Chunk:
        """What of a chunk has not gone on before the restart."""
        if split not in self._skip:
            return chunk
        chunk, left = self._skip.pop(split).skipped(chunk)
        if left:
            self._skip[split] = left
        return chunk

    def _end(self, split: str) -> None:
        """A split has given all it had."""
        if left := self._skip.get(split):
            raise SourceDataLost(
                f"in source {self._name}, split {split}: it ends {left.rows + left.rejected} rows before the place where "
                "reading is to go on; bring its rows back, or begin anew with an empty folder of checkpoints"
            )
        self._offsets.pop(split, None)
        self._within.pop(split, None)
        self._read.add(split)

    def _became_idle(self, split: str) -> list[SplitStatus]:
        """What is to be said now that a split has given nothing again: the timeouts that are over."""
        now_us = self._clock.now_us() - self._busy_us
        quiet_us = now_us - self._quiet_since_us.setdefault(split, now_us)
        told = self._timeouts_told.get(split, 0)
        over = self._idle_timeouts_us[told : bisect_right(self._idle_timeouts_us, quiet_us)]
        self._timeouts_told[split] = told + len(over)
        return [SplitStatus((self._name, split), "idle", timeout_us) for timeout_us in over]

    def _discover(self) -> list[SplitStatus]:
        """Look for splits; return what is to be said of the new ones."""
        now_us = self._clock.now_us()
        last_us = self._discovered_us
        if last_us is not None and not (self._grows and now_us - last_us >= DISCOVERY_INTERVAL_US):
            return []
        self._discovered_us = now_us
        with self._explained(None):
            splits = list(self._mine(self._source.splits()))
        if last_us is None:
            known = dict.fromkeys([*self._offsets, *self._within])
            splits += [split for split in known if split not in splits]  # gone, which `read` will say
        new = [split for split in splits if split not in self._seen and split not in self._read]
        self._seen.update(new)
        self._unread += new
        if not new and last_us is None:
            return [SplitStatus((self._name, ""), "ended")]
        return [SplitStatus((self._name, split), "open") for split in new]

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
