"""Leaders of a job that write to one directory of parts, each of which works only when it is told to."""

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from streame.core.staging import Decided, Staged
from streame.errors import Superseded
from streame.io.formats.encoders import NdjsonEncoder
from streame.io.parts import PartFiles, PartLimits
from streame.storage.disk import Bytes, LocalDisk
from streame.testing.contracts import Crashed, MemoryOutbox
from tests.testing.test_contracts import read_parts

FRAMES = [pl.DataFrame({"n": [start, start + 1, start + 2], "text": ["a"] * 3}) for start in range(0, 24, 3)]
READ = read_parts("ndjson")
STEPS_MAX = 200


class TurnDisk(LocalDisk):
    """A disk that calls a function before everything that is done to it, or asked of it."""

    def __init__(self, root: Path, step: Callable[[], None]) -> None:
        super().__init__(root)
        self._step = step

    def write(self, path: str, parts: Iterable[Bytes]) -> int:
        self._step()
        return super().write(path, parts)

    def sync(self, path: str) -> None:
        self._step()
        super().sync(path)

    def sync_directory(self, path: str) -> None:
        self._step()
        super().sync_directory(path)

    def make_directory(self, path: str) -> None:
        self._step()
        super().make_directory(path)

    def link(self, source: str, target: str) -> None:
        self._step()
        super().link(source, target)

    def remove(self, path: str) -> None:
        self._step()
        super().remove(path)

    def names(self, path: str) -> list[str]:
        self._step()
        return super().names(path)

    def size(self, path: str) -> int | None:
        self._step()
        return super().size(path)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        self._step()
        return super().read(path, offset, length)


@dataclass
class World:
    """What is decided, by whoever leads; readers see that and nothing else."""

    place: Path
    epoch: int = 0
    decided: list[Decided] = field(default_factory=list)

    def decide(self, epoch: int, staged: Staged) -> Decided:
        """One transaction: the epoch is compared."""
        if epoch != self.epoch:
            raise Superseded("another process leads")
        pieces, note = json.loads(json.dumps([list(staged.pieces), staged.note]))
        self.decided.append(Decided(len(self.decided) + 1, Staged(pieces, note)))
        return self.decided[-1]

    def see(self) -> int:
        """How many checkpoints readers see, each once, in order."""
        found = READ(self.place)
        for seen in range(len(self.decided) + 1):
            expected = pl.concat([FRAMES[0].clear(), *FRAMES[:seen]])
            if found.height == expected.height and found["n"].to_list() == expected["n"].to_list():
                return seen
        raise AssertionError(f"readers see {found['n'].to_list()}, {len(self.decided)} were decided")


class Leader:
    """A process that leads until the rows end, or until it learns that it does not; it works only when it is told to.

    Args:
        world: around it.
        frames: how many frames there are by the time that it ends.
        kept: of how many checkpoints the output is kept.
    """

    def __init__(self, world: World, frames: int, kept: int = 2) -> None:
        self.world, self.frames, self.kept = world, frames, kept
        self.ended, self.steps, self._killed = False, 0, False
        self.error: BaseException | None = None
        self._left: int | None = 0
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()

    def go(self, steps: int | None = None) -> "Leader":
        """Do so many steps more, or all; readers must see a state that is decided then."""
        if not self.ended:
            self._left = steps
            self._turn.release()
            self._back.acquire()
            self.world.see()
        if self.ended:
            self._thread.join()
        return self

    def kill(self) -> None:
        """End it where it is."""
        self._killed = True
        self.go()

    def _step(self) -> None:
        while self._left == 0:
            self._back.release()
            self._turn.acquire()
        if self._killed:
            raise Crashed
        if self._left is not None:
            self._left -= 1
        self.steps += 1
        assert self.steps < STEPS_MAX, "it does not come to an end"

    def _main(self) -> None:
        self._turn.acquire()
        try:
            self._lead()
        except BaseException as error:
            self.error = error
        self.ended = True
        self._back.release()

    def _lead(self) -> None:
        self._step()
        self.world.epoch = epoch = self.world.epoch + 1
        known = list(self.world.decided)
        sink = PartFiles(
            self.world.place, NdjsonEncoder(), PartLimits(rows=2), disk=TurnDisk(self.world.place, self._step)
        )
        try:
            sink.check_cluster()
            sink.open(FRAMES[0].schema)
            sink.join_checkpoints(known[-self.kept :], MemoryOutbox(epoch=epoch))
            for number in range(len(known), self.frames):
                sink.write(FRAMES[number])
                staged = sink.stage()
                self._step()
                decided = self.world.decide(epoch, staged)
                self._step()
                sink.publish(decided)
            sink.close()
        except BaseException:
            sink.abort()
            raise
