"""Pages: the state of a keyed operator of which only one part at a time is in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from streame.core.messages import Batch, SplitStatus
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MIN, Mask
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.page_rows import PageRows
from streame.runtime.paging import DEPTH_MAX, Directory, MemoryBudget, Page, places
from streame.state.snapshot import Apart, InPlace, Mine, Savable, plain_values, take_snapshot
from streame.state.stored import LoadedState, Write, store

_FIRST_DEPTH = 4
"""State that leaves the memory is cut into so many bits' worth of pages."""

_ROWS_MIN = 16
"""A page that keeps no more is not cut in two, however little memory there is."""

_STUCK = 0.75
"""A page with this part of what it was cut from is mostly one key, and not cut again before it has doubled."""


class Pages(Savable):
    """The state of an operator, in pages that are each the state of an operator of their own.

    Rows wait until `visit` is called; then each page that has any is loaded, takes them and is put aside again. To
    those behind it is as if the operator ran in as many instances as there are pages.

    Args:
        make: makes an operator.
        keys: for each input the columns by which rows are shared out.
        budget: how large pages may be.
        write: puts bytes into a file.
        context: what the operator may know of its surroundings; its timer is set by whoever owns the pages.
    """

    DERIVED = ("_directory", "_page", "_waiting", "_watermark", "_told", "_blank_said", "_spoke")

    def __init__(
        self,
        make: Callable[[], Operator],
        keys: Sequence[Sequence[str]],
        budget: MemoryBudget,
        write: Write,
        context: OperatorContext,
    ) -> None:
        self._make = make
        self._keys = keys
        self._budget = budget
        self._write = write
        self._directory = Directory()
        self._page = self._directory.pages[0]
        self._waiting = PageRows()
        self._watermark = self._told = WATERMARK_MIN
        self._spoke = False
        # The state of pages that have none: how far event time has come, which inputs have ended.
        self._blank = make()
        self._blank_said = WATERMARK_MIN
        self._blank.open(replace(context, set_timer=_ignored))
        self._context = replace(context, hold=_ignored, release=_ignored, set_timer=self._set_timer)

    @property
    def finished(self) -> bool:
        """Whether nothing more will come of any page."""
        return self._blank.finished and all(page.finished for page in self._kept())

    @property
    def timer_us(self) -> int | None:
        """When a page wants to be called."""
        return min((page.timer_us for page in self._kept() if page.timer_us is not None), default=None)

    @property
    def are_behind(self) -> bool:
        """Whether rows wait, or a watermark."""
        return self._waiting.nbytes > 0 or self._told < self._watermark

    @property
    def is_full(self) -> bool:
        """Whether as many rows wait as may."""
        return self._waiting.nbytes >= self._budget.waiting_bytes

    @property
    def size(self) -> StateSize:
        """How much is kept, in memory and on disk."""
        rows = sum(page.size.rows for page in self._kept())
        disk = sum(page.stored.nbytes for page in self._directory.pages if page.stored is not None)
        return StateSize(rows, self._waiting.nbytes, disk)

    def put(self, port: int, batch: Batch) -> None:
        """Rows for an input."""
        keys = batch.frame.select(self._keys[port])
        self._waiting.put(port, batch, self._directory.numbers(keys), self._budget.waiting_bytes)

    def rises(self, watermark: int) -> None:
        """Event time has come so far."""
        self._watermark = max(self._watermark, watermark)

    def split(self, port: int, status: SplitStatus, out: Collector) -> None:
        """What a source says of a split."""
        self._blank.on_split(port, status, out)

    def visit(self, out: Collector, *, now_us: int | None = None, ended: int | None = None) -> None:
        """Bring all pages up to here.

        Args:
            out: where results go.
            now_us: the wall clock, for the timers that are due; `None` if none is.
            ended: an input that has ended; `None` if none has.
        """
        self._spoke = False
        waiting = self._waiting.take()
        for number, page in enumerate(tuple(self._directory.pages)):
            due = now_us is not None and page.timer_us is not None and page.timer_us <= now_us
            kept = page.stored is not None
            if waiting.has(number) or (kept and (due or ended is not None or page.told < self._watermark)):
                self._visit(page, waiting.of(number), out, now_us if due else None, ended)
        self._tell_blank(out, ended)
        self._told = self._watermark
        if self._spoke:
            out.watermark(min((page.said for page in self._kept()), default=self._blank_said))

    @property
    def blank(self) -> Operator:
        """The state of pages that have none."""
        return self._blank

    def each(self) -> Iterator[tuple[Page, Operator]]:
        """The pages with what is on them, one after the other."""
        for page in self._kept():
            yield page, self._loaded(page)[1]

    def split_up(self, operator: Operator, timer_us: int | None) -> None:
        """Cut the state of an operator into the first pages.

        Args:
            operator: one that was opened; it is not used any more.
            timer_us: when it wants to be called.
        """
        self._blank.absorb(operator, _none)
        pages = [Page(prefix, _FIRST_DEPTH, timer_us=timer_us) for prefix in range(1 << _FIRST_DEPTH)]
        self._directory.put([part for page in pages for part in self._absorbed(page, operator)])

    def absorb(self, other: "Operator | Pages", mine: Mine) -> None:
        """See `Operator.absorb`.

        Args:
            other: an operator, or pages of one.
            mine: says which keys are owned.
        """
        if not isinstance(other, Pages):
            self._blank.absorb(other, mine=_none)
            self._absorb(other, mine, 0, 0)
            return
        self._blank.absorb(other.blank, mine=_none)
        for page, operator in other.each():
            self._absorb(operator, mine, page.prefix, page.depth)

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        assert not self._waiting.nbytes, "rows still wait"
        pages = {f"page {page.name}": _saved(page) for page in self._kept()}
        return {
            "watermark": self._watermark,
            "told": self._told,
            "blank": self._blank,
            "blank_said": self._blank_said,
            "blank_finished": self._blank.finished,
            "names": [page.name for page in self._directory.pages],
            "pages": pages,
        }

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        self._watermark, self._told = parts["watermark"], parts["told"]
        self._blank.restore(parts["blank"])
        self._blank.finished = parts["blank_finished"]
        self._blank_said = parts["blank_said"]
        pages = []
        for name in parts["names"]:
            page = Page(int(name or "0", 2), len(name))
            saved = parts["pages"].get(f"page {name}")
            pages += [page] if saved is None else self._restored(page, saved)
        self._directory.put(pages)

    def forget(self) -> None:
        """Keep nothing any more."""
        self._directory = Directory()

    def _kept(self) -> list[Page]:
        return [page for page in self._directory.pages if page.stored is not None]

    def _visit(
        self,
        page: Page,
        rows: Iterable[tuple[int, Batch]],
        out: Collector,
        now_us: int | None,
        ended: int | None,
    ) -> None:
        """Load a page, let it take what there is for it, and put it aside again."""
        loaded, operator = self._loaded(page)
        said = _PageOutput(self, page, out)
        if page.told < self._told and not operator.finished:
            operator.on_watermark(self._told, said)
            page.told = self._told
        for port, batch in rows:
            if not operator.finished:
                operator.on_batch(port, batch, said)
        if page.told < self._watermark and not operator.finished:
            operator.on_watermark(self._watermark, said)
            page.told = self._watermark
        if ended is not None and not operator.finished:
            operator.on_end(ended, said)
        if now_us is not None and not operator.finished:
            page.timer_us = None
            operator.on_timer(now_us, said)
        parts = self._put_aside(page, operator, loaded)
        if parts != [page]:
            self._directory.split(page, parts)

    def _tell_blank(self, out: Collector, ended: int | None) -> None:
        """Let the pages without state know too; last, so that a port is released when all know that another ended."""
        if self._blank.finished:
            return
        blank = Page(0, 0, said=self._blank_said)
        said = _PageOutput(self, blank, out)
        if self._watermark > WATERMARK_MIN:
            self._blank.on_watermark(self._watermark, said)
        if ended is not None:
            self._blank.on_end(ended, said)
        self._blank_said = blank.said

    def _loaded(self, page: Page) -> tuple[LoadedState | None, Operator]:
        """The operator of a page, and the state that it was restored from."""
        operator = self._opened(page)
        if page.stored is None:
            snapshot = take_snapshot(self._blank, InPlace())
            leaves = [leaf.data for leaf in snapshot.leaves]
            copies = [data.copy() if isinstance(data, np.ndarray) else data for data in leaves]
            operator.restore(plain_values(snapshot.tree, copies.__getitem__))
            operator.finished = self._blank.finished
            page.told, page.said, page.timer_us = self._told, self._blank_said, None
            return None, operator
        loaded = page.stored.load()
        operator.restore(loaded.values)
        operator.finished = page.finished
        return loaded, operator

    def _opened(self, page: Page) -> Operator:
        operator, timer_us = self._make(), page.timer_us
        self._page = page
        operator.open(self._context)
        page.timer_us = timer_us
        return operator

    def _put_aside(self, page: Page, operator: Operator, loaded: LoadedState | None) -> list[Page]:
        """Put the state of a page into files; returns the pages that take its place, or itself."""
        page.finished, page.size = operator.finished, operator.state_size()
        if page.finished or not page.size.rows:
            page.stored, page.timer_us = None, None
            page.finished = False
            return [page]
        room = max(self._budget.page_bytes, page.whole_below)
        if page.size.bytes > room and page.size.rows > _ROWS_MIN and page.depth < DEPTH_MAX:
            page.stored = None
            parts = [part for half in page.halves() for part in self._absorbed(half, operator)]
            for part in parts:
                if part.size.bytes > _STUCK * page.size.bytes:
                    part.whole_below = 2 * part.size.bytes
            return parts
        page.stored = store(operator, self._write, loaded)
        return [page]

    def _absorbed(self, page: Page, whole: Operator, mine: Mine | None = None) -> list[Page]:
        """A new page, or several, with its part of the state of an operator."""
        operator = self._opened(page)
        operator.absorb(whole, _within(page, mine))
        return self._put_aside(page, operator, None)

    def _absorb(self, other: Operator, mine: Mine, prefix: int, depth: int) -> None:
        """Take the owned keys of an operator whose places all begin with the same bits."""
        pages = []
        for page in self._directory.pages:
            common = min(depth, page.depth)
            if prefix >> (depth - common) != page.prefix >> (page.depth - common):
                pages.append(page)
            elif page.stored is None:
                pages += self._absorbed(replace(page, told=WATERMARK_MIN), other, mine)
            else:
                loaded, operator = self._loaded(page)
                operator.absorb(other, _within(page, mine))
                pages += self._put_aside(page, operator, loaded)
        self._directory.put(pages)

    def _restored(self, page: Page, saved: dict[str, Any]) -> list[Page]:
        page.told, page.said, page.finished = saved["told"], saved["said"], saved["finished"]
        operator = self._opened(page)
        state: Apart = saved["state"]
        operator.restore(state.values())
        operator.finished, page.timer_us = page.finished, saved["timer_us"]
        return self._put_aside(page, operator, None)

    def _set_timer(self, time_us: int | None) -> None:
        self._page.timer_us = time_us

    def hears(self, page: Page, time: int | None) -> None:
        """A watermark has come of a page."""
        self._spoke = True
        if time is not None:
            page.said = max(page.said, time)


class _PageOutput:
    """Where the operator of a page puts its results: all but watermarks go on at once."""

    __slots__ = ("_page", "_pages", "count_gap", "count_rejected", "emit", "late", "reject", "split_status")

    def __init__(self, pages: Pages, page: Page, out: Collector) -> None:
        self._pages, self._page = pages, page
        self.emit, self.late, self.reject = out.emit, out.late, out.reject
        self.count_gap, self.count_rejected = out.count_gap, out.count_rejected
        self.split_status = out.split_status

    def watermark(self, time: int | None) -> None:
        self._pages.hears(self._page, time)


def _saved(page: Page) -> dict[str, Any]:
    assert page.stored is not None
    return {
        "told": page.told,
        "said": page.said,
        "timer_us": page.timer_us,
        "finished": page.finished,
        "state": page.stored.apart(),
    }


def _within(page: Page, mine: Mine | None) -> Mine:
    """Says which keys are on a page, and owned."""

    def within(keys: pl.DataFrame) -> Mask:
        on_page: Mask = places(keys, page.depth) == page.prefix
        return on_page if mine is None else on_page & mine(keys)

    return within


def _none(keys: pl.DataFrame) -> Mask:
    return np.zeros(keys.height, np.bool_)


def _ignored(value: int | None) -> None:
    """Stands for what a page may not do alone."""
