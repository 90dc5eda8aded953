"""Simulated threads do what real ones do, in an order that the seed draws, and time passes only for them."""

from collections.abc import Callable
from queue import Empty

import pytest

from streame.testing.simulation import scheduler, threads
from streame.testing.simulation.pools import ThreadPoolExecutor
from streame.testing.simulation.scheduler import Host, Scheduler, Stuck

HOST = Host("one")


def run(*threads_: Callable[[], object], seed: int = 0, until_s: float = 100.0) -> Scheduler:
    """Run threads until all have ended."""
    sim = Scheduler(seed)
    scheduler.enter(sim)
    try:
        tasks = [sim.spawn(HOST, f"thread {number}", thread) for number, thread in enumerate(threads_)]

        def last() -> None:
            for task in tasks:
                while not task.done:
                    sim.sleep(0.001)
            sim.is_over = True

        sim.spawn(Host("the world"), "last", last)
        sim.run(until_s, 100_000)
    finally:
        sim.close()
        scheduler.leave()
    return sim


@pytest.mark.parametrize("seed", range(20))
def test_a_lock_lets_in_one_at_a_time(seed: int) -> None:
    lock = threads.Lock()
    counts = [0]

    def add() -> None:
        for _ in range(20):
            with lock:
                before = counts[0]
                scheduler.scheduler().sleep(0.001)
                counts[0] = before + 1

    run(add, add, add, seed=seed)
    assert counts == [60]


@pytest.mark.parametrize("seed", range(20))
def test_no_wake_up_is_lost(seed: int) -> None:
    changed = threads.Condition()
    given: list[int] = []
    taken: list[int] = []

    def give() -> None:
        for number in range(30):
            with changed:
                given.append(number)
                changed.notify()

    def take() -> None:
        while len(taken) < 30:
            with changed:
                changed.wait_for(lambda: given)
                taken.append(given.pop(0))

    run(give, take, seed=seed)
    assert taken == list(range(30))


def test_waiting_takes_as_long_as_it_says_and_no_real_time() -> None:
    heard: list[object] = []

    def wait() -> None:
        sim = scheduler.scheduler()
        heard.append(threads.Event().wait(20.0))
        heard.append(round(sim.now, 1))
        with pytest.raises(Empty):
            threads.SimpleQueue().get(timeout=20.0)
        heard.append(round(sim.now, 1))
        with threads.Condition() as condition:
            assert condition
        lock = threads.Lock()
        lock.acquire()
        heard.append(lock.acquire(timeout=20.0))
        heard.append(round(sim.now, 1))

    run(wait)
    assert heard == [False, 20.0, 40.0, False, 60.0]


def test_a_deadlock_is_said_with_stacks() -> None:
    first, second = threads.Lock(), threads.Lock()

    def take(one: threads.Lock, other: threads.Lock) -> None:
        with one:
            scheduler.scheduler().sleep(1)
            with other:
                pass

    sim = Scheduler(0)
    scheduler.enter(sim)
    try:
        sim.spawn(HOST, "left", lambda: take(first, second))
        sim.spawn(HOST, "right", lambda: take(second, first))
        with pytest.raises(Stuck, match="every thread waits"):
            sim.run(100.0, 1_000)
        assert "left" in sim.stacks()
    finally:
        sim.close()
        scheduler.leave()


def test_a_paused_process_does_nothing_and_a_dead_one_never_again() -> None:
    host, seen = Host("two"), list[float]()
    sim = Scheduler(0)
    scheduler.enter(sim)

    def tick() -> None:
        try:
            while True:
                sim.sleep(1.0)
                seen.append(round(sim.now))
        finally:
            assert sim.is_closing

    def world() -> None:
        sim.sleep(2.5)
        host.is_paused = True
        sim.sleep(3.0)
        sim.resume(host)
        sim.sleep(2.0)
        host.is_dead = True
        sim.sleep(5.0)
        sim.is_over = True

    try:
        sim.spawn(host, "tick", tick)
        sim.spawn(HOST, "world", world)
        sim.run(100.0, 1_000)
    finally:
        sim.close()
        scheduler.leave()
    assert seen[:2] == [1, 2]
    assert len(seen) == 4
    assert all(time >= 5 for time in seen[2:])


def test_a_pool_answers_in_order_and_says_what_was_raised() -> None:
    answers: list[object] = []

    def ask() -> None:
        with ThreadPoolExecutor(3) as pool:
            answers.extend(pool.map(lambda number: 10 // number, [1, 2, 5]))
            with pytest.raises(ZeroDivisionError):
                pool.submit(lambda: 1 // 0).result()

    run(ask)
    assert answers == [10, 5, 2]


def test_threads_take_turns_differently_for_another_seed() -> None:
    def order(seed: int) -> list[str]:
        said: list[str] = []

        def talk(name: str) -> None:
            lock = threads.Lock()
            for _ in range(30):
                with lock:
                    said.append(name)

        run(lambda: talk("a"), lambda: talk("b"), seed=seed)
        return said

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) > 1
