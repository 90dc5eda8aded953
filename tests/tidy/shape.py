"""Sizes, docstrings, file names, and where imports stand."""

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy.module import Finding, Module

FILE_LINES_MAX = 400
BODY_LINES_MAX = 60
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "base", "common", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def long_file(module: Module) -> Iterator[Finding]:
    """Files that hold more than one concept."""
    lines = len(module.source.splitlines())
    if lines > FILE_LINES_MAX:
        yield Finding(module.path, lines, f"has {lines} lines; a file has at most {FILE_LINES_MAX}")


def long_body(module: Module) -> Iterator[Finding]:
    """Functions whose body, docstring aside, is too long."""
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > BODY_LINES_MAX:
                yield Finding(
                    module.path,
                    node.lineno,
                    f"the body of {node.name} has {lines} lines; a body has at most {BODY_LINES_MAX}",
                )


def module_docstring(module: Module) -> Iterator[Finding]:
    """Files that do not say what they are for in their first line. An empty file has nothing to say."""
    if not module.source.strip():
        return
    docstring = ast.get_docstring(module.tree) or ""
    if not docstring:
        yield Finding(module.path, 1, "has no docstring that says what the file is for")
    elif not docstring.splitlines()[0].endswith((".", ":")):
        yield Finding(
            module.path, 1, "the first line of the docstring must be a sentence that ends with a full stop"
        )


def inner_import(module: Module) -> Iterator[Finding]:
    """Imports inside functions, which hide what a file depends on."""
    for function in ast.walk(module.tree):
        if isinstance(function, Function):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield Finding(module.path, node.lineno, "an import stands at the top of the file")


def empty_name(module: Module) -> Iterator[Finding]:
    """Files and folders whose name says nothing."""
    for part in PurePosixPath(module.path).with_suffix("").parts:
        if part in EMPTY_NAMES:
            yield Finding(module.path, 1, f"{part!r} says nothing; name the file by its one concept")
