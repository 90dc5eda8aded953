"""The task that reads a source and runs what stands directly behind it."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from streame.core.clock import Clock, to_datetime
from streame.core.deadletters import BadRow, dead_letters, shorten
from streame.core.frames import frame_of
from streame.core.messages import BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batch, Positions, SplitStatus
from streame.core.metrics import OperatorMetrics
from streame.core.positions import with_position_column
from streame.errors import DataError
from streame.io.source import AcknowledgedSource, Chunk
from streame.runtime.cut_chunks import cut
from streame.runtime.graph import SourceVertex
from streame.runtime.isolation import Isolation
from streame.runtime.outputs import Outputs
from streame.runtime.part import Checkpointer, TaskPart
from streame.runtime.shared_splits import Share
from streame.runtime.split_reader import SplitReader
from streame.runtime.stage import Stage
from streame.runtime.task import part_of

IDLE_REST_S = 0.02
"""How long a source rests after a round in which no split had anything and none waited by itself."""

WAITED_S = 0.001
"""A round that took longer than this has waited by itself."""


class SourceTask:
    """Reads one source, or its share of the splits, and hands the good rows on, in batches of bounded size.

    Args:
        vertex: the source and how it is to be read.
        clock: the wall clock, for the time of dead letters.
        key: its key among all tasks; `None` for the name.
        instance: its number among those that read the source.
    """

    def __init__(self, vertex: SourceVertex, clock: Clock, key: str | None = None, instance: int = 0) -> None:
        self.name = vertex.name
        self.key = key or vertex.name
        self.checkpointer: Checkpointer | None = None
        self.isolation: Isolation | None = None
        """Who lets rows out a few at a time after crashes, if attempts are remembered."""
        self.metrics = OperatorMetrics()
        self.outputs: Outputs[Stage] = Outputs(self.metrics)
        self._vertex = vertex
        self._clock = clock
        self._share = Share(instance, vertex.parallelism)
        self._reader = SplitReader(vertex.name, vertex.source, clock, vertex.idle_timeouts_us, self._share.of)
        self._wake = threading.Event()
        self._stopping = False
        self._paused = False
        self._barrier: int | None = None
        self._round: Iterator[tuple[str, Chunk] | SplitStatus] = iter(())
        self._round_began = 0.0
        self._round_gave = True
        self._held: tuple[str, Chunk] | None = None
        self._done = False

    @property
    def done(self) -> bool:
        """Whether the source has ended or was stopped, and those behind it know."""
        return self._done

    @property
    def is_held(self) -> bool:
        """No: it has no inputs."""
        return False

    def open(self) -> None:
        """Open the operators within."""
        for stage in self.outputs.inline:
            stage.open(self._clock, None)

    def restore(self, position: Any) -> None:
        """Begin where a checkpoint was; called before the first step."""
        part = self._share.part(position)
        self._done = part["done"]
        self._reader.restore(part["splits"])

    def go_on(self) -> None:
        """Tell those behind what they were told before."""
        for stage in self.outputs.inline:
            stage.go_on()
        if self._done:
            self.outputs.end()

    def step(self, wait_s: float | None) -> bool:
        """Read one chunk, or rest if no split has any; or send a barrier between two chunks."""
        for stage in self.outputs.inline:
            stage.fire_timers(self._clock.now_us())
        checkpoint, self._barrier = self._barrier, None
        if checkpoint is not None:
            self._send_barrier(checkpoint)
            return True
        if self._paused:
            self._rest(wait_s)
            return False
        if self._stopping or not self.outputs.wanted:
            return self._finish()
        if self._held is not None:
            return self._let_out(wait_s, self._held)
        item = next(self._round, None)
        if isinstance(item, SplitStatus):
            self._tell(item)
            return True
        if item is not None:
            self._round_gave = True
            self._held = item
            return self._let_out(wait_s, item)
        if self._reader.ended:
            return self._finish()
        waited = time.monotonic() - self._round_began > WAITED_S
        if not self._round_gave and not waited:
            self._rest(wait_s)
        idle = not self._round_gave
        self._round, self._round_gave, self._round_began = self._reader.round(), False, time.monotonic()
        return not idle

    def inject(self, checkpoint: int, *, last: bool) -> None:
        """Send a barrier as soon as the chunk that is being read has gone on. May be called from another thread.

        Args:
            checkpoint: its number.
            last: whether to read nothing more behind it.
        """
        self._paused = self._paused or last
        self._barrier = checkpoint
        self._wake.set()

    def pause(self, *, paused: bool) -> None:
        """Read nothing for now, or go on. May be called from another thread."""
        self._paused = paused
        self._wake.set()

    def decided(self, position: Any) -> None:
        """What was read before a position will not be asked for again. May be called from another thread."""
        self._reader.decided(position["splits"])

    @property
    def acknowledges(self) -> bool:
        """Whether the source gives up what was read once it is told that a checkpoint was decided."""
        return isinstance(self._vertex.source, AcknowledgedSource)

    @property
    def refusal(self) -> str | None:
        """Why a row that kills the process cannot be set aside; `None` where it can."""
        match self._vertex.on_error:
            case "fail":
                return 'its source has on_error="fail"'
            case "dead_letter" if not self.outputs.rejected:
                return "nobody keeps the dead letters of its source"
            case _:
                return None

    def part(self) -> TaskPart:
        """The position of the source, and the states of the operators within."""
        position = {"done": self._done, "splits": self._reader.position()}
        return part_of(self.key, self.stages(), {self.name: position})

    def stop_reading(self) -> None:
        """Read no further. May be called from another thread."""
        self._stopping = True
        self._wake.set()

    def leave(self) -> None:
        """Wake up. May be called from another thread."""
        self._wake.set()

    def interrupt(self) -> None:
        """The job has failed: stop. May be called from another thread."""
        self.stop_reading()
        for stage in self.stages():
            stage.operator.interrupt()

    def close(self, *, failed: bool) -> list[BaseException]:
        """Close the splits that are open, then the operators within."""
        errors = self._reader.close()
        for stage in self.outputs.inline:
            errors += stage.close(failed=failed or bool(errors))
        return errors

    def stages(self) -> list[Stage]:
        """The operators within."""
        return [inner for stage in self.outputs.inline for inner in stage.stages()]

    def _rest(self, wait_s: float | None) -> None:
        if wait_s != 0:
            self._wake.wait(IDLE_REST_S)
            self._wake.clear()

    def _send_barrier(self, checkpoint: int) -> None:
        for stage in self.outputs.inline:
            stage.flush()
        if self.checkpointer is not None:
            self.checkpointer.reached(checkpoint, self.part())
        self.outputs.barrier(checkpoint)

    def _finish(self) -> bool:
        self._done = True
        if self.isolation is not None:
            self.isolation.without(self.name)
        self.outputs.end()
        return True

    def _tell(self, status: SplitStatus) -> None:
        """Say what became of a split, where anyone asks."""
        if self.isolation is not None and status.state == "ended":
            self.isolation.without(self.name, status.split[1])
        if self._vertex.idle_timeouts_us:
            self.outputs.split_status(status)

    def _let_out(self, wait_s: float | None, held: tuple[str, Chunk]) -> bool:
        """Hand a chunk on; after crashes only the part of it that may go on now, if any."""
        split, chunk = held
        if self.isolation is None or not self.isolation.is_careful or not chunk.frame.height:
            self._held = None
            self._reader.handed_on(split, chunk)
            self._hand_on(split, chunk)
            return True
        leave = self.isolation.leave(self.name, split, chunk)
        if leave.deadly is None and not leave.rows:
            self._rest(wait_s)
            return False
        part, rest = cut(chunk, leave.rows or 1)
        self._reader.handed_on_part(split, part)
        self._held = (split, rest) if rest.frame.height else None
        if self._held is None:
            self._reader.handed_on(split, chunk)
        if leave.deadly is not None:
            part = replace(part, frame=part.frame[:0], rejected=[*part.rejected, leave.deadly])
        self._hand_on(split, part)
        self.isolation.gone_on()
        return True

    def _hand_on(self, split: str, chunk: Chunk) -> None:
        self.metrics.batches += 1
        self.metrics.rows_in += chunk.frame.height + len(chunk.rejected)
        if chunk.rejected:
            self._refuse(split, chunk.rejected)
        if chunk.frame.height == 0:
            return
        positions = Positions(self.name, split, chunk.offsets) if chunk.offsets is not None else None
        batch = Batch(chunk.frame, positions, (self.name, split))
        for part in _bounded(self._leaving(batch)):
            self.outputs.emit(part)

    def _leaving(self, batch: Batch) -> Batch:
        frame = batch.frame
        if self._vertex.columns is not None and len(self._vertex.columns) < frame.width:
            frame = frame_of([frame.get_column(name) for name in self._vertex.columns])
        if self._vertex.keep_positions:
            return Batch(with_position_column(Batch(frame, batch.positions)), split=batch.split)
        return Batch(frame, batch.positions, batch.split)

    def _refuse(self, split: str, rows: Sequence[BadRow]) -> None:
        match self._vertex.on_error:
            case "fail":
                row = rows[0]
                raise DataError(
                    f"source {self.name!r}, split {split!r}, offset {row.offset}: {row.message}; the row is "
                    f"{shorten(row.raw)!r}. Mend the row, or give the source "
                    'on_error="dead_letter" to set such rows aside'
                )
            case "dead_letter":
                at = to_datetime(self._clock.now_us())
                letters = dead_letters(rows, source=self.name, split=split, operator=self.name, at=at)
                self.outputs.reject(letters)
            case "drop":
                self.outputs.count_rejected(len(rows))


def _bounded(batch: Batch) -> Iterator[Batch]:
    """The batch in pieces of at most `BATCH_ROWS_MAX` rows and about `BATCH_BYTES_MAX` bytes, at least one row each."""
    frame = batch.frame
    pieces = max(1, -(-int(frame.estimated_size()) // BATCH_BYTES_MAX))
    rows = min(BATCH_ROWS_MAX, max(1, frame.height // pieces))
    if frame.height <= rows:
        yield batch
        return
    for start in range(0, frame.height, rows):
        positions = _slice(batch.positions, start, start + rows)
        yield Batch(frame[start : start + rows], positions, batch.split)


def _slice(positions: Positions | None, start: int, stop: int) -> Positions | None:
    if positions is None:
        return None
    offsets = positions.offsets
    return Positions(positions.source, positions.split, lambda: offsets()[start:stop])
