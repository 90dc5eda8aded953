"""Scratch files: what is written is read, nothing is left behind, and what others use is left alone."""

import fcntl
import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streame.storage.scratch import Scratch


def folders(parent: Path) -> list[Path]:
    return sorted(parent.glob("streame-spill-*"))


def test_bytes_are_read_from_any_offset(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.join()
    file = scratch.write([memoryview(b"abc"), memoryview(b""), memoryview(b"defg")])
    assert file.length == 7
    into = np.zeros(4, np.uint8)
    assert file.fill(2, into.data)
    assert into.tobytes() == b"cdef" == file.read(2, 4)
    assert not file.fill(5, into.data), "there are only two bytes more"
    assert file.read(5, 4) == b"fg"
    scratch.leave()


def test_a_file_is_written_over_when_nobody_refers_to_it(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.join()
    kept, file = scratch.write([memoryview(b"kept")]), scratch.write([memoryview(b"abcdef")])
    path = Path(file.path)
    del file
    gc.collect()
    shorter = scratch.write([memoryview(b"xyz")])
    assert Path(shorter.path) == path
    assert path.read_bytes() == b"xyz"
    assert scratch.write([memoryview(b"another")]).path not in {kept.path, shorter.path}
    assert kept.read(0, 9) == b"kept"
    scratch.leave()


def test_few_files_are_kept_that_nobody_refers_to(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.join()
    files = [scratch.write([memoryview(b"abc")]) for _ in range(50)]
    assert len(list(tmp_path.rglob("[0-9]*"))) == 50
    files.clear()
    gc.collect()
    assert 0 < len(list(tmp_path.rglob("[0-9]*"))) <= 4
    scratch.trim()
    assert not list(tmp_path.rglob("[0-9]*"))
    scratch.leave()
    assert not folders(tmp_path)


def test_a_file_that_outlives_its_folder_is_not_written_over(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.join()
    kept = scratch.write([memoryview(b"abc")])
    scratch.leave()
    scratch.join()
    del kept
    gc.collect()
    assert scratch.write([memoryview(b"new")]).read(0, 3) == b"new"
    scratch.leave()


def test_the_folder_goes_with_the_last_who_leaves(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "below")
    scratch.join()
    scratch.join()
    assert not (tmp_path / "below").exists(), "nothing was written yet"
    kept = scratch.write([memoryview(b"abc")])
    scratch.leave()
    assert folders(tmp_path / "below")
    scratch.leave()
    assert not folders(tmp_path / "below")
    assert kept.length == 3


def test_what_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    script = (
        "import os, sys; from streame.storage.scratch import Scratch; s = Scratch(sys.argv[1]); s.join();"
        "f = s.write([memoryview(b'abc')]); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 9
    (left,) = folders(tmp_path)
    mine = tmp_path / "streame-spill-of-somebody-else"
    mine.mkdir()
    scratch, other = Scratch(tmp_path), Scratch(tmp_path)
    for each in (scratch, other):
        each.join()
    files = [each.write([memoryview(b"abc")]) for each in (scratch, other)]
    assert not left.exists()
    assert mine.exists(), "it has no lock, so it is not ours"
    assert all(Path(file.path).exists() for file in files), "folders in use stay"
    for each in (scratch, other):
        each.leave()


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.join()
    first = scratch.write([memoryview(b"abc")])
    folder = Path(first.path).parent
    (folder / "2").write_bytes(b"in the way")
    with pytest.raises(FileExistsError):
        scratch.write([memoryview(b"abc")])
    with (folder / "in-use").open("rb") as lock, pytest.raises(OSError, match="unavailable"):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    scratch.leave()
