"""The digest of a program: equal for equal ones in any process, another one as soon as anything is different."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.config import Config
from streame.errors import PlanError
from streame.plan.digest import check_functions, program_digest

SHOP = """
import polars as pl, streame as st
from dataclasses import dataclass
from functools import partial

RATE = 3
TABLE = {"a": 1, "b": 2}

@dataclass
class Seen:
    rows: int = 0

def helper(frame, by):
    return frame.with_columns(pl.col("qty") * by * RATE)

def priced(frame):
    return helper(frame, 2)

def scaled(frame, factor):
    return frame.with_columns(pl.col("qty") * factor + TABLE["a"])

def counted(rows, seen, group):
    return rows.select("qty"), Seen(seen.rows + rows.height)

class Spread(st.Aggregate):
    dtype = pl.Int64
    def __init__(self, column, least=0):
        super().__init__(column)
        self.least = least
    def create(self):
        return 0
    def add(self, state, values):
        return max(state, values.max(), self.least)
    def merge(self, state, other):
        return max(state, other)
    def finish(self, state):
        return state

class Alarm(st.Sink):
    def __init__(self, topic):
        self.topic = topic
    def write(self, frame):
        pass

def jobs():
    frames = st.scan_frames([pl.DataFrame({"item": ["a"], "qty": [1]})])
    rows = st.scan_csv("orders.csv", {"item": pl.String, "qty": pl.Int64}, separator=";")
    part = st.concat([frames, rows]).filter(pl.col("qty").is_in([1, 2, 3, 4, 5, 6, 7]))
    part = part.map_batches(priced, row_wise=True).map_batches(partial(scaled, factor=10), row_wise=True)
    part = part.map_batches(lambda frame: frame.with_columns(pl.col("qty") + 11), row_wise=True)
    return st.job([
        part.group_by("item").agg(spread=Spread("qty", 12), n=pl.len()).sink_queue(__import__("queue").Queue()),
        part.group_by("item").map_with_state(counted, state=Seen, schema={"qty": pl.Int64}, ttl=None).sink_csv("out/"),
        st.sink(part, Alarm("alarms")),
    ])
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_text("item;qty\na;1\n")


def loaded(text: str, folder: str) -> ModuleType:
    """A module of the name `shop` with some text."""
    path = Path(folder) / "shop.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("shop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    return module


def digest(text: str, folder: str = "other") -> str:
    return program_digest(loaded(text, folder).jobs()._optimized(), Config())


def test_a_program_has_the_same_digest_in_every_process_and_folder() -> None:
    here = digest(SHOP)
    script = (
        "import shop; from streame.plan.digest import *; from streame.core.config import Config; "
        "print(program_digest(shop.jobs()._optimized(), Config()))"
    )
    there = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(["other", *sys.path])},
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    assert there == here
    assert digest(SHOP, "third") == here
    indented = SHOP.replace("\ndef helper", "\nif True:\n  def helper").replace(
        "    return frame.with", "      return frame.with"
    )
    assert (
        digest(
            indented.replace(
                '\n      return frame.with_columns(pl.col("qty") * factor',
                '\n    return frame.with_columns(pl.col("qty") * factor',
            )
        )
        == here
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("helper(frame, 2)", "helper(frame, 4)"),
        ("* by * RATE", "* by + RATE"),
        ("RATE = 3", "RATE = 4"),
        ('"b": 2', '"b": 3'),
        ("factor=10", "factor=11"),
        ('pl.col("qty") + 11', 'pl.col("qty") + 12'),
        ("4, 5, 6", "4, 8, 6"),
        ("max(state, other)", "min(state, other)"),
        ('"qty", 12', '"qty", 13'),
        ("seen.rows + rows.height", "seen.rows + 1"),
        ("rows: int = 0", "rows: int = 1"),
        ('"alarms"', '"news"'),
        ("        pass", "        print(frame)"),
        ('"out/"', '"new/"'),
        ('separator=";"', 'separator=","'),
        ("n=pl.len()", "n=pl.len() + 1"),
        ("row_wise=True)\n    return", "row_wise=False)\n    return"),
        ('"qty": pl.Int64}, separator', '"qty": pl.Int64}, on_error="drop", separator'),
    ],
)  # fmt: skip
def test_whatever_is_different_gives_another_digest(old: str, new: str) -> None:
    assert SHOP.count(old) >= 1
    assert digest(SHOP.replace(old, new)) != digest(SHOP)


def test_what_a_function_calls_in_other_modules_of_the_program_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = SHOP.replace("\ndef priced", "\nimport prices\n\ndef priced").replace(
        "helper(frame, 2)", "prices.dear(frame)"
    )
    found = set()
    for number in (2, 3):
        folder = Path(f"prices-{number}")
        folder.mkdir()
        (folder / "prices.py").write_text(f"def dear(frame):\n    return frame.head({number})\n")
        monkeypatch.delitem(sys.modules, "prices", raising=False)
        with monkeypatch.context() as patched:
            patched.syspath_prepend(str(folder))
            found.add(digest(text))
    monkeypatch.delitem(sys.modules, "prices")
    assert len(found) == 2


def test_the_rows_of_a_source_in_memory_are_no_part_of_the_program() -> None:
    assert digest(SHOP.replace('"qty": [1]}', '"qty": [2]}')) == digest(SHOP)
    job = loaded(SHOP, "other").jobs()._optimized()
    assert program_digest(job, Config(parallelism=2)) != program_digest(job, Config())


def test_a_program_of_module_level_functions_can_run_on_many_nodes() -> None:
    check_functions(loaded(SHOP, "other").jobs()._optimized())


def source() -> st.StreamDataFrame:
    return st.scan_frames([pl.DataFrame({"item": ["a"], "qty": [1]})])


def refusal(job: st.Job) -> str:
    with pytest.raises(PlanError) as raised:
        check_functions(job._optimized())
    return str(raised.value)


def mapped(function: Callable[..., Any]) -> st.Job:
    return source().map_batches(function).sink_csv("out/")


class Shop:
    """An object whose methods are given."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def priced(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame


def times(frame: pl.DataFrame, by: object) -> pl.DataFrame:
    return frame.filter(by is not None)


def test_functions_that_nodes_cannot_compare_are_refused_with_the_way_out() -> None:
    rate = 2
    closure = refusal(mapped(lambda frame: frame.with_columns(pl.col("qty") * rate)))
    assert "map_batches: the function" in closure
    assert "uses 'rate' from the function around it" in closure
    assert f"({__file__}, line " in closure
    assert "functools.partial" in closure
    assert "uses 'rate'" in refusal(mapped(partial(lambda frame, by: frame.head(rate), by=1)))
    assert "priced is called on a Shop, whose 'inner' is a object" in refusal(mapped(Shop(object()).priced))
    assert "functools.partial('times') is a object" in refusal(mapped(partial(times, by=object())))
    namespace: dict[str, Any] = {}
    exec("def typed(frame):\n    return frame", namespace)  # noqa: S102 - as a prompt does it
    assert "source of the function 'typed' cannot be read" in refusal(mapped(namespace["typed"]))
    expression = pl.col("qty").map_batches(lambda column: column, return_dtype=pl.Int64, returns_scalar=True)
    assert "Python function within an expression" in refusal(
        source().group_by("item").agg(expression).sink_csv("out/", changes=True)
    )


def test_classes_that_use_what_is_around_them_are_refused() -> None:
    bound = 3

    class Local(st.Sink):
        def write(self, frame: pl.DataFrame) -> None:
            frame.head(bound)

    assert "uses 'bound'" in refusal(st.sink(source(), Local()))


def test_plain_values_and_functions_of_libraries_are_fine() -> None:
    for function in (
        Shop(3).priced,
        partial(times, by=[1, {"a": pl.col("b")}]),
        pl.DataFrame.drop_nulls,
        times,
    ):
        check_functions(mapped(function)._optimized())
