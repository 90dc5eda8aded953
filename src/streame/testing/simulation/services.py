"""What simulated processes ask over the network: requests that get lost on the way there or back, or come late."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from streame.testing.simulation.network import Network
from streame.testing.simulation.scheduler import Dead, Host, host, scheduler

Answer = TypeVar("Answer")
Fate = Literal["answered", "before", "after", "late"]

LATE_S = (0.5, 6.0)
"""How late a request is carried out that is stuck."""

HELD = 0.5
"""The part of requests that wait where the network is cut, and come when it is whole again; others get lost."""


@dataclass(frozen=True)
class Ambush:
    """What happens to the next request of a kind.

    Args:
        fate: of the request.
        pause_s: how long the process stands still that has asked, from the moment at which it has the answer.
    """

    fate: Fate
    pause_s: float = 0.0


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
        count: told when something rare happens.
        pause: lets a process stand still for a while.
        asked: how many requests there were.
        ambushes: what happens to the next request of a kind.
    """

    name: str
    net: Network
    quality: Quality
    count: Callable[[str], None]
    pause: Callable[[Host, float], None]
    asked: int = field(default=0)
    ambushes: dict[str, Ambush] = field(default_factory=dict)

    def ask(
        self,
        what: str,
        act: Callable[[], Answer],
        lost: Callable[[], BaseException],
        timeout_s: float,
        *,
        writes: bool,
    ) -> Answer:
        """Let it do something, and wait for the answer.

        Args:
            what: the kind of request.
            act: what it does; it must not wait.
            lost: makes the error that says that there was no answer.
            timeout_s: how long to wait.
            writes: whether it changes anything.
        """
        sim, asker = scheduler(), host()
        me = asker.name
        if sim.is_closing:
            raise Dead
        self.asked += 1
        task = sim.current
        assert task is not None
        ambush = self.ambushes.pop(what, None)
        fate = self.quality.fate() if ambush is None else ambush.fate
        found: list[tuple[Any, BaseException | None]] = []
        waits = True

        def arrive() -> None:
            if self.net.is_cut(me, self.name):
                if sim.rng.random() < HELD:
                    self.net.when_healed(me, self.name, arrive)
                return
            answer: tuple[Any, BaseException | None]
            try:
                answer = self.do(act), None
            except Exception as error:
                answer = None, error
            if not waits and writes:
                self.count(f"late at {self.name}")
            if fate == "answered" and not self.net.is_cut(self.name, me):
                sim.at(self.quality.delay_s(), lambda: deliver(answer))

        def deliver(answer: tuple[Any, BaseException | None]) -> None:
            if waits:
                found.append(answer)
                sim.wake(task)
                if ambush is not None and ambush.pause_s:
                    self.pause(asker, ambush.pause_s)

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
            self.count(f"no answer to {what}")
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
