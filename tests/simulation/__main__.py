"""Runs seeds: `python -m tests.simulation 0..999`, or one of them with all that happens: `python -m tests.simulation 7`.

`--mutant NAME` takes a rule out of the code and ends with the first seed that notices; `--json` is for programs. What a seed
means depends on the code: a seed that has found something is kept, but another version may do something else with it.
"""

import argparse
import gc
import json
import logging
import os
import sys
import time
from collections import Counter

from tests.simulation.mutants import MUTANTS
from tests.simulation.runs import Result, run

COLLECT_EVERY = 10
ENVIRONMENT = {"PYTHONHASHSEED": "0", "POLARS_MAX_THREADS": "1"}
"""Without these the same seed may not give the same run."""


def seeds_of(text: str) -> list[int]:
    """`3`, `0..9`, or several of these with commas."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("..")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds")
    parser.add_argument("--mutant", choices=MUTANTS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.disable()
    if arguments.mutant:
        MUTANTS[arguments.mutant]()
    seeds = seeds_of(arguments.seeds)
    counts: Counter[str] = Counter()
    failed: dict[int, str] = {}
    digests: dict[int, str] = {}
    began = time.perf_counter()
    gc.freeze()
    gc.disable()  # it would run in whatever thread goes on, and takes a tenth of the time
    for number, seed in enumerate(seeds):
        result = run(seed)
        counts.update(result.counts)
        digests[seed] = result.digest
        if len(seeds) == 1 and not arguments.json:
            tell(result)
        if result.error:
            failed[seed] = f"{result.error}\nagain: python -m tests.simulation {seed}"
            if arguments.mutant:
                break
        if number % COLLECT_EVERY == 0:
            gc.collect()
    took_s = time.perf_counter() - began
    if arguments.json:
        print(json.dumps({"failed": failed, "counts": counts, "digests": digests, "seconds": took_s}))
        return
    for seed, error in failed.items():
        print(f"seed {seed}: {error}")
    print(
        f"{len(digests)} seeds, {len(failed)} failed {list(failed)}, {took_s / len(digests) * 1000:.0f} ms each"
    )
    print(dict(counts))


def tell(result: Result) -> None:
    """All that has happened."""
    print("\n".join(result.lines))
    print(f"{result.seconds:.1f} s of its own time, {result.steps:,} steps, digest {result.digest}")


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **ENVIRONMENT})  # noqa: S606 - it is this program
    main()
