"""Where checkpoints and savepoints are: a folder of this machine, or the URL of an object store."""

import os
import re
from pathlib import Path

from streame.errors import PlanError

OBJECT_STORE = "s3://"
"""How the URL of an object store begins."""

# A `Path` makes one slash of two, so one is enough to see what was meant.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def folder_or_objects(place: str | os.PathLike[str], *, where: str) -> Path | str:
    """The folder that is meant, or the URL of an object store.

    Args:
        place: as the user gave it.
        where: what it is, for the error.

    Raises:
        PlanError: for any other URL, which would otherwise be taken for a strange name of a folder.
    """
    text = os.fspath(place)
    if text.startswith(OBJECT_STORE):
        return text
    return local_folder(place, where=where, instead="a path or s3://bucket/prefix, as text")


def local_folder(
    place: str | os.PathLike[str], *, where: str, instead: str = "the path of a folder of this machine"
) -> Path:
    """The folder that is meant.

    Args:
        place: as the user gave it.
        where: what it is, for the error.
        instead: what may be given, for the error.

    Raises:
        PlanError: for a URL.
    """
    text = os.fspath(place)
    if _URL.match(text):
        raise PlanError(
            f"{where} is {text!r}, a URL that is not supported here; give {instead} (for a folder of that name "
            f"{f'./{text}'!r})"
        )
    return Path(text)
