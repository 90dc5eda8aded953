"""Tests of pipelines: batches as text, and a driver that steps a pipeline by hand.

`streame.testing.strategies` holds strategies for Hypothesis, and is imported by name, as it needs that package.
"""

from streame.testing.batches import batch, to_text
from streame.testing.driver import Driver

__all__ = ["Driver", "batch", "to_text"]
