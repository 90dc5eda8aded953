"""The scheduler of a simulation: threads that take turns as a seed wants it, and a clock that only moves for them."""

import traceback
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from random import Random

from greenlet import getcurrent, greenlet

STEP_S = 20e-6
"""How long a step takes: time goes on even for those who never wait."""

SWITCH_EVERY = 12
"""After so many chances to let another thread go on, one is taken, on average."""

STALL_CHANCE = 0.02
"""How often a thread that lets others go on is left aside for a while."""

STALL_S_MAX = 0.05


class Dead(BaseException):
    """The process of this thread does not exist any more; raised only when a simulation is cleared away."""


class Stuck(Exception):  # noqa: N818 - what happened
    """Every thread waits for another one, or the time is over."""


class Host:
    """A simulated process: all threads that it has started.

    Args:
        name: of the machine.
        offset_s: how far its clocks are off.
    """

    def __init__(self, name: str, offset_s: float = 0.0) -> None:
        self.name, self.offset_s = name, offset_s
        self.is_dead = False
        self.is_paused = False
        self.frozen: list[SimTask] = []


class SimTask:
    """A simulated thread.

    Args:
        host: the process that it belongs to.
        name: for messages.
        run: what it does.
        number: of the task, in the order in which they began.
        parent: the scheduler's own thread.
    """

    __slots__ = ("done", "green", "host", "name", "number", "token", "waits", "watchers", "woken")

    def __init__(
        self, host: Host, name: str, run: Callable[[], object], number: int, parent: greenlet
    ) -> None:
        self.host, self.name, self.number = host, name, number
        self.green = greenlet(self._guarded(run), parent)
        self.token = 0
        self.waits = False
        self.woken = False
        self.done = False
        self.watchers: list[SimTask] = []

    def _guarded(self, run: Callable[[], object]) -> Callable[[], None]:
        def guarded() -> None:
            with suppress(Dead):
                run()

        return guarded


class Scheduler:
    """Runs tasks one at a time.

    Args:
        seed: what is drawn follows from it.
    """

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)  # noqa: S311 - it is to be the same again
        self.now = 0.0
        self.steps = 0
        self.is_over = False
        """Whether nothing is left to be looked at."""
        self.is_closing = False
        self.is_atomic = False
        """Whether nobody else may go on for now: within a service, which does one thing at a time."""
        self.current: SimTask | None = None
        self.error: BaseException | None = None
        self._hub = getcurrent()
        self._ready: list[SimTask] = []
        self._timers: list[tuple[float, int, SimTask | Callable[[], None], int]] = []
        self._numbers = 0
        self._alive: dict[int, SimTask] = {}
        self._chances = SWITCH_EVERY

    def spawn(self, host: Host, name: str, run: Callable[[], object]) -> SimTask:
        """Start a thread of a process."""
        self._numbers += 1
        task = SimTask(host, name, run, self._numbers, self._hub)
        self._alive[task.number] = task
        self._ready.append(task)
        return task

    def at(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something later; it must not wait."""
        self._numbers += 1
        heappush(self._timers, (self.now + delay_s, self._numbers, act, 0))

    def block(self, until: float | None) -> bool:
        """Wait until somebody calls `wake`, which is true, or until a time."""
        task = self.current
        if self.is_closing or task is None:
            raise Dead
        assert not self.is_atomic, "a service must not wait"
        task.token += 1
        task.waits, task.woken = True, False
        if until is not None:
            self._numbers += 1
            heappush(self._timers, (until, self._numbers, task, task.token))
        self._hub.switch()
        if self.is_closing:
            raise Dead
        return task.woken

    def wake(self, task: "SimTask") -> None:
        """Let a task go on that waits."""
        if task.waits:
            task.waits, task.woken = False, True
            self._ready.append(task)

    def sleep(self, duration_s: float) -> None:
        """Wait for some time."""
        self.block(self.now + duration_s)

    def chance(self) -> None:
        """Let another thread go on, now and then."""
        self._chances -= 1
        if self._chances > 0 or self.is_closing or self.is_atomic:
            return
        random = self.rng.random
        self._chances = 1 + int(random() * 2 * SWITCH_EVERY)
        task = self.current
        if task is None:
            return
        if random() < STALL_CHANCE:
            self.sleep(random() * STALL_S_MAX)
            return
        self._ready.append(task)
        self._hub.switch()
        if self.is_closing:
            raise Dead

    def resume(self, host: Host) -> None:
        """Let the threads of a process go on that was paused."""
        host.is_paused = False
        frozen, host.frozen = host.frozen, []
        self._ready += frozen

    def run(self, until: float, steps_max: int) -> None:
        """Let tasks go on until it is over, or something is wrong.

        Raises:
            Stuck: when nobody can go on, or time or steps are used up.
        """
        ready, timers, random = self._ready, self._timers, self.rng.random
        while not self.is_over:
            if self.error is not None:
                raise self.error
            if ready:
                at = int(random() * len(ready))
                ready[at], ready[-1] = ready[-1], ready[at]
                self._step(ready.pop())
            elif timers:
                self.now = max(self.now, timers[0][0])
            else:
                raise Stuck("every thread waits for another one")
            while timers and timers[0][0] <= self.now:
                _, _, what, token = heappop(timers)
                if isinstance(what, SimTask):
                    if what.waits and what.token == token:
                        what.waits = False
                        ready.append(what)
                else:
                    what()
            if self.now > until:
                raise Stuck(f"it is not over at {self.now:.1f} s")
            if self.steps > steps_max:
                raise Stuck(f"it is not over after {self.steps:,} steps, at {self.now:.1f} s")

    def _step(self, task: SimTask) -> None:
        host = task.host
        if host.is_dead:
            return
        if host.is_paused:
            host.frozen.append(task)
            return
        self.steps += 1
        self.now += STEP_S
        self.current = task
        try:
            task.green.switch()
        except BaseException as error:
            self.error = error
            error.add_note(f"in {task.host.name}, thread {task.name}")
        self.current = None
        if task.green.dead:
            self._ended(task)

    def _ended(self, task: SimTask) -> None:
        task.done = True
        self._alive.pop(task.number, None)
        for watcher in task.watchers:
            self.wake(watcher)
        task.watchers.clear()

    def stacks(self) -> str:
        """Where every thread stands."""
        parts = []
        for task in self._alive.values():
            frame = task.green.gr_frame
            if frame is None or task.host.is_dead:
                continue
            lines = traceback.format_stack(frame)
            own = [line for line in lines if "simulation/" not in line.split("\n")[0]]
            state = "paused" if task.host.is_paused else "waits" if task.waits else "ready"
            parts.append(f"--- {task.host.name} / {task.name} ({state})\n{''.join(own[-4:])}")
        return "\n".join(parts)

    def close(self) -> None:
        """Clear everything away: threads that are left are ended, and nothing that they do has any effect."""
        self.is_closing = True
        for task in list(self._alive.values()):
            self.current = task
            if task.green:
                with suppress(BaseException):  # whatever they say, they are dead
                    task.green.throw(Dead)
        self._alive.clear()
        self.current = None


_schedulers: list[Scheduler] = []


def scheduler() -> Scheduler:
    """The one of the simulation that runs."""
    return _schedulers[-1]


def enter(new: Scheduler) -> None:
    """Let a simulation be the one that runs."""
    _schedulers.append(new)


def leave() -> None:
    """End that."""
    _schedulers.pop()


def host() -> Host:
    """The process that goes on now."""
    task = scheduler().current
    assert task is not None, "this runs in no simulated thread"
    return task.host
