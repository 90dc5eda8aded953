"""Which disturbances a run has: drawn from a seed, so that the same seed gives the same again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias
from zlib import crc32

import numpy as np

from streame.cli.chaos.disturbances import Armed, Disturbance, FillDisk, Kill, Phase, Step, Terminate
from streame.cli.chaos.points import Point

Kind: TypeAlias = Literal["kill", "failpoint", "full disk", "damage", "stop"]
KINDS: tuple[Kind, ...] = ("kill", "stop", "failpoint", "full disk", "damage")

CHAINED = 4
"""So many failpoints are tried one after the other in one run."""

NTH_MAX = 6
"""The latest time at which a failpoint is tried."""

_PRELUDE = "S9.after"
"""Where a process ends so that the next one has a checkpoint to go on from."""


@dataclass(frozen=True, slots=True)
class Script:
    """The disturbed processes of one run.

    Args:
        kind: what is tried.
        number: which run of its kind.
        steps: the processes.
        label: what it is called among those of its kind, if not by its number.
    """

    kind: Kind
    number: int
    steps: tuple[Step, ...]
    label: str = ""

    @property
    def name(self) -> str:
        """What it is called, for whoever wants to run it again."""
        return f"{self.kind.replace(' ', '-')}/{self.label or self.number}"


@dataclass(frozen=True, slots=True)
class Draw:
    """Draws scripts.

    Args:
        seed: of everything.
        parallelism: those that a process may have.
    """

    seed: int
    parallelism: tuple[int, ...]

    def kills(self, number: int) -> Script:
        """SIGKILL, up to three times, also during recovery."""
        random = self._random("kill", number)
        depth = int(random.choice([1, 2, 3], p=[0.4, 0.3, 0.3]))
        return self._script("kill", number, random, [_kill(random, first=not nth) for nth in range(depth)])

    def damage(self, number: int) -> Script:
        """SIGKILL, and a file that is not what was written."""
        random = self._random("damage", number)
        return self._script("damage", number, random, [Kill("run", float(random.uniform(0.1, 0.9)), True)])

    def stops(self, number: int) -> Script:
        """SIGTERM, up to twice."""
        random = self._random("stop", number)
        shares = [float(random.uniform(0.0, 0.9)) for _ in range(int(random.integers(1, 3)))]
        return self._script("stop", number, random, [Terminate(share) for share in shares])

    def full_disk(self, number: int) -> Script:
        """A disk that has no room for a while."""
        random = self._random("full disk", number)
        script = self._script("full disk", number, random, [FillDisk(float(random.uniform(0.0, 0.5)))])
        return replace(script, label=f"really-{number}")

    def failpoints(self, points: Sequence[Point], *, once: bool = False) -> list[Script]:
        """Every failpoint, the first and a later time, in all ways that end a process; several in one run.

        Args:
            points: all of them.
            once: each only once, as if the process were killed there.
        """
        random, chained = self._random("failpoint", 0), 2 * CHAINED if once else CHAINED
        armed = [each for point in points for each in _armed(point, random, once=once)]
        shuffled = [armed[index] for index in random.permutation(len(armed))]
        # The first process of a run has nothing to recover, and would come to its end.
        recovering = {point.name for point in points if point.recovers}
        chains = [
            sorted(shuffled[first : first + chained], key=lambda each: each.point in recovering)
            for first in range(0, len(shuffled), chained)
        ]
        return [self._script("failpoint", number, random, chain) for number, chain in enumerate(chains)]

    def full_disks(self, points: Sequence[Point]) -> list[Script]:
        """Every failpoint at which something is written as a place where the disk is full."""
        random = self._random("full disk", 0)
        return [
            self._script("full disk", number, random, [Armed(point.name, "enospc", _later(random))])
            for number, point in enumerate(points)
            if not point.recovers
        ]

    def alone(self, kind: Kind, armed: Armed) -> Script:
        """One failpoint, the first time in a process that has a checkpoint to go on from."""
        random = self._random(kind, crc32(str(armed).encode()))
        alone = self._script(
            kind, 0, random, [Armed(_PRELUDE, "exit", 1), Armed(armed.point, armed.action, 1)]
        )
        return replace(alone, label=f"{armed.point}:{armed.action}")

    def _script(
        self, kind: Kind, number: int, random: np.random.Generator, disturbances: Sequence[Disturbance]
    ) -> Script:
        steps = [Step(each, int(random.choice(self.parallelism))) for each in disturbances]
        return Script(kind, number, tuple(steps))

    def _random(self, kind: Kind, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, crc32(kind.encode()), number])


def _kill(random: np.random.Generator, *, first: bool) -> Kill:
    phases: list[Phase] = ["load", "recover", "run"]
    phase = phases[int(random.choice(3, p=[0.05, 0.1, 0.85] if first else [0.1, 0.3, 0.6]))]
    share = float(random.uniform(0.0, 1.0))
    if phase == "run" and first:  # the beginning and the end are more likely than what lies between them
        share = float(random.choice([share, 0.05 * share, 0.85 + 0.2 * share], p=[0.7, 0.1, 0.2]))
    return Kill(phase, share if first or phase != "run" else 0.7 * share)


def _armed(point: Point, random: np.random.Generator, *, once: bool) -> list[Armed]:
    """One failpoint, in all ways that end a process, or in one."""
    if once:
        return [Armed(point.name, "exit", 1 if point.recovers else int(random.integers(1, 3)))]
    later = [1 if point.recovers else _later(random) for _ in range(3)]
    armed = [Armed(point.name, "exit", 1), Armed(point.name, "error", later[0])]
    armed += [] if point.recovers else [Armed(point.name, "exit", later[1])]
    return armed + ([Armed(point.name, "torn", later[2])] if point.writes else [])


def _later(random: np.random.Generator) -> int:
    return int(random.integers(2, NTH_MAX + 1))
