"""Damaged checkpoints in an object store: none is half loaded."""

from collections.abc import Callable
from random import Random

import pytest

from streame.errors import CheckpointDamaged, CheckpointError
from streame.state.checkpoint.inspection import read_checkpoint
from streame.state.checkpoint.manifest import Foreign
from streame.state.checkpoint.owned import decode_owned, encode_owned, repeated
from streame.state.checkpoint.sealed import Broken
from streame.storage.objects import ObjectStore
from tests.storage.memory_bucket import MemoryBucket
from tests.storage.object_job import JOB, QUICK, Process, World, run_a_job

DAMAGES: list[Callable[[bytes], bytes | None]] = [
    lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    lambda data: data[:-1],
    lambda data: data + b"\0",
    lambda data: b"",
    lambda data: None,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=["flipped", "short", "long", "empty", "gone"])
@pytest.mark.parametrize("folder", ["state", "out", "m"])
def test_damage_that_could_lose_output_stops_the_job(
    folder: str, damage: Callable[[bytes], bytes | None]
) -> None:
    bucket = MemoryBucket()
    run_a_job(bucket, 5)
    name = max(bucket.names(folder), key=lambda each: int(each.split("/")[1].partition(".")[0]))
    damaged = damage(bucket.objects.pop(name))
    if damaged is not None:
        bucket.objects[name] = damaged
    elif folder == "m":
        return  # nobody can tell that it was ever there: that is why nothing but this program may delete here
    for owner in ("second", "third"):
        process = Process(World(bucket, 9), owner)
        process.checkpoints.claim()
        with pytest.raises(
            CheckpointDamaged, match=r"memory://bucket: checkpoint \d+: .*could lose or double"
        ):
            process.checkpoints.recover()
        process.checkpoints.release()


def test_flipped_bits_anywhere_are_noticed(seed: int) -> None:
    bucket = MemoryBucket()
    run_a_job(bucket, 5)
    store, random = ObjectStore(bucket, QUICK), Random(seed)
    manifest = read_checkpoint(store)
    needed = [f"m/{manifest.number}.json", "FORMAT", "FIRST", *(file.path for file in manifest.files)]
    for _ in range(150):
        objects = dict(bucket.objects)
        name = random.choice(needed)
        flipped = bytearray(objects[name])
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
        objects[name] = bytes(flipped)
        process = Process(World(MemoryBucket(objects), 9), "second")
        with pytest.raises(CheckpointError):
            process.begin()
        process.checkpoints.release()


@pytest.mark.parametrize("damage", DAMAGES[:4], ids=["flipped", "short", "long", "empty"])
@pytest.mark.parametrize("folder", ["state", "m"])
def test_a_damaged_checkpoint_that_nobody_has_seen_is_gone_behind(
    folder: str, damage: Callable[[bytes], bytes | None]
) -> None:
    bucket = MemoryBucket()
    run_a_job(bucket, 5, output=False)
    name = max(bucket.names(folder))
    bucket.objects[name] = damage(bucket.objects[name]) or b""
    world = World(bucket, 9)
    process = Process(world, "second", acknowledges=False, with_output=False)
    process.begin()
    assert process.state.last == 4
    process.checkpoints.release()
    process = Process(world, "third", acknowledges=False, with_output=False)
    process.begin()
    assert process.state.last == 4
    process.goes_on_from_here()
    process = Process(world, "fourth", acknowledges=False, with_output=False)
    process.begin()
    assert process.state.last == 9
    process.checkpoints.release()


def test_every_flipped_bit_of_a_manifest_is_noticed() -> None:
    owned = repeated(None, 7, 3, "somebody", JOB)
    data = encode_owned(owned)
    assert decode_owned(data, 7, JOB) == owned
    assert decode_owned(data, 7, None) == owned
    assert isinstance(decode_owned(data, 8, JOB), Broken)
    assert decode_owned(data, 7, "another") == Foreign(JOB)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert isinstance(decode_owned(bytes(flipped), 7, JOB), Broken), bit
