"""Every job of these tests ends without leaving a thread behind."""

import threading
import time
from collections.abc import Iterator

import pytest

THREADS_END_WITHIN_S = 5.0


@pytest.fixture(autouse=True)
def no_orphan_threads() -> Iterator[None]:
    """No thread of the engine is left when a test has ended."""
    yield
    deadline = time.monotonic() + THREADS_END_WITHIN_S
    for thread in threading.enumerate():
        if thread.name.startswith("streame"):
            thread.join(max(0.0, deadline - time.monotonic()))
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("streame")] == []
