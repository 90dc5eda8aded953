"""Paged operators: keyed operators whose state leaves the memory when there is more than may be."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from streame.core.config import Config
from streame.core.full_disk import is_full_disk
from streame.core.locations import folder_or_objects
from streame.core.messages import Batch, SplitStatus
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX
from streame.errors import StreameError
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.pages import Pages
from streame.runtime.paging import MemoryBudget
from streame.state.checkpoint.store import RecoveredState
from streame.state.snapshot import Changed, Mine
from streame.storage.room import RoomWait
from streame.storage.scratch import Scratch, ScratchFile

PUT_OFF_US = 1_000_000
"""How long rows wait for their page at most."""

PAGED = "paged"
"""What is saved of an operator in pages has this part and no other."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the keyed operators of one run share.

    Args:
        budget: how much of their state may be in memory.
        scratch: where the rest of it is.
    """

    budget: MemoryBudget
    scratch: Scratch


def scratch_folder(config: Config) -> Path | None:
    """Where state is put aside: beside the checkpoints if those are in a folder, else where the system says."""
    place = None if config.checkpoints is None else folder_or_objects(config.checkpoints, where="checkpoints")
    return place.absolute() / "spill" if isinstance(place, Path) else None


def is_paged(state: RecoveredState) -> bool:
    """Whether a stage was saved whose operator has its state in pages."""
    return PAGED in (state.tree["operator"] or {})


def pages_of(state: RecoveredState) -> list[RecoveredState]:
    """A stage that was saved as several, one for each page of its operator and one for what all of them have."""
    if not is_paged(state):
        return [state]
    saved = state.tree["operator"][PAGED]
    parts = [{"operator": saved["blank"], "finished": saved["blank_finished"], "timer_us": None}]
    parts += [
        {"operator": page["state"]["$apart"], "finished": page["finished"], "timer_us": page["timer_us"]}
        for page in saved["pages"].values()
    ]
    return [RecoveredState(state.tree | part, state.leaf) for part in parts]


class PagedOperator(Operator):
    """Stands for a keyed operator: hands on all calls until its state is too large, then keeps it in pages.

    Args:
        make: makes the operator.
        keys: for each input the columns by which rows are shared out.
        memory: what there is of it.
    """

    DERIVED = (
        "_inner",
        "_is_open",
        "_inner_timer_us",
        "_pages",
        "_fed",
        "_is_saved",
        "_flush_at_us",
    )

    def __init__(self, make: Callable[[], Operator], keys: Sequence[Sequence[str]], memory: Memory) -> None:
        self._make = make
        self._keys = keys
        self._budget, self._scratch = memory.budget, memory.scratch
        self._inner: Operator = make()
        self._inner_timer_us: int | None = None
        self.timed_ports = self._inner.timed_ports
        self._pages: Pages | None = None
        self._fed = 0
        self._is_saved = False
        self._flush_at_us: int | None = None
        self._is_open = False
        self._given_up = threading.Event()
        self._room = RoomWait()

    @property
    def waits_for(self) -> str | None:
        """See `Operator`."""
        return self._room.waits_for

    def open(self, context: OperatorContext) -> None:
        """See `Operator`."""
        self._context = context
        self._is_open = True
        self._budget.join(self)
        self._scratch.join()
        self._inner.open(replace(context, set_timer=self._set_inner_timer))

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Hand rows on, or let them wait for their pages."""
        pages = self._pages
        if pages is None:
            self._inner.on_batch(port, batch, out)
            self.finished = self._inner.finished
            self._fed += batch.frame.height
            if self._fed >= self._budget.measured_rows:
                self._measure()
            return
        pages.put(port, batch)
        if pages.is_full:
            self.flush(out)
        else:
            self._put_off()

    def on_watermark(self, time: int, out: Collector) -> None:
        """Hand it on; or let it wait, unless it is the last one."""
        if self._pages is None:
            self._inner.on_watermark(time, out)
            self.finished = self._inner.finished
            return
        self._pages.rises(time)
        if time == WATERMARK_MAX or not self._pages.are_behind:  # else told again, after an idle time
            self._visit(out)
        else:
            self._put_off()

    def on_split(self, port: int, status: SplitStatus, out: Collector) -> None:
        """See `Operator`."""
        self.flush(out)
        if self._pages is None:
            self._inner.on_split(port, status, out)
        else:
            self._pages.split(port, status, out)

    def on_timer(self, time_us: int, out: Collector) -> None:
        """See `Operator`."""
        if self._pages is None:
            self._inner_timer_us = None
            self._inner.on_timer(time_us, out)
            self.finished = self._inner.finished
        else:
            self._visit(out, now_us=time_us)

    def on_end(self, port: int, out: Collector) -> None:
        """See `Operator`."""
        if self._pages is None:
            self._inner.on_end(port, out)
            self.finished = self._inner.finished
        else:
            self._visit(out, ended=port)

    def flush(self, out: Collector) -> None:
        """Let all pages take the rows that wait for them."""
        if self._pages is not None and self._pages.are_behind:
            self._visit(out)

    def state_size(self) -> StateSize:
        """See `Operator`."""
        return self._inner.state_size() if self._pages is None else self._pages.size

    def saved(self) -> dict[str, Any]:
        """As the operator itself is saved, or its pages."""
        self._is_saved = True
        return self._inner.saved() if self._pages is None else {PAGED: self._pages}

    def changed(self, name: str) -> Changed | None:
        """See `Savable`."""
        return self._inner.changed(name) if self._pages is None else None

    def saved_up_to_here(self) -> None:
        """See `Savable`."""
        self._inner.saved_up_to_here()

    def restore(self, parts: dict[str, Any]) -> None:
        """Take the state of an operator, in pages or not."""
        if PAGED in parts:
            self._begin_pages().restore(parts[PAGED])
            self._set_timer()
        else:
            self._inner.restore(parts)
            self._measure()

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        theirs: Operator | Pages = other._inner if other._pages is None else other._pages
        if self._pages is None and isinstance(theirs, Pages):
            self._page_out()
        if self._pages is not None:
            self._pages.absorb(theirs, mine)
            self._set_timer()
        elif isinstance(theirs, Operator):
            self._inner.absorb(theirs, mine)
            self._measure()

    def interrupt(self) -> None:
        """See `Operator`."""
        self._given_up.set()
        self._inner.interrupt()

    def close(self, *, failed: bool) -> None:
        """See `Operator`."""
        if not self._is_open:
            return
        self._is_open = False
        self._inner.close(failed=failed)
        if self._pages is not None:
            self._pages.forget()
        self._budget.leave(self)
        self._scratch.leave()

    def _measure(self) -> None:
        """Look how much is in memory, and put it aside if it is too much."""
        self._fed = 0
        size = self._inner.state_size().bytes
        # A checkpoint keeps a copy of every array.
        if self._budget.is_exceeded(self, 2 * size if self._is_saved else size):
            self._page_out()

    def _page_out(self) -> None:
        inner, timer_us = self._inner, self._inner_timer_us
        self._begin_pages().split_up(inner, timer_us)
        self._set_timer()

    def _begin_pages(self) -> Pages:
        """From now on the state is in pages."""
        self._pages = Pages(self._make, self._keys, self._budget, self._write, self._context)
        self._budget.pages(self)
        self._inner = self._make()
        return self._pages

    def _visit(self, out: Collector, *, now_us: int | None = None, ended: int | None = None) -> None:
        assert self._pages is not None
        self._flush_at_us = None
        self._pages.visit(out, now_us=now_us, ended=ended)
        self._scratch.trim()
        self.finished = self._pages.finished
        self._set_timer()

    def _put_off(self) -> None:
        """Let all pages take what waits for them in a second."""
        if self._flush_at_us is None:
            self._flush_at_us = self._context.clock.now_us() + PUT_OFF_US
            self._set_timer()

    def _set_timer(self) -> None:
        """Be called when what waits has waited long enough, or a page wants it."""
        assert self._pages is not None
        times = [time for time in (self._flush_at_us, self._pages.timer_us) if time is not None]
        self._context.set_timer(min(times, default=None))

    def _set_inner_timer(self, time_us: int | None) -> None:
        self._inner_timer_us = time_us
        self._context.set_timer(time_us)

    def _write(self, parts: Sequence[memoryview]) -> ScratchFile:
        """Write a file; while the disk is full, wait."""
        while True:
            try:
                file = self._scratch.write(parts)
            except OSError as error:
                if self._given_up.is_set() or not is_full_disk(error):
                    raise StreameError(
                        f"state beyond memory_limit could not be put aside on disk: {error}; let "
                        "TMPDIR name a folder that can be written to, or give a larger memory_limit"
                    ) from error
                what = f"the state of {self._context.name} beyond memory_limit"
                self._given_up.wait(self._room.failed(what, error))
                continue
            self._room.passed()
            return file
