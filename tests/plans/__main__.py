"""Print the script of a seed: `python -m tests.plans 12345`; with `--shrink`, of the smallest plan that fails alike."""

import sys

from tests.plans.generator import plan
from tests.plans.running import failure_of
from tests.plans.shrinking import shrunk

one, stream, expected = plan(int(sys.argv[1]))
found = failure_of(stream, expected, one)
if found is not None and "--shrink" in sys.argv:
    one, found = shrunk(one, found)
print(one.script(f"Seed {sys.argv[1]}: {found.text if found else 'as Polars'}"))
