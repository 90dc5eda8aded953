"""`python -m tests.simulation 0..999`: runs seeds and says what is wrong."""

import sys
import time
from collections import Counter

from tests.simulation.runs import run


def main() -> None:
    first, _, last = sys.argv[1].partition("..")
    is_single = not last
    counts: Counter[str] = Counter()
    began = time.perf_counter()
    failed = []
    seeds = range(int(first), int(last or first) + 1)
    for seed in seeds:
        result = run(seed)
        counts.update(result.counts)
        if is_single:
            print("\n".join(result.lines))
            print(result.seconds, result.steps, result.digest, dict(result.counts))
        if result.error:
            failed.append(seed)
            print(f"seed {seed}: {result.error[-400:] if not is_single else result.error}", flush=True)
    took_s = time.perf_counter() - began
    print(
        f"{len(seeds)} seeds, {len(failed)} failed {failed}, {took_s / len(seeds) * 1000:.0f} ms each, {dict(counts)}"
    )


if __name__ == "__main__":
    main()
