"""Isolation: how a careful start lets rows out a few at a time, and writes down which, so that a deadly one is found."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

from streame.core.deadletters import BadRow, shorten
from streame.core.full_disk import is_full_disk
from streame.errors import CheckpointError, DataError, StreameError
from streame.io.source import Chunk
from streame.runtime.letters import as_json
from streame.state.checkpoint.attempt import (
    ALONE_MAX,
    CONDEMNED_MAX,
    UNEXPLAINED_MAX,
    Attempt,
    Portion,
    Row,
    next_attempt,
)
from streame.state.checkpoint.attempt_file import AttemptFile

_DIED = (
    f"the process died {ALONE_MAX} times while only this row was at work: code that is not Python's crashes on it, or it "
    "needs more memory than there is"
)


@dataclass(frozen=True, slots=True)
class Leave:
    """What may happen to the next rows of a split.

    Args:
        rows: so many of them may go on.
        deadly: the first one is to be refused instead.
    """

    rows: int = 0
    deadly: BadRow | None = None


class Isolation:
    """Decides how many rows are at work at once. Sources ask it; checkpoints open and close it.

    Args:
        file: where attempts are remembered.
        checkpoint: the number of the checkpoint that the job goes on from, 0 for the beginning.
        refusals: by source, why it cannot set a row aside; `None` where it can.

    Raises:
        DataError: when a row kills the process, and its source cannot set it aside.
        StreameError: when processes die and no row is found that is to blame.
        CheckpointError: when nothing can be written.
    """

    def __init__(self, file: AttemptFile, checkpoint: int, refusals: Mapping[str, str | None]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._closed = False
        self._more = 0
        self._noted: dict[tuple[str, str], int] = {}
        self._over: set[str] = set()
        self._waiting: set[str] = set()
        self._used_up: Callable[[], None] = lambda: None
        self._held_back: Callable[[], Collection[str]] = tuple
        self._attempt = next_attempt(file.read(), checkpoint).of_sources(refusals)
        error = _refused(self._attempt, refusals, file.path)
        if self._attempt.unexplained >= UNEXPLAINED_MAX:  # it has been said
            self._attempt = replace(self._attempt, unexplained=0)
        try:
            file.write(self._attempt)
        except OSError as failure:
            raise CheckpointError(
                f"{file.path} cannot be written ({failure}); make room, or check the disk, and start the job again"
            ) from failure
        if error is not None:
            self.ended()
            raise error

    @property
    def is_careful(self) -> bool:
        """Whether rows are let out a few at a time."""
        return self._attempt.allowance is not None

    def begin(self, used_up: Callable[[], None], held_back: Callable[[], Collection[str]]) -> None:
        """Rows will be asked for.

        Args:
            held_back: the sources whose rows nobody works on for now; they are let out behind the next checkpoint, so
                that they are not in flight together with a whole table.
            used_up: called when no further row may go on before a checkpoint; may be called from any thread.
        """
        self._used_up, self._held_back = used_up, held_back

    def leave(self, source: str, split: str, chunk: Chunk) -> Leave:
        """What may happen to the next rows of a split; it is written down when this returns.

        Args:
            source: the name of the source.
            split: the split.
            chunk: the rows, at least one.
        """
        with self._lock:
            if not self.is_careful:
                return Leave(chunk.frame.height)
            if self._waits(source):
                return Leave()
            noted = self._noted.get((source, split), 0)
            if noted:
                rows = self._noted[source, split] = noted - min(noted, chunk.frame.height)
                return Leave(noted - rows)
            if not self._room:
                return Leave()
            row = None
            if any((each.source, each.split) == (source, split) for each in self._attempt.condemned):
                row = _known(source, split, chunk)
                if row in self._attempt.condemned:
                    raw = as_json(chunk.frame[:1])
                    aside = self._note(self._attempt.set_aside(row))
                    return Leave(deadly=BadRow(row.offset, "crash", _DIED, raw) if aside else None)
            # Twice as many each time, so that a round of small chunks costs few writes.
            rows = min(self._room, max(chunk.frame.height, self._attempt.at_work))
            alone = rows == 1 and not self._attempt.in_flight
            row = (row or _known(source, split, chunk)) if alone else None
            if not self._note(self._attempt.let_out(source, split, rows, row)):
                return Leave()
            going = min(rows, chunk.frame.height)
            self._noted[source, split] = rows - going
            return Leave(going)

    def gone_on(self) -> None:
        """Rows that had leave have gone on."""
        with self._lock:
            used_up = self.is_careful and not self._closed and not self._room
        if used_up:
            self._used_up()

    def without(self, source: str, split: str | None = None) -> None:
        """No further row comes from a split, or from a source."""
        with self._lock:
            if self.is_careful:
                self._attempt = self._attempt.without(source, split)
                if split is None:
                    self._over.add(source)

    def close(self) -> None:
        """A checkpoint begins: no row has leave before it is decided."""
        with self._lock:
            self._closed = True

    def extend(self) -> None:
        """No checkpoint can be made before more rows have come: let as many out again."""
        with self._lock:
            if not self._room:
                self._more += self._attempt.at_work

    def decided(self, number: int, *, calm: bool) -> bool:
        """A checkpoint was decided that holds all that had leave.

        Args:
            number: of the checkpoint.
            calm: whether full speed is near: the last one that rows had to wait for was long ago, or none follow.

        Returns:
            Whether rows had to wait for it.
        """
        with self._lock:
            if self._attempt.allowance is None:
                return False
            self._closed, used_up = False, not self._room_if_open
            left = [Portion(*place, rows) for place, rows in self._noted.items()]
            self._noted, self._more = {}, 0
            self._waiting.clear()
            self._attempt = self._attempt.not_let_out(left).decided(number, used_up=used_up, calm=calm)
            if self._attempt.allowance is None:
                self._note(self._attempt)
            return used_up

    def ended(self) -> None:
        """The process ends in order: nobody is to blame."""
        with self._lock:
            attempt = self._attempt.ended()
            if attempt is None:
                self._file.remove()
            else:
                self._note(attempt)

    def _waits(self, source: str) -> bool:
        """Whether no row of a source may go on now, however many may."""
        if self._closed:
            return True
        if source in self._held_back():
            self._waiting.add(source)
        awaited = self._attempt.awaited - self._over
        return source in self._waiting or (bool(awaited) and source not in awaited)

    @property
    def _room_if_open(self) -> int:
        return max(0, (self._attempt.allowance or 0) + self._more - self._attempt.at_work)

    @property
    def _room(self) -> int:
        """How many rows may go on now."""
        return 0 if self._closed else self._room_if_open

    def _note(self, attempt: Attempt) -> bool:
        """Write an attempt down; says whether there was room for it on the disk."""
        try:
            self._file.write(attempt)
        except OSError as error:
            if is_full_disk(error):
                return False
            raise CheckpointError(
                f"{self._file.path} cannot be written ({error}); check the disk and start the job again"
            ) from error
        self._attempt = attempt
        return True


def _known(source: str, split: str, chunk: Chunk) -> Row:
    """The first row of a chunk, by all that is known of it."""
    values = as_json(chunk.frame[:1])
    offset = None if chunk.offsets is None else int(chunk.offsets()[0])
    return Row(source, split, offset, blake2b(values, digest_size=16).hexdigest(), shorten(values))


def _refused(attempt: Attempt, refusals: Mapping[str, str | None], path: str) -> StreameError | None:
    """Why the job does not start."""
    if attempt.unexplained >= UNEXPLAINED_MAX:
        return StreameError(
            f"the process has died {attempt.crashes} times behind checkpoint {attempt.checkpoint}, and the last "
            f"{UNEXPLAINED_MAX} times no single row can be named that was at work: it dies while state is restored, "
            "while rows are read or a joined table is, by a timer or at the end of the input, or somebody kills it. "
            "Look for what ended it (memory, a native crash). Nothing was skipped; the next start tries again"
        )
    if len(attempt.condemned) >= CONDEMNED_MAX:
        rows = ", ".join(_place(row) for row in attempt.condemned)
        return StreameError(
            f"the process has died with each of {len(attempt.condemned)} rows in turn ({rows}): rather than they, what "
            "is in the state, or too little memory, is the cause. None of them was skipped. Mend the cause, remove "
            f"{path} and start the job again"
        )
    for row in attempt.condemned:
        if refusals[row.source] is not None:
            return DataError(
                f"{_place(row)}: {_DIED}; the row is {row.text!r}. It was not skipped, because {refusals[row.source]}. "
                f'Give the source on_error="dead_letter" and the job errors= to set it aside; or mend the cause, '
                f"remove {path} and start the job again"
            )
    return None


def _place(row: Row) -> str:
    offset = "" if row.offset is None else f", offset {row.offset}"
    return f"source {row.source!r}, split {row.split!r}{offset}"
