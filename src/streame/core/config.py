"""The settings of a run: each has one place, one default and one line of help.

Arguments win over `STREAME_*` variables, which win over the file `streame.toml` in the current folder.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from streame.core.durations import duration_us
from streame.core.hashing import KEY_GROUPS
from streame.core.locations import folder_or_objects
from streame.core.sizes import size_bytes
from streame.errors import PlanError

SETTINGS_FILE = "streame.toml"
CLUSTER_TABLE = "cluster"
"""The table of that file that is about the cluster, see `cluster_settings`."""


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a run, checked.

    Args:
        parallelism: how many instances of every keyed operator run; each owns a range of key groups.
        channel_rows: how many rows may wait between two tasks.
        channel_bytes: how many bytes may wait between two tasks.
        shutdown_timeout_us: how long a stop may take before it is given up.
        checkpoints: where checkpoints are kept: a directory, or the URL of an object store.
        checkpoint_interval_us: how long there is between two checkpoints.
        memory_limit: how many bytes the state of keyed operators may take in memory; the rest of it is on disk (`None`
            for no limit).
        switch_interval_us: how long one Python thread may keep the others waiting; lower it for latency beside
            Python code that loops (it holds for the whole process; `None` leaves it as it is).
    """

    parallelism: int = 1
    channel_rows: int = 262_144
    channel_bytes: int = 64 * 1024 * 1024
    shutdown_timeout_us: int = 60_000_000
    checkpoints: str | None = None
    checkpoint_interval_us: int = 5_000_000
    memory_limit: int | None = None
    switch_interval_us: int | None = None


MEMORY_LIMIT_MIN = 1_000_000
"""Below this a job does not get smaller, only slower: nearly every row is read from disk and written back."""

TEXTS = frozenset({"checkpoints"})
"""The settings that are texts."""

SETTINGS = tuple(name.name.removesuffix("_us") for name in fields(Config))


def load_config(
    arguments: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    *,
    parallelism: int = 1,
) -> Config:
    """The settings that hold for a run.

    Args:
        arguments: what the caller gave, by setting; `None` means not given.
        environment: the process's environment variables, unless told otherwise.
        parallelism: that of a run for which none is given anywhere.

    Raises:
        PlanError: for a setting that does not exist or a value that does not fit; says where it was found.
    """
    environment = os.environ if environment is None else environment
    layers = [
        (f"in {SETTINGS_FILE}", _own(settings_in(Path(SETTINGS_FILE)))),
        ("in the environment", _from_environment(environment)),
        ("as an argument", {name: value for name, value in arguments.items() if value is not None}),
    ]
    values: dict[str, Any] = {}
    for where, layer in layers:
        for name, value in layer.items():
            if name not in SETTINGS:
                raise PlanError(
                    f"the setting {name!r} {where} does not exist; there are {', '.join(SETTINGS)}"
                )
            _set(values, name, value, where)
    if arguments.get("checkpoint_interval") is not None and "checkpoints" not in values:
        raise PlanError("checkpoint_interval is about checkpoints; give checkpoints= as well")
    return Config(**{"parallelism": parallelism, **values})


def _set(values: dict[str, Any], name: str, value: Any, where: str) -> None:
    if f"{name}_us" in Config.__dataclass_fields__:
        values[f"{name}_us"] = duration_us(value, where=f"the setting {name!r} {where}")
        if name == "checkpoint_interval" and not values[f"{name}_us"]:
            raise PlanError(
                f"the setting {name!r} {where} is {value!r}, which leaves no time for rows; give a duration such as "
                '"100ms" or "5s"'
            )
        return
    if name == "memory_limit":
        values[name] = size_bytes(value, where=f"the setting {name!r} {where}")
        if values[name] < MEMORY_LIMIT_MIN:
            raise PlanError(
                f"the setting {name!r} {where} is {value!r}; give at least 1MB, better a tenth of what the state takes: "
                "below that a job does not get smaller, only slower"
            )
        return
    if name in TEXTS:
        values[name] = _text(name, value, where)
        return
    try:
        number = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else 0
    except ValueError:
        number = 0
    highest = KEY_GROUPS if name == "parallelism" else None
    if number < 1 or (highest is not None and number > highest):
        bounds = "of at least 1" if highest is None else f"from 1 to {highest}, the number of key groups"
        raise PlanError(f"the setting {name!r} {where} is {value!r}; give a whole number {bounds}")
    values[name] = number


def _text(name: str, value: Any, where: str) -> str:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise PlanError(f"the setting {name!r} {where} is {value!r}; give a path or a URL")
    folder_or_objects(value, where=f"the setting {name!r} {where}")
    return os.fspath(value)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found = {name: environment.get(f"STREAME_{name.upper()}") for name in SETTINGS}
    return {name: value for name, value in found.items() if value is not None}


def _own(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != CLUSTER_TABLE}


def settings_in(path: Path) -> dict[str, Any]:
    """What is in a file of settings; nothing if there is none.

    Raises:
        PlanError: when it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PlanError(f"cannot read {path.absolute()}: {error}") from error
