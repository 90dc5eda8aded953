"""Values of a program as texts: equal in every process that has made them the same way, and never with an address."""

import functools
import inspect
import re
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from uuid import UUID

import polars as pl
from xxhash import xxh3_128_hexdigest

from streame.core.expression_tree import to_tree
from streame.core.expressions import NamedExpr, full_text
from streame.core.user_aggregates import UserAggregate

LIBRARIES = frozenset({"streame", "polars", "numpy", "msgspec"})
"""What is the same wherever the same versions are installed, beside Python's own: named, and not looked into."""

PYTHON = sysconfig.get_path("stdlib")
INSTALLED = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))

CONSTANTS = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    Decimal,
    Enum,
    UUID,
    PurePath,
    date,
    time,
    timedelta,
    tzinfo,
)
"""Values that are what they say."""


class Description:
    """Describes values; functions and classes by their source, and those of their own package that they name with them."""

    def __init__(self) -> None:
        self._inside: set[int] = set()
        self._said: set[int] = set()
        self._owner: str | None = None

    def of(self, value: Any) -> str:
        """The text of a value."""
        if id(value) in self._inside:
            return f"{type(value).__name__} as above"
        self._inside.add(id(value))
        try:
            return self._of(value)
        finally:
            self._inside.discard(id(value))

    def _of(self, value: Any) -> str:
        match value:
            case Enum():
                return f"{_name(type(value))}.{value.name}"
            case None | bool() | int() | float() | complex() | str() | bytes():
                return repr(value)
            case PurePath():
                return str(value)
            case Decimal() | UUID() | date() | time() | timedelta() | tzinfo():
                return repr(value)
            case re.Pattern():
                return f"pattern {value.pattern!r} {value.flags}"
            case pl.Expr():
                return _expression(value)
            case pl.DataFrame() | pl.Series():
                return _frame(value)
            case pl.DataType():
                return str(value)
            case Mapping():
                return (
                    "{" + ", ".join(f"{self.of(key)}: {self.of(each)}" for key, each in value.items()) + "}"
                )
            case set() | frozenset():
                return "{" + ", ".join(sorted(map(self.of, value))) + "}"
            case list() | tuple():
                return "[" + ", ".join(map(self.of, value)) + "]"
            case ModuleType():
                return value.__name__
            case _:
                return self._code(value)

    def _code(self, value: Any) -> str:
        match value:
            case functools.partial():
                return f"partial({self.of(value.func)}, {self.of(value.args)}, {self.of(value.keywords)})"
            case MethodType():
                return f"{self.of(value.__func__)} of {self.of(value.__self__)}"
            case FunctionType():
                return self._function(value)
            case type():
                return self._class(value)
            case UserAggregate():
                return f"{value.name} = {self.of(value.aggregate)}({self.of(value.inputs)}) {value.dtype}"
            case NamedExpr():
                return f"{value.name} = {_expression(value.expr)} {value.dtype}"
            case _ if hasattr(value, "__wrapped__"):
                return self.of(value.__wrapped__)
            case _ if hasattr(value, "__qualname__"):
                return _name(value)
            case _:
                return self._object(value)

    def _is_said(self, code: object) -> bool:
        """Whether a function or class was described before; it is from now on."""
        said = id(code) in self._said
        self._said.add(id(code))
        return said

    def _function(self, function: FunctionType) -> str:
        if self._is_said(function):
            return _name(function)
        given = [
            self.of(function.__defaults__),
            self.of(function.__kwdefaults__),
            self.of(contents(function)),
        ]
        if is_library(function):
            return f"{_name(function)} {given}"
        named = {name: self.of(each) for name, each in named_by(function)}
        code = function.__code__
        # Of a lambda in the middle of a statement the source may end too early.
        more = _constants(code) if code.co_name == "<lambda>" else []
        return f"{_name(function)} {source(function)!r} {given} {named} {more}"

    def _class(self, kind: type) -> str:
        if is_library(kind) or self._is_said(kind):
            return _name(kind)
        above = [self.of(each) for each in kind.__bases__ if not is_library(each)]
        named = {name: self.of(each) for method in methods(kind) for name, each in named_by(method)}
        return f"{_name(kind)} {source(kind)!r} {above} {dict(sorted(named.items()))}"

    def _object(self, value: Any) -> str:
        kind = type(value)
        root = _root(kind)
        self._owner = self._owner or root
        if hasattr(value, "now_us") or (root == "streame" and kind.__name__.endswith("Decoder")):
            return _name(kind)  # a clock, and what is made of a schema
        is_open = is_dataclass(value) or hasattr(value, "__struct_fields__")
        if not is_open and root not in {"streame", self._owner}:
            return self.of(kind)  # what others keep in their objects may be anything
        parts = [f"{name}={self.of(each)}" for name, each in sorted(attributes(value).items())]
        return f"{self.of(kind)}({', '.join(parts)})"


def attributes(value: object) -> Mapping[str, Any]:
    """What an object of the user's, or of Streame, has; nothing of an object that others have made."""
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if (names := getattr(value, "__struct_fields__", None)) is not None:
        return {name: getattr(value, name) for name in names}
    if is_library(type(value)) and _root(type(value)) != "streame":
        return {}
    return dict(getattr(value, "__dict__", {}))


def contents(function: FunctionType) -> dict[str, Any]:
    """The variables that a function has from around it, by name."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not set yet
            found[name] = None
    found.pop("__class__", None)  # of a method that says `super()`
    return found


def methods(kind: type) -> Iterator[FunctionType]:
    """The functions that somebody has written in a class."""
    for each in vars(kind).values():
        inner = getattr(each, "__func__", None) or getattr(each, "fget", None) or each
        if isinstance(inner, FunctionType) and not inner.__code__.co_filename.startswith("<"):
            yield inner


def named_by(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function names of its module and others of the program: functions, classes, and constants."""
    names = sorted(each for each in _names(function.__code__) if not each.startswith("__"))
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            inner = vars(value) if _is_near(value.__name__.partition(".")[0], function) else {}
            yield from (
                (f"{name}.{each}", inner[each]) for each in names if _counts(each, inner.get(each), function)
            )
        elif _counts(name, value, function):
            yield name, value


def is_library(value: Any) -> bool:
    """Whether a function or class is part of Python, of Streame or of what that is made with."""
    if getattr(value, "__module__", None) == "__main__":
        return False
    root = _root(value)
    if root == "builtins":
        return not isinstance(value, FunctionType)  # Python's own are no functions: this one was made by exec
    return root in LIBRARIES or _is_pythons(root)


def source(value: Any) -> str | None:
    """The source of a function or class, wherever it is indented; `None` if it cannot be read."""
    try:
        lines = textwrap.dedent(inspect.getsource(value)).splitlines()
    except (OSError, TypeError, SyntaxError):
        return None
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _counts(name: str, value: object, function: FunctionType) -> bool:
    """Whether what a function does depends on something that it names."""
    if isinstance(value, FunctionType | type | functools.partial) or hasattr(value, "__wrapped__"):
        return _is_near(_root(value), function)
    return value is not None and _is_constant(name, value)


def _is_near(root: str, function: FunctionType) -> bool:
    """Whether a package is that of a function, or one of the program that is not installed: its source may change."""
    if root == _root(function):
        return True
    return root not in LIBRARIES and not _is_pythons(root) and not _is_installed(root)


@functools.cache
def _is_installed(root: str) -> bool:
    file = getattr(sys.modules.get(root), "__file__", None)
    return file is None or file.startswith(INSTALLED)


@functools.cache
def _is_pythons(root: str) -> bool:
    """Whether a module with the name of one of Python's is that, and not a file of the user's."""
    if root not in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(root), "__file__", None)
    return file is None or file.startswith(PYTHON)


def _is_constant(name: str, value: object) -> bool:
    if isinstance(
        value, list | dict | set
    ):  # one in small letters is a variable that may change while the job runs
        return name.isupper()
    return isinstance(
        value, (*CONSTANTS, tuple, frozenset, re.Pattern, pl.Expr, pl.DataType, pl.DataFrame, pl.Series)
    )


def _names(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _constants(code: CodeType) -> list[str]:
    found = [repr(each) for each in code.co_consts if isinstance(each, int | float | str | bytes | tuple)]
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return [*found, *code.co_names, *(text for each in inner for text in _constants(each))]


def _expression(expr: pl.Expr) -> str:
    """An expression; where Polars shows its inside, also the values in it that a text leaves out."""
    tree = to_tree(expr)
    return (
        full_text(expr) if tree is None else f"{full_text(expr)} {xxh3_128_hexdigest(expr.meta.serialize())}"
    )


def _frame(value: pl.DataFrame | pl.Series) -> str:
    frame = value if isinstance(value, pl.DataFrame) else value.to_frame()
    return (
        f"{type(value).__name__} {frame.schema} {xxh3_128_hexdigest(frame.write_ipc_stream(None).getvalue())}"
    )


def _root(value: Any) -> str:
    """The package of a function, a class, or of what a partial calls."""
    while isinstance(value, functools.partial):
        value = value.func
    return _module(value).partition(".")[0]


def _name(value: Any) -> str:
    return f"{_module(value)}.{getattr(value, '__qualname__', type(value).__name__)}"


def _module(value: Any) -> str:
    """The module of a function or class; of the program that was started, the one that it would be if it were imported."""
    name = getattr(value, "__module__", None) or "builtins"
    if name != "__main__":
        return name
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name)
    return "__main__" if file is None else Path(file).stem
