"""Runs seeds: `python -m tests.simulation 0..999`, or one of them with all that happens: `python -m tests.simulation 7`.

`--mutant NAME` takes a rule out of the code and ends with the first seed that notices. What a seed means depends on the code: a
seed that has found something is kept, but another version may do something else with it.
"""

import argparse
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

from tests.simulation.mutants import MUTANTS, without
from tests.simulation.runs import Result, run
from tests.simulation.workers import ENVIRONMENT, Report


def seeds_of(text: str) -> list[int]:
    """`3`, `0..9`, or several of these with commas."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("..")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def results(seeds: Sequence[int], mutant: str | None) -> Iterator[Result]:
    """What comes out of each seed; with a mutant, up to the first that notices."""
    with without(mutant) if mutant else nullcontext():
        for seed in seeds:
            result = run(seed)
            yield result
            gc.collect()
            if mutant and result.error:
                return


def report_of(
    seeds: Sequence[int], mutant: str | None, tell: Callable[[Result], None] | None = None
) -> Report:
    """All of it put together; each is told of."""
    report = Report()
    for result in results(seeds, mutant):
        if tell is not None:
            tell(result)
        report.counts.update(result.counts)
        report.digests[str(result.seed)] = result.digest
        if result.error:
            report.failed[str(result.seed)] = (
                f"{result.error}\nagain: python -m tests.simulation {result.seed}"
            )
    return report


def serve() -> None:
    """Run what a line of JSON says, and answer with a line, until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        report = report_of(asked["seeds"], asked["mutant"])
        print(json.dumps(vars(report)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", nargs="?", default="0..99")
    parser.add_argument("--mutant", choices=MUTANTS)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    logging.disable()
    gc.freeze()
    gc.disable()  # it would run in whatever thread goes on, and takes a tenth of the time
    if arguments.serve:
        serve()
        return
    began = time.perf_counter()
    seeds = seeds_of(arguments.seeds)
    report = report_of(seeds, arguments.mutant, tell if len(seeds) == 1 else None)
    each_ms = (time.perf_counter() - began) / len(report.digests) * 1000
    for seed, error in report.failed.items():
        print(f"seed {seed}: {error}")
    print(
        f"{len(report.digests)} seeds, {len(report.failed)} failed {list(report.failed)}, {each_ms:.0f} ms each"
    )
    print(dict(report.counts))


def tell(result: Result) -> None:
    """All that has happened."""
    print("\n".join(result.lines))
    print(f"{result.seconds:.1f} s of its own time, {result.steps:,} steps, digest {result.digest}")


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **ENVIRONMENT})  # noqa: S606 - it is this program
    main()
