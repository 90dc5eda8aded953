"""Banned names and words, each with what to use instead."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.tidy.module import Finding, Module, uses


class Ban(NamedTuple):
    """Names that may not be used.

    Args:
        names: full dotted names; what is below a name is banned with it.
        instead: what to use.
        where: path prefixes where the ban holds.
        but: path prefixes within `where` that are made for the thing.
    """

    names: tuple[str, ...]
    instead: str
    where: tuple[str, ...] = ("src/", "tests/")
    but: tuple[str, ...] = ()


SRC = ("src/",)
PURE = ("src/streame/core/", "src/streame/plan/")
DETERMINISTIC = (*PURE, "src/streame/runtime/", "src/streame/state/")

NOW = ("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today")

BANS = (
    Ban(("time.sleep", "asyncio.sleep"), "wait on an event, a queue or a Clock"),
    Ban(
        ("pickle", "marshal", "shelve", "dill", "cloudpickle"), "use msgspec or JSON; reading these runs code"
    ),
    Ban(("unittest.mock", "mock"), "use a fake that does the thing in memory"),
    Ban(("builtins.eval", "builtins.exec"), "write the code", SRC),
    Ban(("builtins.print",), "return the text and let cli print it", SRC, ("src/streame/cli/",)),
    Ban(("builtins.hash",), "Python's hash differs in every process; use a stable one", SRC),
    Ban(
        ("time.time", "time.time_ns", *NOW),
        "ask the Clock; time.perf_counter measures durations",
        SRC,
        ("src/streame/core/clock.py",),
    ),
    Ban(
        ("random", "secrets", "numpy.random.default_rng", "uuid.uuid1", "uuid.uuid4", "os.urandom"),
        "take the value or the seed as an argument",
        DETERMINISTIC,
    ),
    Ban(("threading.Thread", "socket", "subprocess"), "decide here, act in runtime or io", PURE),
)


def banned_name(module: Module) -> Iterator[Finding]:
    """Uses of names that have a better replacement."""
    bans = [ban for ban in BANS if module.path.startswith(ban.where) and not module.path.startswith(ban.but)]
    found = {
        Finding(module.path, line, f"{banned.removeprefix('builtins.')!r} is banned: {ban.instead}")
        for line, used in uses(module)
        for ban in bans
        for banned in ban.names
        if used == banned or used.startswith(banned + ".")
    }
    yield from sorted(found)


# The patterns are written so that they do not find themselves.
WORDS = (
    (r"\b(TO[D]O|FIXM[E]|XX[X])\b", "do it, or open an issue"),
    (r"(?<![\w.}])/(wor[k]|roo[t]|hom[e]|User[s])/", "no path of one machine"),
    (
        r"(index-ur[l]|trusted-hos[t]|find-link[s]|pythonhoste[d]|pypi\.org/simpl[e])",
        "no package host of one machine",
    ),
)


def banned_word(path: str, text: str) -> Iterator[Finding]:
    """Leftovers in any text file of the repository."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, reason in WORDS:
            if match := re.search(pattern, line):
                yield Finding(path, number, f"{match.group().strip()!r} is banned: {reason}")
