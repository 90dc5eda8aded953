"""Puts simulated threads, time and randomness in the place of real ones, in the modules of Streame alone."""

import queue
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

from streame.testing.simulation import pools, threads
from streame.testing.simulation.scheduler import host, scheduler

BOOT_S = 1_000.0
"""What the clock that only goes on shows at the beginning."""

START_S = 1_700_000_000.0
"""What the time of day is at the beginning, in seconds since 1970."""

NOT_SIMULATED = ("streame.testing.simulation", "streame.core.failpoints")
"""Modules that keep what is real."""


def _monotonic() -> float:
    sim = scheduler()
    offset_s = sim.current.host.offset_s if sim.current is not None else 0.0
    return BOOT_S + offset_s + sim.now


def _monotonic_ns() -> int:
    return int(_monotonic() * 1e9)


def _clock_gettime_ns(_: int) -> int:
    return _monotonic_ns()


def _time() -> float:
    return START_S + _monotonic()


def _time_ns() -> int:
    return int(_time() * 1e9)


def _sleep(duration_s: float) -> None:
    scheduler().sleep(duration_s)


def _token_hex(count: int = 32) -> str:
    return f"{scheduler().rng.getrandbits(8 * count):0{2 * count}x}"


def _randbelow(limit: int) -> int:
    return scheduler().rng.randrange(limit)


TIME = SimpleNamespace(
    monotonic=_monotonic,
    monotonic_ns=_monotonic_ns,
    perf_counter=_monotonic,
    perf_counter_ns=_monotonic_ns,
    time=_time,
    time_ns=_time_ns,
    sleep=_sleep,
    CLOCK_MONOTONIC=1,
    clock_gettime_ns=_clock_gettime_ns,
)

THREADING = SimpleNamespace(
    Thread=threads.Thread,
    Lock=threads.Lock,
    RLock=threads.RLock,
    Condition=threads.Condition,
    Event=threads.Event,
    Semaphore=threads.Semaphore,
    BoundedSemaphore=threads.Semaphore,
    current_thread=threads.current_thread,
    main_thread=threading.main_thread,
)

SECRETS = SimpleNamespace(token_hex=_token_hex, randbelow=_randbelow)

INSTEAD: tuple[tuple[object, object], ...] = (
    (threading, THREADING),
    (time, TIME),
    (secrets, SECRETS),
    (secrets.token_hex, _token_hex),
    (queue.SimpleQueue, threads.SimpleQueue),
    (futures.ThreadPoolExecutor, pools.ThreadPoolExecutor),
)


def new_owner() -> str:
    """In place of the name of a process, which has a number that the seed does not know."""
    return f"{host().name}, process 1, {_token_hex(8)}"


@contextmanager
def simulated(others: Mapping[tuple[str, str], Any]) -> Iterator[None]:
    """Put it all in place, for as long as the context lasts.

    Args:
        others: more that is replaced, by module and name.
    """
    found = [*_places(), *((sys.modules[place], name, new) for (place, name), new in others.items())]
    before = [(module, name, getattr(module, name)) for module, name, _ in found]
    try:
        for module, name, new in found:
            setattr(module, name, new)
        yield
    finally:
        for module, name, real in reversed(before):
            setattr(module, name, real)


@cache
def _places() -> list[tuple[Any, str, object]]:
    """Where something real is used: module, name, and what is put there."""
    instead = {id(real): new for real, new in INSTEAD}
    return [
        (module, name, instead[id(value)])
        for place, module in sys.modules.items()
        if place.startswith("streame.") and not place.startswith(NOT_SIMULATED)
        for name, value in vars(module).items()
        if id(value) in instead
    ]
