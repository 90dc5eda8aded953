"""The form of an entry in `changes/`."""

import re
from collections.abc import Iterator

from tests.tidy.module import Finding

NAME = re.compile(r"changes/(added|changed|fixed|removed)-[a-z0-9-]+\.md")


def bad_entry(path: str, text: str) -> Iterator[Finding]:
    """An entry whose name or first line does not say what changed."""
    if path == "changes/README.md":
        return
    if not NAME.fullmatch(path):
        yield Finding(
            path, 1, "the name is one of added-, changed-, fixed-, removed- and a few words, with .md"
        )
    first = text.partition("\n")[0]
    if not first.endswith("."):
        yield Finding(path, 1, "the first line says in one sentence what changed for a user")
