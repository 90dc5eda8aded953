"""Tests of pipelines: batches as text, a driver that steps a pipeline by hand, and what sinks must keep.

`streame.testing.strategies` holds strategies for Hypothesis, and is imported by name, as it needs that package.
"""

from streame.testing.batches import batch, to_text
from streame.testing.contracts import MemoryOutbox, SteppedDisk, check_transactional_sink
from streame.testing.driver import Driver

__all__ = ["Driver", "MemoryOutbox", "SteppedDisk", "batch", "check_transactional_sink", "to_text"]
