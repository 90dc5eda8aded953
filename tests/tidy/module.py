"""A Python file as the rules see it: its path, its tree, what it imports and the full names it uses."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple


class Finding(NamedTuple):
    """One broken rule, at one line of a file."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Module:
    """One Python file.

    Args:
        path: relative to the root of the repository, with slashes.
        source: its text.
    """

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.source, self.path)

    @property
    def in_src(self) -> bool:
        """Whether it is part of the package (and not a test)."""
        return self.path.startswith("src/")

    @property
    def name(self) -> str:
        """The dotted name under which it is imported."""
        parts = PurePosixPath(self.path).with_suffix("").parts
        return ".".join(part for part in parts if part not in {"src", "__init__"})

    @property
    def package(self) -> str:
        """The dotted name of the package that its relative imports start from."""
        return self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that is imported, wherever the import stands.

    `from a import b` gives `a.b`, whether `b` is a module or not.
    """
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(names=names):
                yield from ((node.lineno, f"{_origin(module, node)}.{alias.name}") for alias in names)
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if _imports(function):
                yield node.lineno, name


def uses(module: Module) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of every name that is imported or used.

    `sleep` after `from time import sleep` is `time.sleep`, `t.sleep` after `import time as t` too; a name that
    is not imported is taken for a builtin.
    """
    full = _imported_names(module)
    yield from imports(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, *rest = _dotted(node)
            yield node.lineno, ".".join([full.get(first, f"builtins.{first}"), *rest])


def _imported_names(module: Module) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(module.tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    names |= {alias.asname: alias.name} if alias.asname else {top: top}
            case ast.ImportFrom():
                origin = _origin(module, node)
                names |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
    return names


def _origin(module: Module, node: ast.ImportFrom) -> str:
    """The dotted name of the module that `node` imports from."""
    if not node.level:
        return node.module or ""
    package = module.package.split(".")
    parts = package[: len(package) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _imports(function: ast.expr) -> bool:
    return _dotted(function)[-1] in {"import_module", "__import__"}


def _dotted(node: ast.expr) -> list[str]:
    """The parts of `a.b.c`; what is not a name (the result of a call) is an empty part."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Attribute(value=value, attr=name):
            return [*_dotted(value), name]
        case _:
            return [""]
