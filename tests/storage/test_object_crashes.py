"""Owners of one place that die, sleep, or lose an answer at any of their requests: output is exactly once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import pytest

from streame.errors import CheckpointError
from streame.state.checkpoint import object_garbage, object_recovery
from streame.state.checkpoint.collect import KEPT
from streame.state.checkpoint.manifest import Manifest
from streame.state.checkpoint.objects import ObjectCheckpoints
from streame.state.checkpoint.recovery import manifest_path
from streame.storage.bucket import NoAnswer, Occupied
from streame.storage.objects import ObjectStore, Patience, Taken
from tests.storage.memory_bucket import MemoryBucket
from tests.storage.object_job import Process, World

RECORDS = 4


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def _keep_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One checkpoint is kept: the fewer, the more a late request can bring back."""
    keep(1, monkeypatch)


def keep(checkpoints: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many checkpoints are kept."""
    monkeypatch.setattr(object_recovery, "KEPT", checkpoints)
    monkeypatch.setattr(object_garbage, "KEPT", checkpoints)


def moments() -> Iterator[tuple[int, bool]]:
    """Every request of a run, before and after it is carried out."""
    bucket = MemoryBucket()
    Process(World(bucket, RECORDS), "first").run()
    for number in range(1, len(bucket.requests) + 1):
        yield number, False
        yield number, True


def at(moment: tuple[int, bool], act: Callable[[World], None], records: int = RECORDS) -> World:
    """A world in which something happens once, at one moment of the run of whoever comes first."""
    bucket = MemoryBucket()
    world = World(bucket, records)

    def watch(number: int, carried_out: bool) -> None:
        if (number, carried_out) == moment:
            bucket.watch = None
            act(world)

    bucket.watch = watch
    return world


def kill(world: World) -> None:
    raise Killed


def lose_answer(world: World) -> None:
    raise NoAnswer("it was lost")


def die_after(bucket: MemoryBucket, requests: tuple[int, bool]) -> None:
    """The process that comes next dies at one of its requests."""
    then = (len(bucket.requests) + requests[0], requests[1])

    def watch(number: int, carried_out: bool) -> None:
        if (number, carried_out) == then:
            raise Killed

    bucket.watch = watch


def test_whenever_an_owner_dies_the_next_one_goes_on() -> None:
    for moment in moments():
        world = at(moment, kill)
        with suppress(Killed):
            Process(world, "first").run()
        Process(world, "second", step=2).run()
        world.assert_complete()


def test_two_owners_in_a_row_may_die() -> None:
    for moment in list(moments())[::7]:
        for second in list(moments())[::9]:
            world = at(moment, kill)
            assert isinstance(world.bucket, MemoryBucket)
            with suppress(Killed):
                Process(world, "first").run()
            die_after(world.bucket, second)
            with suppress(Killed):
                Process(world, "second", step=3).run()
            world.bucket.watch = None
            Process(world, "third", step=2).run()
            world.assert_complete()


def test_whichever_answer_is_lost_the_owner_goes_on() -> None:
    for moment in moments():
        world = at(moment, lose_answer)
        Process(world, "first").run()
        world.assert_complete()


def test_whenever_an_owner_falls_asleep_another_takes_over_and_the_first_stops() -> None:
    ends = 0
    for moment in moments():
        world = at(moment, lambda world: Process(world, "second", step=2).run(), 2 * RECORDS)
        ends += Process(world, "first").goes_on()
        world.assert_complete()
    # Only who had claimed after the other, or had nothing left to decide, comes to the end.
    assert 0 < ends < len(list(moments())) / 2


def test_two_owners_at_work_by_turns() -> None:
    """The second one has only taken over when the first goes on, to its end or until it stops; then the second does."""
    for moment in moments():
        others: list[Process] = []

        def take_over(world: World, others: list[Process] = others) -> None:
            others.append(Process(world, "second", step=2))
            others[0].begin()

        world = at(moment, take_over)
        ends = [Process(world, "first").goes_on(), *(each.goes_on_from_here() for each in others)]
        assert any(ends)
        world.assert_complete()


def test_a_new_owner_is_at_work_while_the_old_one_collects_garbage() -> None:
    """Its pack is there, and its manifest is not yet."""
    world = World(MemoryBucket(), 2 * RECORDS)
    first, second = Process(world, "first"), Process(world, "second")
    assert isinstance(world.bucket, MemoryBucket)
    bucket = world.bucket
    first.begin()
    first.checkpoint()
    second.begin()

    def watch(number: int, carried_out: bool) -> None:
        if bucket.requests[-1][1].startswith("m/") and bucket.requests[-1][0] == "create":
            bucket.watch = None
            first.checkpoints.collect_garbage()

    bucket.watch = watch
    assert second.goes_on_from_here()
    Process(world, "third").run()
    world.assert_complete()


class LateBucket(MemoryBucket):
    """A bucket in which one request is on its way for long, while somebody else does something."""

    number = 0
    on_its_way: tuple[str, bytes] | None = None
    meanwhile: Callable[[], None]
    arrives_at_once = False

    def create(self, name: str, data: bytes) -> None:
        """See `Bucket`."""
        if len(self.requests) + 1 != self.number:
            super().create(name, data)
            return
        self.requests.append(("create", name))
        self.on_its_way = (name, data)
        self.meanwhile()
        if self.arrives_at_once:
            self.arrive()
        raise NoAnswer("it is on its way")

    def arrive(self) -> None:
        """It arrives, whenever that is."""
        if self.on_its_way is not None:
            self.objects.setdefault(*self.on_its_way)


@pytest.mark.parametrize(("kept", "at_once"), [(1, True), (1, False), (KEPT, True)])
def test_a_put_that_arrives_long_after_another_owner_has_come_and_gone(
    monkeypatch: pytest.MonkeyPatch, kept: int, *, at_once: bool
) -> None:
    """Its number may have been removed by then; it arrives before its sender reads it back, or long after."""
    keep(kept, monkeypatch)
    tried = MemoryBucket()
    Process(World(tried, RECORDS), "first").run()
    for number in [number for number, (kind, _) in enumerate(tried.requests, 1) if kind == "create"]:
        bucket = LateBucket()
        bucket.number, bucket.arrives_at_once = number, at_once
        world = World(bucket, 3 * RECORDS)
        bucket.meanwhile = Process(world, "second", step=2).run
        Process(world, "first").goes_on()
        bucket.arrive()
        Process(world, "third").run()
        world.assert_complete()


def test_a_store_that_falls_silent_stops_the_job_and_a_new_one_goes_on() -> None:
    for moment in list(moments())[::3]:
        bucket = MemoryBucket()
        world = World(bucket, RECORDS)
        first = Process(world, "first", patience=Patience(0.003, 0.001))
        bucket.watch = silent_from(moment)
        with suppress(CheckpointError):
            first.run()
        if first.checkpoints._trouble is not None:
            with pytest.raises(CheckpointError, match="no answer"):
                first.checkpoint()
        bucket.watch = None
        Process(world, "second", step=2).run()
        world.assert_complete()


def silent_from(moment: tuple[int, bool]) -> Callable[[int, bool], None]:
    """No answer any more, from one moment on."""
    silent = False

    def watch(number: int, carried_out: bool) -> None:
        nonlocal silent
        silent = silent or (number, carried_out) == moment
        if silent:
            raise NoAnswer("the line is dead")

    return watch


# What the tests above would say of owners that leave out a rule.


def put_without_reading_back(store: ObjectStore, name: str, data: bytes) -> None:
    """Takes every error for a loss."""
    try:
        store._bucket.create(name, data)
    except (Occupied, NoAnswer):
        raise Taken(name, b"") from None


def put_whatever_is_there(store: ObjectStore, name: str, data: bytes) -> None:
    """Overwrites."""
    bucket = store._bucket
    assert isinstance(bucket, MemoryBucket)
    bucket.objects.pop(name, None)
    bucket.create(name, data)


def put_and_hope(store: ObjectStore, name: str, data: bytes) -> None:
    """Takes a loss for a success."""
    with suppress(Occupied):
        store._bucket.create(name, data)


@pytest.mark.parametrize(
    ("put", "test"),
    [
        (put_without_reading_back, test_whichever_answer_is_lost_the_owner_goes_on),
        (put_whatever_is_there, test_whenever_an_owner_falls_asleep_another_takes_over_and_the_first_stops),
        (put_and_hope, test_whenever_an_owner_falls_asleep_another_takes_over_and_the_first_stops),
    ],
)
def test_a_wrong_put_is_caught(
    monkeypatch: pytest.MonkeyPatch, put: Callable[..., None], test: Callable[[], None]
) -> None:
    monkeypatch.setattr(ObjectStore, "put_new", put)
    with pytest.raises((AssertionError, CheckpointError, NoAnswer)):
        test()


def test_an_owner_that_does_not_look_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(checkpoints: ObjectCheckpoints, number: int, content: bytes) -> None:
        checkpoints._store.put_new(manifest_path(number), content)

    monkeypatch.setattr(ObjectCheckpoints, "_decide", decide)
    with pytest.raises(AssertionError):
        test_a_put_that_arrives_long_after_another_owner_has_come_and_gone(monkeypatch, 1, at_once=True)


def test_an_owner_that_deletes_what_it_does_not_know_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def old_files(
        paths: list[str], last: int, kept: Mapping[int, Manifest], unclaimed: frozenset[str]
    ) -> list[str]:
        needed = {file.path for manifest in kept.values() for file in manifest.files} | unclaimed
        return [path for path in paths if path not in needed]

    monkeypatch.setattr(object_garbage, "old_files", old_files)
    with pytest.raises((AssertionError, CheckpointError)):
        test_a_new_owner_is_at_work_while_the_old_one_collects_garbage()
