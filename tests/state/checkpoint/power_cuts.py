"""Every disk that a power cut may leave while a job writes checkpoints, and what a job makes of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from polars.exceptions import PanicException

from streame.state.checkpoint.local import LocalCheckpoints
from tests.state.checkpoint.counting_job import (
    SINK,
    assert_is,
    output_of,
    published_by,
    store_on,
    write_checkpoint,
)
from tests.storage.memory_disk import MemoryDisk, Op, RecordedDisk
from tests.storage.power_cut import Files, Power

Variant = Callable[[RecordedDisk], RecordedDisk]


@dataclass(frozen=True)
class Promise:
    """What must hold at some moment.

    Args:
        acknowledged: the last checkpoint of which `write` has returned.
        published: the last one whose output is out.
    """

    acknowledged: int = 0
    published: int = 0


@dataclass
class History:
    """What was done to the disk, with the promise that held after each operation."""

    ops: list[Op] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)

    def upto(self, log: list[Op], promise: Promise) -> None:
        """Take the operations of a log that are not here yet; the promise holds after the last of them."""
        while len(self.ops) < len(log):
            self.ops.append(log[len(self.ops)])
            self.promises.append(self.promises[-1] if self.promises else Promise())
        self.promises[-1] = promise

    def steps(self) -> Iterator[tuple[Op, Promise]]:
        """The operations, each with the promise that holds after it."""
        yield from zip(self.ops, self.promises, strict=True)


class PromiseBrokenError(AssertionError):
    """A power cut broke a promise."""


@dataclass
class Judge:
    """Recovers from disks, and says when that breaks a promise. The same disk is tried once for a promise."""

    tried: set[tuple[frozenset[tuple[str, bytes]], Promise]] = field(default_factory=set)

    def judge(self, files: Files, folders: set[str], promise: Promise) -> None:
        """Let a job go on from a disk.

        Raises:
            PromiseBrokenError: when it breaks a promise.
        """
        kept = {path: content for path, content in files.items() if not _is_proof(path)}
        key = frozenset(kept.items()), promise
        if key in self.tried:
            return
        self.tried.add(key)
        store = store_on(MemoryDisk(kept, folders))
        try:
            self._judge(store, promise)
        except (Exception, PanicException) as error:
            raise PromiseBrokenError(f"{promise}: {error}; the disk: {sorted(kept)}") from error

    def _judge(self, store: LocalCheckpoints, promise: Promise) -> None:
        store.claim()
        recovered = store.recover()
        number = 0 if recovered is None else recovered.number
        assert number >= promise.acknowledged, (
            f"checkpoint {promise.acknowledged} was lost, {number} is there"
        )
        assert number >= promise.published, f"{promise.published} is published, but {number} is there"
        if recovered is not None:
            assert_is(recovered, number)
            newest = recovered.decided[SINK][-1]
            assert (newest.checkpoint, published_by(store, newest)) == (number, output_of(number))
        write_checkpoint(store, number + 1)
        store.published(number + 1)
        store.collect_garbage()
        store.release()
        store.claim()
        again = store.recover()
        assert again is not None
        assert_is(again, number + 1)


def record(checkpoints: int, variant: Variant = lambda disk: disk) -> History:
    """Run a job that makes checkpoints on a disk, and write down all that it does."""
    disk = variant(RecordedDisk(MemoryDisk()))
    store, history = store_on(disk), History()
    store.claim()
    assert store.recover() is None
    history.upto(disk.log, Promise())
    for number in range(1, checkpoints + 1):
        write_checkpoint(store, number)
        history.upto(disk.log, Promise(number, number - 1))
        store.published(number)
        history.upto(disk.log, Promise(number, number))
        store.collect_garbage()
        history.upto(disk.log, Promise(number, number))
    return history


def cut_everywhere(history: History) -> int:
    """Cut the power after every operation, in every legal way; returns how many different disks that made."""
    judge, power = Judge(), Power()
    for op, promise in history.steps():
        if not _is_proof(op[1]):
            power.apply(op)
        for files in power.cuts():
            judge.judge(files, power.folders, promise)
    return len(judge.tried)


def kill_everywhere(history: History, variant: Variant = lambda disk: disk) -> int:
    """Kill the process after every operation, let the next one publish what it finds, and then cut the power."""
    judge, power = Judge(), Power()
    for op, promise in history.steps():
        if _is_proof(op[1]):
            continue
        power.apply(op)
        disk = variant(RecordedDisk(MemoryDisk(power.living(), power.folders)))
        store = store_on(disk)
        store.claim()
        recovered = store.recover()
        number = 0 if recovered is None else recovered.number
        after = power.copy()
        for each in disk.log:
            if not _is_proof(each[1]):
                after.apply(each)
        held = Promise(max(promise.acknowledged, number), max(promise.published, number))
        for files in after.cuts():
            judge.judge(files, after.folders, held)
    return len(judge.tried)


def _is_proof(path: str) -> bool:
    """Whether a file only proves what the file system can do, or is the lock: what is left of them does not matter."""
    return path.startswith("proof") or path == "LOCK"
