"""An exhaustive explorer: every state that any order of steps leads to, the nearest first, until one is wrong."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)


class Wrong(Exception):  # noqa: N818 - it is what was found, not an error of the explorer
    """A step, or a state, that must never be."""


@dataclass(frozen=True)
class Explored:
    """What was found.

    Args:
        states: how many states were seen.
        wrong: what is wrong with the last of them; `None` if all are right.
        trace: the steps that lead to that state, by their names; no shorter way leads there.
    """

    states: int
    wrong: str | None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:  # for the message of a test that fails
        if self.wrong is None:
            return f"{self.states:,} states, all of them right"
        return f"{self.wrong} ({self.states:,} states seen), by these steps:\n" + "\n".join(self.trace)


@dataclass(frozen=True)
class Explorer(Generic[State]):
    """How a system can move, and what must hold in each of its states.

    Args:
        steps: the steps that are possible in a state, each with its name and where it leads. Raises `Wrong`.
        check: raises `Wrong` for a state that must never be.
    """

    steps: Callable[[State], Iterable[tuple[str, State]]]
    check: Callable[[State], None]

    def explore(self, start: State, states_max: int) -> Explored:
        """Visit all states, breadth first.

        Args:
            start: the first state.
            states_max: give up after so many: the bounds of the system are wrong.
        """
        came_from: dict[State, tuple[str, State] | None] = {start: None}
        frontier = [start]
        while frontier:
            reached = []
            for state in frontier:
                try:
                    self.check(state)
                    for name, following in self.steps(state):
                        if following not in came_from:
                            came_from[following] = (name, state)
                            reached.append(following)
                except Wrong as wrong:
                    return Explored(len(came_from), str(wrong), tuple(_way(state, came_from)))
            if len(came_from) > states_max:
                raise AssertionError(f"more than {states_max:,} states")
            frontier = reached
        return Explored(len(came_from), None)


def _way(state: State, came_from: dict[State, tuple[str, State] | None]) -> list[str]:
    names = []
    while (step := came_from[state]) is not None:
        name, state = step
        names.append(name)
    return names[::-1]
