"""Each rule of the house is seen to fail, and seen to pass."""

from collections.abc import Callable, Iterator

import pytest

from tests.tidy import layers, shape, words
from tests.tidy.changes import bad_entry
from tests.tidy.module import Finding, Module

CORE = "src/streame/core/time.py"
LONG = "\n".join(["    x = 1"] * 61)


def findings(
    rule: Callable[[Module], Iterator[Finding]], source: str, path: str = CORE
) -> list[tuple[int, str]]:
    return [(finding.line, finding.message) for finding in rule(Module(path, source))]


def test_a_finding_reads_like_a_compiler_error() -> None:
    (finding,) = layers.wrong_layer(Module(CORE, "\nfrom streame.plan import nodes"))
    assert str(finding) == "src/streame/core/time.py:2: core may not import plan"


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("core/a.py", "import streame", "core may not import streame"),
        ("core/a.py", "from streame import plan", "core may not import plan"),
        ("core/a.py", "from ..plan import nodes", "core may not import plan"),
        ("core/__init__.py", "from ..plan import nodes", "core may not import plan"),
        ("core/a.py", "if TYPE_CHECKING:\n    import streame.io.source", "core may not import io"),
        ("core/a.py", "def f():\n    import streame.io.source", "core may not import io"),
        ("core/a.py", "importlib.import_module('streame.io')", "core may not import io"),
        ("api/a.py", "import streame.cluster.leader", "api may not import cluster"),
        ("io/a.py", "import streame.state.tables", "io may not import state"),
        ("io/a.py", "import streame.runtime.operator", "io may not import runtime"),
        ("errors.py", "import streame.core.time", "errors may not import core"),
        ("__init__.py", "import streame.testing", "streame may not import testing"),
    ],
)
def test_imports_that_point_up_or_sideways(path: str, source: str, message: str) -> None:
    assert [found for _, found in findings(layers.wrong_layer, source, f"src/streame/{path}")] == [message]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "core/a.py",
            "import polars\nfrom streame.core import b\nfrom . import c\nfrom streame.errors import E",
        ),
        ("__init__.py", "from streame.api.scan import scan_rows"),
        ("plan/lower/job.py", "import streame.runtime.graph"),
        ("__main__.py", "import streame.cli.main"),
        ("core/a.py", "import streamer.plan"),
    ],
)
def test_imports_that_point_down(path: str, source: str) -> None:
    assert findings(layers.wrong_layer, source, f"src/streame/{path}") == []


def test_a_file_stands_in_a_layer() -> None:
    ((_, message),) = findings(layers.wrong_layer, "", "src/streame/extra/a.py")
    assert message.startswith("is in no layer; the layers are __main__, cli, web, testing")


def test_only_lower_knows_the_runtime() -> None:
    source = "from streame.runtime import graph"
    assert findings(layers.plan_meets_runtime, source, "src/streame/plan/lower/job.py") == []
    assert findings(layers.plan_meets_runtime, source, "src/streame/plan/nodes.py") == [
        (1, "within plan only lower may import runtime")
    ]


def test_files_that_no_door_leads_to() -> None:
    modules = [
        Module("src/streame/__init__.py", "from streame.api.scan import scan"),
        Module("src/streame/api/__init__.py", ""),
        Module("src/streame/api/scan.py", "from . import job"),
        Module("src/streame/api/job.py", ""),
        Module("src/streame/api/old.py", "from streame.api import job"),
        Module("src/streame/state/__init__.py", ""),
        Module("src/streame/cli/main.py", ""),
        Module("tests/test_old.py", "import streame.api.old"),
    ]
    unreached = layers.unreached(modules, ["streame", "streame.cli.main"])
    assert [finding.path for finding in unreached] == [
        "src/streame/api/old.py",
        "src/streame/state/__init__.py",
    ]


@pytest.mark.parametrize(
    ("rule", "source", "found"),
    [
        (shape.long_file, "x = 1\n" * 401, (401, "has 401 lines; a file has at most 400")),
        (shape.long_file, "x = 1\n" * 400, None),
        (shape.long_body, f"\ndef f():\n{LONG}", (2, "the body of f has 61 lines; a body has at most 60")),
        (
            shape.long_body,
            f"async def f():\n{LONG}",
            (1, "the body of f has 61 lines; a body has at most 60"),
        ),
        (shape.long_body, f"def f():\n    '''A\n\n    b.\n    '''\n{LONG[10:]}", None),
        (shape.module_docstring, "x = 1", (1, "has no docstring that says what the file is for")),
        (shape.module_docstring, "'''What it is for.\n\nmore'''", None),
        (shape.module_docstring, "", None),
        (shape.inner_import, "def f():\n    import os", (2, "an import stands at the top of the file")),
        (shape.inner_import, "import os", None),
    ],
)
def test_shape(
    rule: Callable[[Module], Iterator[Finding]], source: str, found: tuple[int, str] | None
) -> None:
    assert findings(rule, source) == ([found] if found else [])


def test_a_docstring_begins_with_a_sentence() -> None:
    ((_, message),) = findings(shape.module_docstring, "'''Things'''")
    assert "full stop" in message


@pytest.mark.parametrize("path", ["src/streame/core/utils.py", "tests/helpers/time.py"])
def test_names_that_say_nothing(path: str) -> None:
    assert [found for _, found in findings(shape.empty_name, "", path)] != []


@pytest.mark.parametrize(
    ("source", "banned"),
    [
        ("import time\ntime.sleep(1)", "time.sleep"),
        ("import time as t\nt.sleep(1)", "time.sleep"),
        ("from time import sleep", "time.sleep"),
        ("from time import sleep as wait\nwait(1)", "time.sleep"),
        ("import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
        ("from unittest import mock", "unittest.mock"),
        ("eval('1')", "eval"),
        ("f = exec", "exec"),
        ("print('x')", "print"),
        ("hash('x')", "hash"),
        ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime as d\nd.now(tz=UTC)", "datetime.datetime.now"),
        ("import time\ntime.time_ns()", "time.time_ns"),
        ("import random\nrandom.random()", "random"),
        ("import numpy as np\nnp.random.default_rng()", "numpy.random.default_rng"),
        ("from threading import Thread", "threading.Thread"),
    ],
)
def test_banned_names(source: str, banned: str) -> None:
    messages = {found for _, found in findings(words.banned_name, source)}
    assert len(messages) == 1
    assert messages.pop().startswith(f"{banned!r} is banned: ")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (CORE, "'''print(x), time.sleep(1)'''\nimport time\ntime.perf_counter()\nself.hash(x).print()"),
        (CORE, "import re\nre.eval()\nrandom = 1\nmock = random"),
        ("src/streame/cli/main.py", "print('x')\nimport random"),
        ("src/streame/core/clock.py", "import time\ntime.time_ns()"),
        ("tests/test_x.py", "print('x')\nhash(x)\nimport random"),
    ],
)
def test_names_that_are_free(path: str, source: str) -> None:
    assert findings(words.banned_name, source, path) == []


@pytest.mark.parametrize(
    "text",
    [
        "# TO" + "DO later",
        "/".join(["see ", "wor" + "k", "x"]),
        "/".join(["", "ro" + "ot", "x"]),
        "--index-" + "url x",
    ],
)
def test_banned_words(text: str) -> None:
    (finding,) = words.banned_word("README.md", f"first\n{text}\n")
    assert finding.line == 2


def test_words_that_are_free() -> None:
    assert list(words.banned_word("a.md", "the root/ of network/ and `$(ROOT)/work`, a todo list")) == []


def test_entries_of_changes() -> None:
    assert list(bad_entry("changes/added-first-words.md", "`scan_rows` reads any iterable.\n\nMore")) == []
    assert len(list(bad_entry("changes/first.md", "What"))) == 2
