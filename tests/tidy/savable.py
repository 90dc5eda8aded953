"""What changes while a job runs is saved, or said to be made anew."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.tidy.module import Finding, Module

ROOT = "Savable"
SETTING_UP = {"__init__", "open", "restore", "restored"}
MUTATING = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft", "remove",
    "setdefault", "update",
}  # fmt: skip


@dataclass(frozen=True)
class Class:
    """A class of the package, and where it stands."""

    module: Module
    node: ast.ClassDef

    @property
    def bases(self) -> list[str]:
        """The names of the classes that it inherits from."""
        named = [base.value if isinstance(base, ast.Subscript) else base for base in self.node.bases]
        return [ast.unparse(base).rpartition(".")[2] for base in named]

    def listed(self, name: str) -> set[str]:
        """The texts in a class attribute such as `SAVED`."""
        for statement in self.node.body:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            target = statement.target if isinstance(statement, ast.AnnAssign) else target
            if isinstance(target, ast.Name) and target.id == name and getattr(statement, "value", None):
                return {
                    each.value
                    for each in ast.walk(statement)
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
        return set()


def unsaved_attribute(modules: Iterable[Module]) -> Iterator[Finding]:
    """Attributes of savable classes that change after they are made, and are in neither `SAVED` nor `DERIVED`."""
    classes = {
        node.name: Class(module, node)
        for module in modules
        if module.in_src
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    for each in classes.values():
        family = list(_family(each, classes))
        if each.node.name == ROOT or ROOT not in {base for one in family for base in one.bases}:
            continue
        known = {name for one in family for listed in ("SAVED", "DERIVED") for name in one.listed(listed)}
        for line, name in _changing(each.node):
            if name not in known:
                yield Finding(
                    each.module.path, line, f"{each.node.name}.{name} changes, but is not in SAVED or DERIVED"
                )


def _family(one: Class, classes: Mapping[str, Class]) -> Iterator[Class]:
    yield one
    for base in one.bases:
        if base in classes:
            yield from _family(classes[base], classes)


def _changing(node: ast.ClassDef) -> Iterator[tuple[int, str]]:
    """Line and name of attributes of `self` that are assigned or changed outside of what sets an object up."""
    for function in node.body:
        if isinstance(function, ast.FunctionDef) and function.name not in SETTING_UP:
            for each in ast.walk(function):
                line = getattr(each, "lineno", node.lineno)
                yield from ((line, name) for name in _changed(each))


def _changed(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            yield from (name for target in targets for name in _attributes(target))
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            yield from _attributes(target)
        case ast.Call(func=ast.Attribute(value=owner, attr=method)) if method in MUTATING:
            yield from _attributes(owner)


def _attributes(target: ast.expr) -> Iterator[str]:
    """The attribute of `self` that a target stands for or lies in."""
    match target:
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            yield name
        case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
            yield from _attributes(inner)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for element in elements:
                yield from _attributes(element)
