"""What goes wrong in a simulation, drawn by its seed."""

from dataclasses import dataclass
from functools import partial
from random import Random

from streame.testing.simulation.scheduler import scheduler
from streame.testing.simulation.services import Ambush, Fate
from streame.testing.simulation.world import Machine, World

KINDS = (
    "crash",
    "silent crash",
    "pause",
    "cut",
    "cut one way",
    "cut from etcd",
    "cut from store",
    "break",
    "stop",
    "slow store",
    "rescale",
)

SPOTS = (
    ("etcd", "ptr"),
    ("etcd", "get"),
    ("store", "pack"),
    ("store", "part"),
    ("store", "MANIFEST"),
    ("store", "names"),
    ("store", "remove"),
    ("sink", "marker"),
    ("sink", "put"),
)
"""Requests around which it matters most what happens: by service and kind."""


@dataclass(frozen=True)
class Profile:
    """What may go wrong.

    Args:
        weights: how often each kind of fault happens, beside the others.
        every_s: how much time is between two faults, on average.
        lost: the part of requests whose answer is lost.
        stuck: the part of requests that come late.
        until_s: when faults end.
    """

    weights: dict[str, float]
    every_s: float
    lost: float
    stuck: float
    until_s: float


def draw(rng: Random, until_s: float) -> Profile:
    """A profile: some seeds know only one kind of fault, some all."""
    some = rng.choice((1, 2, 3, len(KINDS)))
    kinds = [*rng.sample(KINDS, some), *(["ambush"] if rng.random() < 0.7 else [])]
    lost, stuck = rng.choice(((0.0, 0.0), (0.02, 0.0), (0.0, 0.04), (0.03, 0.04)))
    every_s = rng.choice((0.5, 1.0, 2.0))
    weights = {kind: rng.random() + 0.1 if kind in KINDS else 1.0 for kind in kinds}
    return Profile(weights, every_s, lost, stuck, until_s)


class Nemesis:
    """Does what a profile says, then mends it all.

    Args:
        profile: what may go wrong.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def __call__(self, world: World) -> None:
        profile, sim = self._profile, scheduler()
        for quality in world.quality.values():
            quality.lost, quality.stuck = profile.lost, profile.stuck
        world.quality["sink"].stuck *= 3  # it is asked so rarely
        kinds, weights = list(profile.weights), list(profile.weights.values())
        while True:
            wait_s = sim.rng.expovariate(1 / profile.every_s)
            if sim.now + wait_s >= profile.until_s:
                break
            sim.sleep(wait_s)
            self._revive(world)
            self._do(world, sim.rng.choices(kinds, weights)[0])
        sim.sleep(max(0.0, profile.until_s - sim.now))
        self._heal(world)

    def _do(self, world: World, kind: str) -> None:
        rng = scheduler().rng
        machine = rng.choice(world.machines)
        other = rng.choice([each for each in world.machines if each is not machine])
        duration_s = rng.choice((0.2, 0.7, 2.0, 4.0)) * (0.5 + rng.random())
        match kind:
            case "crash" | "silent crash":
                world.crash(machine, silently=kind != "crash")
            case "pause":
                world.pause(machine, duration_s)
            case "cut":
                self._cut(world, machine.name, other.name, duration_s, both=True)
            case "cut one way":
                self._cut(world, machine.name, other.name, duration_s, both=False)
            case "cut from etcd":
                self._cut(world, machine.name, "etcd", duration_s, both=rng.random() < 0.5)
            case "cut from store":
                self._cut(world, machine.name, "store", duration_s, both=rng.random() < 0.5)
            case "break":
                self._break(world, machine)
            case "stop":
                self._stop(world, machine)
            case "slow store":
                self._slow(world, duration_s)
            case "rescale":
                world.rescale(rng.choice((2, 3)))
            case "ambush":
                self._ambush(world)

    def _ambush(self, world: World) -> None:
        """Whoever makes the next request of some kind pauses behind it, or the request does not come through as it should."""
        rng = scheduler().rng
        service, what = rng.choice(SPOTS)
        fate: Fate = rng.choice(("answered", "answered", "before", "after", "late"))
        # In the shorter time a checkpoint is decided, in the longer one another node is elected.
        duration_s = rng.choice((0.3, 4.0)) * (0.5 + rng.random())
        world.oracle.note(f"ambush: the next {what} at {service}: {fate}, {duration_s:.2f} s")
        world.oracle.count("ambush")
        world.services[service].ambushes[what] = Ambush(fate, duration_s)

    def _cut(self, world: World, here: str, there: str, duration_s: float, *, both: bool) -> None:
        world.oracle.note(
            f"{here} is cut from {there}{'' if both else ' in one direction'} for {duration_s:.2f} s"
        )
        world.oracle.count("cut")
        for pair in (
            [(here, there), (there, here)]
            if both
            else [scheduler().rng.choice(((here, there), (there, here)))]
        ):
            world.net.cut(*pair)
            world.sim.at(duration_s, partial(world.net.heal, *pair))

    def _break(self, world: World, machine: Machine) -> None:
        if machine.host is not None and (streams := world.net.streams_of(machine.host)):
            world.oracle.note(f"a connection of {machine.name} breaks")
            world.oracle.count("break")
            scheduler().rng.choice(streams).break_off("connection reset", delay_s=0.5)

    def _stop(self, world: World, machine: Machine) -> None:
        if machine.is_up and machine.run is not None:
            world.oracle.note(f"{machine.name} is to end")
            world.oracle.count("leave")
            run = machine.run
            assert machine.host is not None
            world.sim.spawn(machine.host, "signal", run.stop)

    def _slow(self, world: World, duration_s: float) -> None:
        quality = world.quality["store"]
        before = quality.latency_s
        quality.latency_s = 0.3
        world.oracle.count("slow store")

        def mend() -> None:
            quality.latency_s = min(before, 0.003)

        world.sim.at(duration_s, mend)

    def _revive(self, world: World) -> None:
        """Machines that are down come up again, some sooner, some later."""
        for machine in world.machines:
            if machine.starts and not machine.is_up and scheduler().rng.random() < 0.6:
                world.start(machine)

    def _heal(self, world: World) -> None:
        world.oracle.note("all is well again")
        for quality in world.quality.values():
            quality.lost = quality.stuck = 0.0
            quality.latency_s = min(quality.latency_s, 0.003)
        for service in world.services.values():
            service.ambushes.clear()
        world.net.heal_all()
        for machine in world.machines:
            if machine.host is not None and machine.host.is_paused:
                world.sim.resume(machine.host)
        world.is_calm = True
        world.look()
        while True:
            for machine in world.machines:
                if not machine.is_up and machine.result != "finished":
                    world.start(machine)
            scheduler().sleep(1.0)
