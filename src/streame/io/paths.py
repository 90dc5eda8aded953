"""Paths as users give them: only those of this machine's file system are known."""

import os
import re

from streame.errors import PlanError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def require_local(path: str | os.PathLike[str]) -> None:
    """Refuse a URL, which would otherwise be taken for a strange name of a local file."""
    text = os.fspath(path)
    if _SCHEME.match(text):
        raise PlanError(f"{text!r} is a URL; only files of this machine can be read and written")
