"""Flipped bytes anywhere in a store: each one is noticed, and no wrong value is ever loaded."""

from collections.abc import Iterator

import numpy as np
import pytest

from streame.errors import CheckpointDamaged
from tests.state.checkpoint.counting_job import assert_is, store_on, write_checkpoint
from tests.storage.memory_disk import MemoryDisk


def files_after(count: int, *, with_output: bool) -> dict[str, bytes]:
    """The files of a store with some checkpoints."""
    disk = MemoryDisk()
    store = store_on(disk)
    store.claim()
    store.recover()
    for number in range(1, count + 1):
        write_checkpoint(store, number, with_output=with_output)
        store.published(number)
        store.collect_garbage()
    return {path: bytes(content) for path, content in disk.files.items()}


def flipped(files: dict[str, bytes], path: str, place: int, bits: int) -> MemoryDisk:
    """A disk with the files, of which one has another byte."""
    content = bytearray(files[path])
    content[place] ^= bits
    return MemoryDisk({**files, path: bytes(content)}, ["m", "out", "state"])


def places(files: dict[str, bytes], begin: str) -> Iterator[tuple[str, int]]:
    """Every byte of the files of the last checkpoint below a folder."""
    for path, content in files.items():
        if path.startswith(begin) and "/3" in path:
            yield from ((path, place) for place in range(len(content)))


def recovered_number(disk: MemoryDisk) -> int:
    store = store_on(disk)
    store.claim()
    recovered = store.recover()
    assert recovered is not None
    assert_is(recovered, recovered.number)
    return recovered.number


def test_every_byte_of_the_manifest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    files = files_after(3, with_output=True)
    silent = files_after(3, with_output=False)
    for path, place in places(files, "m/3.json"):
        with pytest.raises(CheckpointDamaged, match="checkpoint 3"):
            recovered_number(flipped(files, path, place, int(rng.integers(1, 256))))
    for path, place in places(silent, "m/3.json"):
        assert recovered_number(flipped(silent, path, place, int(rng.integers(1, 256)))) == 2


def test_500_bytes_of_packs_and_of_staged_output(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for begin, with_output in (("state/", True), ("out/", True), ("state/", False)):
        files = files_after(3, with_output=with_output)
        every = list(places(files, begin))
        for choice in rng.choice(len(every), 500).tolist():
            path, place = every[choice]
            disk = flipped(files, path, place, int(rng.integers(1, 256)))
            if with_output:
                with pytest.raises(CheckpointDamaged, match=path):
                    recovered_number(disk)
            else:
                assert recovered_number(disk) == 2


def test_files_that_are_cut_off_or_gone() -> None:
    files = files_after(3, with_output=True)
    for path in ("m/3.json", "state/3/0.1.pack", "out/3/out%2Fsink.0.out"):
        for content in (files[path][:-1], files[path] + b"x", b""):
            with pytest.raises(CheckpointDamaged, match="checkpoint 3"):
                recovered_number(MemoryDisk({**files, path: content}, ["m", "out", "state"]))
        if not path.startswith("m/"):
            left = {other: content for other, content in files.items() if other != path}
            with pytest.raises(CheckpointDamaged, match="it is not there"):
                recovered_number(MemoryDisk(left, ["m", "out", "state", "state/3", "out/3"]))


def test_a_pack_that_goes_after_it_was_checked() -> None:
    disk = MemoryDisk(files_after(3, with_output=True), ["m", "out", "state"])
    store = store_on(disk)
    store.claim()
    recovered = store.recover()
    assert recovered is not None
    del disk.files["state/3/0.1.pack"]
    with pytest.raises(CheckpointDamaged, match=r"state/3/0.1.pack: it is not there.*restore the file"):
        assert_is(recovered, 3)
