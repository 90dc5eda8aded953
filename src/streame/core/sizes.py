"""Sizes of memory: `"84MB"` and `"1GB"` as bytes."""

import re
from typing import Any

from streame.errors import PlanError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {f"{unit[0]}iB": 1024**power for power, unit in enumerate(("KB", "MB", "GB", "TB"), 1)}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def size_bytes(value: Any, where: str) -> int:
    """A size in bytes.

    Args:
        value: a whole number of bytes, or a text such as `"84MB"`, `"1.5GB"`, `"512MiB"`.
        where: what it is, for the error.

    Raises:
        PlanError: for anything else, and for nothing.
    """
    size = 0.0
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value)) and match[2] in _UNITS:
        size = float(match[1]) * _UNITS[match[2]]
    if size < 1:
        raise PlanError(f'{where} is {value!r}; give a number of bytes, or a size such as "84MB" or "1GB"')
    return int(size)
