"""A file system with little room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.small_file_system import small_file_system


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    with small_file_system(tmp_path / "small", "4m") as place:
        yield place
