"""What simulated processes ask over the network: requests that get lost on the way there or back, or come late."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from streame.testing.simulation.network import Network
from streame.testing.simulation.scheduler import Dead, host, scheduler

Answer = TypeVar("Answer")
Fate = Literal["answered", "before", "after", "late"]

LATE_S = (0.5, 6.0)
"""How late a request is carried out that is stuck."""


@dataclass
class Quality:
    """How well a service can be reached now.

    Args:
        latency_s: how long a request is under way, at most.
        lost: the part of requests that get lost before they come, and of answers that do.
        stuck: the part of requests that come late, when nobody waits for them any more.
    """

    latency_s: float
    lost: float = 0.0
    stuck: float = 0.0

    def fate(self) -> Fate:
        """What becomes of a request."""
        if not self.lost and not self.stuck:
            return "answered"
        drawn = scheduler().rng.random()
        if drawn < self.stuck:
            return "late"
        if drawn < self.stuck + self.lost:
            return "before"
        return "after" if drawn < self.stuck + 2 * self.lost else "answered"

    def delay_s(self) -> float:
        """How long this request is under way."""
        return self.latency_s * scheduler().rng.random()


@dataclass
class Service:
    """Something that answers requests one at a time.

    Args:
        name: in the network.
        net: the network.
        quality: how well it can be reached.
        landed: told that a request was carried out that nobody waits for.
    """

    name: str
    net: Network
    quality: Quality
    landed: Callable[[str], None]
    asked: int = field(default=0)

    def ask(
        self, act: Callable[[], Answer], lost: Callable[[], BaseException], timeout_s: float, *, writes: bool
    ) -> Answer:
        """Let it do something, and wait for the answer.

        Args:
            act: what it does; it must not wait.
            lost: makes the error that says that there was no answer.
            timeout_s: how long to wait.
            writes: whether it changes anything.
        """
        sim, me = scheduler(), host().name
        if sim.is_closing:
            raise Dead
        self.asked += 1
        task = sim.current
        assert task is not None
        fate = self.quality.fate()
        found: list[tuple[Any, BaseException | None]] = []
        waits = True

        def arrive() -> None:
            if self.net.is_cut(me, self.name):
                return
            answer: tuple[Any, BaseException | None]
            try:
                answer = self.do(act), None
            except Exception as error:
                answer = None, error
            if not waits and writes:
                self.landed(self.name)
            if fate == "answered" and not self.net.is_cut(self.name, me):
                sim.at(self.quality.delay_s(), lambda: deliver(answer))

        def deliver(answer: tuple[Any, BaseException | None]) -> None:
            if waits:
                found.append(answer)
                sim.wake(task)

        if fate == "late":
            low, high = LATE_S
            sim.at(low + (high - low) * sim.rng.random(), arrive)
        elif fate != "before":
            sim.at(self.quality.delay_s(), arrive)
        until = sim.now + timeout_s
        while not found and sim.block(until):
            pass
        waits = False
        if not found:
            raise lost()
        answer, error = found[0]
        if error is not None:
            raise error
        given: Answer = answer
        return given

    @staticmethod
    def do(act: Callable[[], Answer]) -> Answer:
        """Do something at one moment."""
        sim = scheduler()
        sim.is_atomic = True
        try:
            return act()
        finally:
            sim.is_atomic = False
