"""Every pipeline of this folder runs three ways, and each time gives the rows of the file beside it.

A pipeline is a module with `INPUTS`, the `Given` rows by source, and `pipeline`, which takes the sources by name and
returns its outputs by name. `STREAME_GOLDEN=write` writes the golden files anew.
"""

import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.testing import Driver
from tests.pipelines.given import Given

HERE = Path(__file__).parent
NAMES = sorted(
    path.stem for path in HERE.glob("*.py") if path.stem not in {"__init__", "given", "test_golden"}
)

Lines = list[str]
Build = Callable[..., Mapping[str, st.StreamDataFrame]]


def run(build: Build, inputs: Mapping[str, Given], cuts: list[int], parallelism: int) -> Lines:
    """The outputs of a job in threads."""
    outputs = build(**{name: given.scan(name, cuts) for name, given in inputs.items()})
    queues: dict[str, SimpleQueue[Any]] = {name: SimpleQueue() for name in outputs}
    sinks = [frame.sink_queue(queues[name], as_frames=True, name=name) for name, frame in outputs.items()]
    st.job(sinks).run(parallelism=parallelism)
    return [line for name, queue in queues.items() for frame in frames(queue) for line in lines(name, frame)]


def frames(queue: SimpleQueue[Any]) -> Iterator[pl.DataFrame]:
    """What is in a queue, up to its end."""
    while (item := queue.get()) is not st.END:
        yield item


def drive(build: Build, inputs: Mapping[str, Given]) -> Lines:
    """The outputs of the tasks stepped by hand, the sources in turn, two rows each."""
    outputs = build(**{name: given.scan(name, [2]) for name, given in inputs.items()})
    sinks = [frame.sink_queue(SimpleQueue(), name=name) for name, frame in outputs.items()]
    waiting = {name: given.batches([2]) for name, given in inputs.items()}
    with Driver(st.job(sinks)) as driver:
        while any(waiting.values()):
            for name, batches in waiting.items():
                if batches:
                    driver.push(batches.pop(0), to=name)
    return [
        line
        for name, sink in zip(outputs, driver.sinks, strict=True)
        for frame in driver.take(sink)
        for line in lines(name, frame)
    ]


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
    assert sorted(drive(module.pipeline, module.INPUTS)) == golden


def test_every_golden_file_has_a_pipeline() -> None:
    assert sorted(path.stem for path in HERE.glob("*.jsonl")) == NAMES
    assert len(NAMES) >= 6
