"""A digest of all that a job does, by which nodes find out whether they run the same."""

import json
from collections.abc import Sequence

from xxhash import xxh3_128_hexdigest

from streame.core.config import Config
from streame.plan.identity import plan_identity
from streame.plan.nodes import Write


def program_digest(writes: Sequence[Write], config: Config) -> str:
    """Equal for equal programs only.

    Args:
        writes: the sinks of the job, optimized, with everything above them.
        config: its settings.
    """
    return xxh3_128_hexdigest(json.dumps([plan_identity(writes), config.parallelism]).encode())
