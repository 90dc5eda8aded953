"""Failpoints: named places where a test, or `streame chaos`, lets the process die or a call fail.

`STREAME_FAILPOINT=S5.after:exit:3` ends the process the third time that it comes to the place `S5.after`. Several are
separated by commas. Without a number it is the first time. The actions:

* `exit`: the process ends at once, as if it had been killed
* `sleep:SECONDS`: nothing happens for so long; the number of times comes behind it
* `error`: an `OSError` as of a broken disk
* `enospc`: an `OSError` as of a full disk
* `torn`: where bytes are written, half of them are, and the process ends; elsewhere as `exit`

Their names are those of the steps of a checkpoint, and of the log of a source, of which a cluster has one of its own
(`ARCHITECTURE.md`); `T` and `C` are those of a cluster (`docs/cluster-protocol.md`).
"""

import difflib
import errno
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from streame.errors import PlanError

Bytes: TypeAlias = bytes | bytearray | memoryview

VARIABLE = "STREAME_FAILPOINT"
EXIT_CODE = 137
"""Of a process that a failpoint ended: that of one that was killed."""

_ERRORS = {"error": errno.EIO, "enospc": errno.ENOSPC}
_ACTIONS = {"exit", "sleep", "torn", *_ERRORS}


NAMES = (
    "C0.after",
    "C1.after",
    "C2.after",
    "C3.after",
    "C4.after",
    "C5.after",
    "C7.after",
    "C9.after",
    "R0.after",
    "R0.before",
    "R0.synced",
    "R1.after",
    "R1.write",
    "R1.written",
    "S0.after",
    "S1.after",
    "S1.write",
    "S1.written",
    "S2.after",
    "S3.after",
    "S3.renamed",
    "S4.after",
    "S4.write",
    "S4.written",
    "S5.after",
    "S6.after",
    "S7.after",
    "S7.before",
    "S8.after",
    "S9.after",
    "S9.removed",
    "S9.synced",
    "T0.after",
    "T0.before",
    "T1.after",
    "T2.after",
    "T4.after",
    "T5.after",
    "T6.after",
    "T6.before",
    "W1.after",
    "W1.write",
    "W2.after",
    "W3.after",
    "W4.after",
    "cluster.W1.after",
    "cluster.W2.after",
)
"""Of all failpoints."""


@dataclass(slots=True)
class _Armed:
    """What is to happen at one place.

    Args:
        action: one of the actions.
        seconds: how long to sleep.
        left: how many times to come by until it happens.
    """

    action: str
    seconds: float
    left: int


_lock = threading.Lock()
_armed: dict[str, list[_Armed]] = {}
_refused: list[PlanError] = []


def arm(text: str) -> None:
    """Say what is to happen where, instead of all that was said before.

    Args:
        text: as in the environment variable; `""` for nothing.

    Raises:
        PlanError: when it cannot be understood.
    """
    armed: dict[str, list[_Armed]] = {}
    for part in filter(None, text.split(",")):
        name, action, seconds, nth, *rest = _fields(part)
        if action not in _ACTIONS or not nth.isdigit() or int(nth) < 1 or not _is_number(seconds) or rest:
            raise PlanError(
                f"{VARIABLE}: {part!r} is no failpoint; write NAME:ACTION:TIMES with an action of "
                f"{', '.join(sorted(_ACTIONS))} (sleep:SECONDS), such as S5.after:exit:3, and TIMES from 1 on"
            )
        armed.setdefault(name, []).append(_Armed(action, float(seconds), int(nth)))
    with _lock:
        _refused.clear()
        _armed.clear()
        _armed.update(armed)


def arm_from(environment: Mapping[str, str]) -> None:
    """Arm what the environment variable says, if it is there."""
    if VARIABLE in environment:
        arm(environment[VARIABLE])


def _arm_at_import() -> None:
    """An import does not fail: what is wrong with the variable is said when a job is run."""
    try:
        arm_from(os.environ)
    except PlanError as error:
        _refused.append(error)


def check_failpoints() -> None:
    """Refuse what cannot happen.

    Raises:
        PlanError: when the environment variable cannot be understood, or there is no failpoint of a name.
    """
    if _refused:
        raise PlanError(str(_refused[0]))
    for name in _armed:
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"; did you mean {close[0]}?" if close else ";"
            raise PlanError(
                f"{VARIABLE}: there is no failpoint {name!r}, so nothing would happen there{hint} "
                f"There are {', '.join(NAMES)}"
            )


def failpoint(name: str) -> None:
    """A place where the process may be told to fail.

    Args:
        name: of the place.

    Raises:
        OSError: when it was told to.
    """
    if _armed:
        for action in _due(name):
            _act(name, action)


def torn(name: str, parts: Iterable[Bytes]) -> Iterable[Bytes]:
    """Bytes on their way into a file, or the first half of them, after which the process ends.

    Args:
        name: of the place.
        parts: the bytes.
    """
    return _torn(name, parts) if _armed else parts


def _torn(name: str, parts: Iterable[Bytes]) -> Iterator[Bytes]:
    for action in _due(name):
        if action.action == "torn":
            content = b"".join(parts)
            yield content[: len(content) // 2]
            os._exit(EXIT_CODE)
        _act(name, action)
    yield from parts


def _due(name: str) -> list[_Armed]:
    """What is to happen now at a place."""
    due = []
    with _lock:
        for armed in _armed.get(name, ()):
            armed.left -= 1
            if armed.left == 0:
                due.append(armed)
    return due


def _act(name: str, armed: _Armed) -> None:
    match armed.action:
        case "sleep":
            threading.Event().wait(armed.seconds)
        case "exit" | "torn":
            os._exit(EXIT_CODE)
        case action:
            code = _ERRORS[action]
            raise OSError(code, os.strerror(code), f"failpoint {name}")


def _fields(part: str) -> list[str]:
    """Name, action, seconds, the number of times, and what should not be there."""
    name, action, *more = [*part.split(":"), ""]
    if action == "sleep":
        seconds, *more = more
    else:
        seconds = "0"
    nth, *rest = [each for each in more if each] or ["1"]
    return [name, action, seconds, nth, *rest]


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False


_arm_at_import()
