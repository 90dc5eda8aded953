"""How many examples a property tries."""

import os

FACTOR = float(os.environ.get("STREAME_EXAMPLES", "1"))
"""What of the usual number of examples, random plans and simulated clusters a run tries."""

FEWEST = 3


def examples(count: int) -> int:
    """The number of examples of a property in this run; `STREAME_EXAMPLES` multiplies it."""
    return max(FEWEST, int(count * FACTOR))
