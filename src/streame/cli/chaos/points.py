"""The failpoints of the program, found in its own text."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import streame


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A failpoint.

    Args:
        name: what `STREAME_FAILPOINT` calls it.
        writes: whether bytes go into a file there, of which half can be written.
    """

    name: str
    writes: bool

    @property
    def recovers(self) -> bool:
        """Whether a process comes there once, before it runs."""
        return self.name.startswith("R")

    @property
    def logs(self) -> bool:
        """Whether only jobs come there that have a source whose rows go through a log."""
        return self.name.startswith("W")

    @property
    def is_clustered(self) -> bool:
        """Whether only the nodes of a cluster come there."""
        return self.name.startswith(("C", "T", "cluster."))


def failpoints() -> tuple[Point, ...]:
    """All failpoints of the package, by name."""
    package = Path(streame.__file__).parent
    found = {point for path in sorted(package.rglob("*.py")) for point in _points_in(path.read_text("utf-8"))}
    return tuple(sorted(found))


def _points_in(source: str) -> Iterator[Point]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Name(id="failpoint" | "torn" as function), args=[ast.Constant(value=str(name)), *_]
            ):
                yield Point(name, function == "torn")
