"""No power cut loses a checkpoint that counts, loads a torn one, or leaves the output ahead: all legal disks, tried out."""

from collections.abc import Callable

import pytest

from streame.errors import CheckpointError
from streame.state.checkpoint import collect, outbox, packs, recovery
from tests.state.checkpoint.counting_job import assert_is, store_on, write_checkpoint
from tests.state.checkpoint.power_cuts import (
    PromiseBrokenError,
    cut_everywhere,
    kill_everywhere,
    record,
)
from tests.storage.memory_disk import MemoryDisk, RecordedDisk
from tests.storage.power_cut import Power


def test_four_checkpoints_and_their_garbage_survive_every_power_cut() -> None:
    disks = cut_everywhere(record(4))
    print(f"{disks} disks")
    assert disks > 100


def test_output_is_never_ahead_of_what_a_power_cut_leaves() -> None:
    disks = kill_everywhere(record(4))
    print(f"{disks} disks")
    assert disks > 50


@pytest.fixture
def _keep_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last checkpoint is kept, so that whatever is deleted too early is missed."""
    monkeypatch.setattr(collect, "KEPT", 1)


@pytest.mark.usefixtures("_keep_one")
def test_the_order_of_deleting_is_safe_even_if_one_checkpoint_is_kept() -> None:
    assert cut_everywhere(record(3)) > 100


class WithoutDataSync(RecordedDisk):
    """A writer that does not sync the files with state and output."""

    def sync(self, path: str) -> None:
        if not path.endswith((".pack.tmp", ".out.tmp")):
            super().sync(path)


class WithoutManifestSync(RecordedDisk):
    """A writer that does not sync manifests."""

    def sync(self, path: str) -> None:
        if not path.startswith("m/"):
            super().sync(path)


class WithoutNameSync(RecordedDisk):
    """A writer that does not make the name of a manifest last."""

    def sync_directory(self, path: str) -> None:
        if path != "m":
            super().sync_directory(path)


class WithoutNamesOfFilesSync(RecordedDisk):
    """A writer that does not make the names of packs and of output last."""

    def sync_directory(self, path: str) -> None:
        if not path.startswith(("state", "out")):
            super().sync_directory(path)


class Deaf(RecordedDisk):
    """Syncs nothing below the folder itself: a recovery without R0."""

    def sync(self, path: str) -> None:
        if "/" not in path:
            super().sync(path)

    def sync_directory(self, path: str) -> None:
        if not path:
            super().sync_directory(path)


class CollectingEarly(RecordedDisk):
    """A writer that deletes old checkpoints before the name of the new one lasts."""

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        if target.startswith("m/"):
            known = recovery.read_store(self, None).manifests
            collect.collect(self, max(known), known, set())


class WithoutAnySync(WithoutDataSync):
    """A writer that syncs no file at all."""

    def sync(self, path: str) -> None:
        pass


def caught(make: Callable[[RecordedDisk], RecordedDisk], checkpoints: int = 2) -> str:
    """What the enumeration finds wrong with a writer."""
    with pytest.raises(PromiseBrokenError) as found:
        cut_everywhere(record(checkpoints, make))
    return str(found.value)


def on(kind: type[RecordedDisk]) -> Callable[[RecordedDisk], RecordedDisk]:
    return lambda disk: kind(disk.inner, disk.log)


@pytest.mark.parametrize(
    "kind", [WithoutDataSync, WithoutManifestSync, WithoutNameSync, WithoutNamesOfFilesSync, WithoutAnySync]
)
def test_a_writer_that_leaves_out_a_sync_is_caught(kind: type[RecordedDisk]) -> None:
    text = caught(on(kind))
    assert (
        "lost" in text or "are gone" in text or "damaged" in text or "not there" in text or "bytes" in text
    ), text


@pytest.mark.usefixtures("_keep_one")
def test_a_writer_that_deletes_too_early_is_caught() -> None:
    with pytest.raises(PromiseBrokenError):
        cut_everywhere(record(3, on(CollectingEarly)))


def test_a_recovery_without_r0_is_caught() -> None:
    with pytest.raises(
        PromiseBrokenError, match=r"was lost, 0 is there|is published, but|all checkpoints are gone"
    ):
        kill_everywhere(record(2), on(Deaf))


def test_a_reader_that_checks_no_digest_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "damage", lambda disk, file: None)
    monkeypatch.setattr(outbox, "damage", lambda disk, file: None)
    monkeypatch.setattr(packs, "_check", lambda chunk, content: None)
    with pytest.raises(PromiseBrokenError) as found:
        cut_everywhere(record(2, on(WithoutDataSync)))
    assert not isinstance(
        found.value.__cause__, CheckpointError
    )  # nobody noticed before the values were wrong


def test_a_damaged_checkpoint_that_nobody_has_seen_is_put_aside_for_good() -> None:
    """Going back is an act of its own: a power cut in its midst leaves one checkpoint or the other, never none."""
    disk = RecordedDisk(MemoryDisk())
    store = store_on(disk)
    store.claim()
    store.recover()
    for number in (1, 2):
        write_checkpoint(store, number, with_output=False)
        store.published(number)
    store.release()
    power = Power()
    for op in disk.log:
        power.apply(op)
    files = power.living()
    files["m/2.json"] = files["m/2.json"][:-1]
    damaged = RecordedDisk(MemoryDisk(files, power.folders))
    store = store_on(damaged)
    store.claim()
    recovered = store.recover()
    assert recovered is not None
    assert_is(recovered, 1)
    assert damaged.names("quarantine") == ["m-2.json.0"]
    power = Power.of(files, power.folders)
    for op in damaged.log:
        power.apply(op)
        for left in power.cuts():
            again = store_on(MemoryDisk(left, power.folders))
            again.claim()
            found = again.recover()
            assert found is not None
            assert_is(found, 1)
