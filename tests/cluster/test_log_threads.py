"""Threads that append to the log of a cluster at the same time."""

import threading

import pytest

from streame.errors import Superseded
from tests.cluster.log_place import Place, rows
from tests.cluster.worlds import World


@pytest.fixture
def place(world: World) -> Place:
    """The twin, and real etcds."""
    return Place(world.etcd, world.prefix)


def test_records_that_come_while_a_segment_is_written_go_together_into_the_next() -> None:
    place = Place()
    log, began, go_on = place.opened(), threading.Event(), threading.Event()

    def held(number: int, is_done: bool) -> None:
        if place.bucket.requests[-1][0] == "create" and not is_done:
            began.set()
            assert go_on.wait(10)

    place.bucket.watch = held
    positions: dict[bytes, int] = {}

    def append(record: bytes) -> None:
        positions[record] = log.append(record)

    threads = [threading.Thread(target=append, args=(b"%d" % number,)) for number in range(16)]
    threads[0].start()
    assert began.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(log._waiting) < 15:
        pass
    go_on.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    place.bucket.watch = None
    assert sorted(positions.values()) == list(range(16))
    assert len(place.segments()) == 2
    assert dict(rows(place.opened())) == {position: record for record, position in positions.items()}


def test_many_threads_append_remove_and_read(place: Place) -> None:
    log = place.opened()
    positions: list[dict[bytes, int]] = [{} for _ in range(16)]
    wrong: list[BaseException] = []

    def append(thread: int) -> None:
        try:
            for number in range(20):
                record = b"%d/%d" % (thread, number)
                positions[thread][record] = log.append(record)
                if number % 7 == thread % 7:
                    log.truncate_before(min(min(each.values(), default=0) for each in positions))
                    log.find_room(1)
                    assert log.length > 0
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=append, args=(thread,)) for thread in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
        assert not each.is_alive()
    assert wrong == []
    given = {position: record for of_one in positions for record, position in of_one.items()}
    assert sorted(given) == list(range(320))
    for of_thread in positions:
        assert list(of_thread.values()) == sorted(of_thread.values())
    found = rows(place.opened())
    assert found == sorted(given.items())[found[0][0] :]


def test_what_fails_is_said_to_everybody_whose_record_was_in_it() -> None:
    place = Place()
    log, began = place.opened(), threading.Event()

    def held(number: int, is_done: bool) -> None:
        if place.bucket.requests[-1][0] == "create" and not is_done and not began.is_set():
            began.set()
            while len(log._waiting) < 4:
                pass
            place.elect()

    place.bucket.watch = held
    errors: list[BaseException] = []

    def append() -> None:
        try:
            log.append(b"x")
        except Superseded as error:
            errors.append(error)

    threads = [threading.Thread(target=append) for _ in range(5)]
    threads[0].start()
    assert began.wait(10)
    for each in threads[1:]:
        each.start()
    for each in threads:
        each.join(10)
    assert len({id(error) for error in errors}) == 5
    assert rows(place.opened()) == []
