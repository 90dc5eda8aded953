"""Every pipeline of this folder runs several ways, and each time gives the rows of the file beside it.

Straight through; with other cuts and parallelism; with a crash at a checkpoint in the middle, resumed with another
parallelism; and stepped by hand.

A pipeline is a module with `INPUTS`, the `Given` rows by source, and `pipeline`, which takes the sources by name and
returns its outputs by name. Of changes the file has what they come to. `STREAME_GOLDEN=write` writes the golden files anew.
"""

import importlib
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from operator import eq
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.api.job import write_job
from streame.core.changes import DIFF, fold
from streame.core.clock import ManualClock
from streame.core.config import Config
from streame.io.memory import MemorySink
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.plan.optimizer import optimize
from streame.runtime.local import LocalRun
from streame.testing import Driver
from tests.durability.world import World
from tests.pipelines.given import Given

HERE = Path(__file__).parent
NAMES = sorted(
    path.stem for path in HERE.glob("*.py") if path.stem not in {"__init__", "given", "test_golden"}
)

HANGS_AFTER_S = 20.0

Lines = list[str]
Build = Callable[..., Mapping[str, st.StreamDataFrame]]


def run(build: Build, inputs: Mapping[str, Given], cuts: list[int], parallelism: int) -> Lines:
    """The outputs of a job in threads; its clock stands still but for what the inputs say."""
    clock = ManualClock()
    outputs = build(**{name: given.scan(name, cuts, clock) for name, given in inputs.items()})
    sinks = {name: MemorySink(folds=frame.node.is_changes) for name, frame in outputs.items()}
    jobs = [write_job(frame.node, partial(sinks.__getitem__, name), name) for name, frame in outputs.items()]
    optimized = [node for node in optimize(st.job(jobs).writes) if isinstance(node, Write)]
    job = LocalRun(lower(optimized, Config(parallelism=parallelism)), Config(), clock)
    job.start()
    assert job.wait(HANGS_AFTER_S), "the job hangs"
    return [line for name, sink in sinks.items() for line in lines(name, sink.frame())]


def resumed(build: Build, inputs: Mapping[str, Given]) -> Lines:
    """The outputs of a job that has crashed twice, and went on with another parallelism each time."""
    clock, world = ManualClock(), World()
    for parallelism, checkpoint in ((2, 2), (3, -4), (1, 0)):
        again = {name: given.scan(name, [1, 2], clock, again=True) for name, given in inputs.items()}
        outputs = build(**again)
        crash_at = partial(eq, checkpoint)
        world.run(outputs, parallelism=parallelism, crash_at=crash_at, clock=clock)
    found: Lines = []
    for name, frame in outputs.items():
        schema = pl.Schema({**frame.schema, **({DIFF: pl.Int64()} if frame.node.is_changes else {})})
        found += lines(name, world.shelves[name].rows(schema, folds=frame.node.is_changes))
    return found


def drive(build: Build, inputs: Mapping[str, Given]) -> Lines:
    """The outputs of the tasks stepped by hand, the sources in turn, two rows each."""
    outputs = build(**{name: given.scan(name, [2], ManualClock()) for name, given in inputs.items()})
    sinks = [frame.sink_queue(SimpleQueue(), name=name) for name, frame in outputs.items()]
    waiting = {name: given.steps([2]) for name, given in inputs.items()}
    splits = {name: given.splits for name, given in inputs.items() if given.has_events}
    with Driver(st.job(sinks), splits=splits) as driver:
        while any(waiting.values()):
            for name, steps in waiting.items():
                match steps.pop(0) if steps else None:
                    case str(duration):
                        driver.advance(duration)
                    case (split, rows):
                        driver.push(rows, to=name, split=split)
    found: Lines = []
    for (name, frame), sink in zip(outputs.items(), driver.sinks, strict=True):
        empty = pl.DataFrame(schema={**frame.schema, **({DIFF: pl.Int64()} if frame.node.is_changes else {})})
        rows = pl.concat([empty, *driver.take(sink)])
        found += lines(name, fold(rows) if frame.node.is_changes else rows)
    return found


def lines(name: str, frame: pl.DataFrame) -> Lines:
    """One line of JSON per row."""
    return [f'{{"{name}":{row}}}' for row in frame.write_ndjson().splitlines()]


def load(name: str) -> Any:
    """The module of a pipeline."""
    return importlib.import_module(f"tests.pipelines.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    module, path = load(name), HERE / f"{name}.jsonl"
    straight = run(module.pipeline, module.INPUTS, [1_000], 1)
    if os.environ.get("STREAME_GOLDEN") == "write":
        path.write_text("".join(f"{line}\n" for line in sorted(straight)))
    golden = path.read_text().splitlines()
    assert all(json.loads(line) for line in golden)
    assert sorted(straight) == golden
    assert sorted(run(module.pipeline, module.INPUTS, [1, 3, 0, 2], 3)) == golden
    assert sorted(resumed(module.pipeline, module.INPUTS)) == golden
    assert sorted(drive(module.pipeline, module.INPUTS)) == golden


def test_every_golden_file_has_a_pipeline() -> None:
    assert sorted(path.stem for path in HERE.glob("*.jsonl")) == NAMES
    assert len(NAMES) >= 6
