"""What a sink that writes exactly once must keep, as a test that crashes it at every step.

It plays the engine: it writes rows, stages, decides and publishes, lets an attempt at a checkpoint fail and publishes
twice. It does all that once for every step at which the process could end, begins a new sink behind it, and
compares what readers see with what was written.
"""

import errno
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from streame.core.full_disk import is_full_disk
from streame.core.staging import Decided, Json, Outbox, OutboxFile, Staged
from streame.io.sink import TransactionalSink
from streame.storage.disk import Bytes, LocalDisk

Step: TypeAlias = Callable[[], None]
"""Called by a sink between two things that it does to the outside; raises where the test ends the process."""

Make: TypeAlias = Callable[[Path, Step], TransactionalSink]
"""Makes a sink that writes to a folder."""

Read: TypeAlias = Callable[[Path], pl.DataFrame]
"""The rows that readers of that folder see, in order; none if nothing is there."""

FRAMES = tuple(
    pl.DataFrame({"n": list(range(start, start + height)), "text": [f"row {start}"] * height})
    for start, height in ((0, 3), (3, 1), (4, 5), (9, 1))
)
"""What is written unless other rows are given."""

_CHECKPOINTS = ("d", "", "f", "d")
_LAST = "dd"
"""Before the first frame and after each one: `d` a checkpoint is decided, `f` an attempt at one fails."""
_KEPT = 2
_STEPS_MAX = 2_000


class Crashed(BaseException):
    """The process has ended here."""


def check_transactional_sink(
    make: Make,
    read: Read,
    folder: Path,
    *,
    frames: Sequence[pl.DataFrame] = FRAMES,
    twice: bool = False,
) -> int:
    """Check that a sink loses no row, doubles none and shows none too early, wherever the process ends.

    Args:
        make: a sink that writes to a folder of its own, which is made; it gets a function too, which it must call
            between its steps: only there is it interrupted within `publish`. `SteppedDisk` does so for a sink of files.
        read: the rows that readers of that folder see, in order, none if nothing is there.
        folder: an empty one for the output of all these runs.
        frames: at least three, of one schema, with at least one row each.
        twice: crash while the new sink begins as well, at each of its steps: many more runs.

    Returns:
        How many runs there were.

    Raises:
        AssertionError: when the rows are others; it says where the process had ended. Or when `publish` has never
            called the function: then nothing is known of a process that ends within it.
    """
    runs, stepped = 0, set[str]()
    for crash_at in count():
        place = folder / f"crash-{crash_at}"
        if not _Trial(make, read, place, frames, stepped).survives([crash_at]):
            break
        runs += 1
        for second in count() if twice else ():
            place = folder / f"crash-{crash_at}-{second}"
            if not _Trial(make, read, place, frames, stepped).survives([crash_at, second]):
                break
            runs += 1
    for full_at in count():
        place = folder / f"full-{full_at}"
        if not _Trial(make, read, place, frames, stepped).survives([], full_at):
            break
        runs += 1
    assert "publish" in stepped, (
        "publish has never called step, so that the process never ended within it, and nothing is known of that; call "
        "the function that make gets before each thing that publish does to the outside, or write through SteppedDisk"
    )
    return runs


@dataclass
class MemoryOutbox(Outbox):
    """An outbox whose files are in memory.

    Args:
        step: called between two things that it does.
        piece_bytes: how long the pieces are in which it is read; they end anywhere.
        files: their bytes.
        epoch: which writer of a cluster the sink is; `None` if it is alone.
    """

    step: Step = lambda: None
    piece_bytes: int = 40
    files: list[bytes] = field(default_factory=list)
    epoch: int | None = None

    def begin(self) -> OutboxFile:
        """See `Outbox`."""
        self.step()
        return _MemoryFile(self)

    def read(self, piece: Json) -> Iterator[bytes]:
        """See `Outbox`."""
        data = self.files[piece]
        for start in range(0, len(data), self.piece_bytes):
            yield data[start : start + self.piece_bytes]


class _MemoryFile(OutboxFile):
    def __init__(self, outbox: MemoryOutbox) -> None:
        self._outbox = outbox
        self._data = b""

    def append(self, data: bytes) -> None:
        self._outbox.step()
        self._data += data

    def finish(self) -> Json:
        self._outbox.step()
        self._outbox.files.append(self._data)
        return len(self._outbox.files) - 1

    def discard(self) -> None:
        self._data = b""


class SteppedDisk(LocalDisk):
    """A disk that calls a function before each change, and in the middle of what is written.

    Args:
        root: the folder.
        step: the function; what it raises is raised in the place of the change.
    """

    def __init__(self, root: Path, step: Step) -> None:
        super().__init__(root)
        self._step = step

    def write(self, path: str, parts: Iterable[Bytes]) -> int:
        """Half of it, a step, and all of it."""
        data = b"".join(parts)
        self._step()
        super().write(path, [data[: len(data) // 2]])
        self._step()
        return super().write(path, [data])

    def append(self, path: str, data: Bytes) -> int:
        """Half of it, a step, and the rest; if the step raises an `OSError`, none of it."""
        self._step()
        half, before = len(data) // 2, self.size(path) or 0
        super().append(path, data[:half])
        try:
            self._step()
        except OSError:
            super().truncate(path, before)
            raise
        return super().append(path, data[half:])

    def truncate(self, path: str, length: int) -> None:
        """After a step."""
        self._step()
        super().truncate(path, length)

    def sync(self, path: str) -> None:
        """After no step: the disk is not full here."""
        super().sync(path)

    def make_directory(self, path: str) -> None:
        """After a step."""
        self._step()
        super().make_directory(path)

    def rename(self, source: str, target: str) -> None:
        """After a step."""
        self._step()
        super().rename(source, target)

    def link(self, source: str, target: str) -> None:
        """After a step."""
        self._step()
        super().link(source, target)

    def remove(self, path: str) -> None:
        """After a step."""
        self._step()
        super().remove(path)


@dataclass
class _Trial:
    """An engine, and what it knows after the end of a process: decided output, and how many frames went into it."""

    make: Make
    read: Read
    place: Path
    frames: Sequence[pl.DataFrame]
    stepped: set[str]
    calling: str = ""
    decided: list[Decided] = field(default_factory=list)
    decided_frames: int = 0
    steps: int = 0
    crash_at: int | None = None
    full_at: int | None = None
    full: bool = False

    def survives(self, crashes: Sequence[int], full_at: int | None = None) -> bool:
        """Run to the end with all these crashes; says whether they all happened."""
        self.place.mkdir()
        outbox = MemoryOutbox(self._inner)
        where = f"with crashes at {list(crashes)}" if crashes else f"with a full disk at {full_at}"
        self.full_at = full_at
        for crash_at in crashes:
            self.steps, self.crash_at = 0, crash_at
            if not self._crashes(outbox, where):
                return False
        self.steps, self.crash_at = 0, None
        if self._crashes(outbox, where):
            again = self._crashes(outbox, where)
            assert not again, where
        self._see(len(self.frames), "at the end", where)
        return full_at is None or self.full

    def _crashes(self, outbox: MemoryOutbox, where: str) -> bool:
        """Run until the end of the rows, or of the process: a full disk ends it while it begins."""
        sink = self.make(self.place, self._of_sink)
        try:
            self._run(sink, outbox, where)
        except (Crashed, Exception) as error:
            if not isinstance(error, Crashed) and not is_full_disk(error):
                raise
            self.crash_at = None
            sink.abort()  # what a process holds is released when it ends
            return True
        return False

    def _run(self, sink: TransactionalSink, outbox: Outbox, where: str) -> None:
        self._outer()
        sink.open(self.frames[0].schema)
        self._outer()
        sink.join_checkpoints(self.decided[-_KEPT:], outbox)
        self._see(self.decided_frames, "after join_checkpoints", where)
        carried: list[Json] = []
        for index in range(self.decided_frames, len(self.frames) + 1):
            if index > self.decided_frames or not self.decided:
                last = index == len(self.frames)
                for kind in _LAST if last else _CHECKPOINTS[index % len(_CHECKPOINTS)]:
                    carried = self._checkpoint(sink, kind, index, carried, where)
            if index < len(self.frames):
                self._retried(sink.write, self.frames[index])
                sink.flush()
                self._see(self.decided_frames, f"after write of frame {index}", where)
        self._outer()
        sink.close()

    def _checkpoint(
        self, sink: TransactionalSink, kind: str, frames: int, carried: list[Json], where: str
    ) -> list[Json]:
        """One attempt at a checkpoint; returns the pieces that the next one begins with."""
        self._outer()
        staged: Staged = self._retried(sink.stage)
        pieces = [*carried, *staged.pieces]
        self._see(self.decided_frames, f"after stage behind {frames} frames", where)
        if kind == "f":
            return pieces
        number = self.decided[-1].checkpoint + 1 if self.decided else 1
        kept = json.loads(json.dumps({"pieces": pieces, "note": staged.note}))
        before = self.decided_frames
        self.decided.append(Decided(number, Staged(kept["pieces"], kept["note"])))
        self.decided_frames = frames
        self._see(before, f"before publish of checkpoint {number}", where)
        self._outer()
        for _ in range(2):
            self._retried(sink.publish, self.decided[-1])
            self._see(frames, f"after publish of checkpoint {number}", where)
        return []

    def _retried(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call again after a full disk, as the engine does."""
        for _ in range(2):
            self._outer()
            self.calling = call.__name__
            try:
                return call(*arguments)
            except Exception as error:
                if not is_full_disk(error):
                    raise
            finally:
                self.calling = ""
        raise AssertionError(f"{call.__name__} fails a second time")

    def _outer(self) -> None:
        """A step of the engine."""
        assert self.steps < _STEPS_MAX, "the sink does not come to an end"
        if self.crash_at is not None and self.steps >= self.crash_at:
            raise Crashed
        self.steps += 1

    def _of_sink(self) -> None:
        """A step of the sink itself."""
        self.stepped.add(self.calling)
        self._inner()

    def _inner(self) -> None:
        """A step of the sink, or of its outbox."""
        self._outer()
        if self.full_at is not None and self.steps > self.full_at and not self.full:
            self.full = True
            raise OSError(errno.ENOSPC, "No space left on device")

    def _see(self, frames: int, when: str, where: str) -> None:
        """Readers see the rows of so many frames."""
        expected = pl.concat([self.frames[0].clear(), *self.frames[:frames]])
        found = self.read(self.place)
        if found.height or expected.height:
            assert found.equals(expected), (
                f"{when}, {where}: readers should see {expected.height} rows, {expected.rows()}, but there are "
                f"{found.height}: {found.rows()}"
            )
