"""Which files a path means."""

import os
from pathlib import Path

import pytest

from streame.errors import ConnectorError, PlanError
from streame.io.files.discovery import FileSet


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(root: Path, *patterns: str | Path) -> list[str]:
    found = FileSet.of([root / pattern for pattern in patterns], follow=False).names()
    return [os.path.relpath(name, root) for name in found]


def test_a_directory_means_all_files_below_it_in_name_order(tmp_path: Path) -> None:
    touch(tmp_path, "b", "a.csv", "sub/c", ".hidden", "_started", "new.tmp", "_log/1", ".git/x")
    assert names(tmp_path, ".") == ["a.csv", "b", "sub/c"]


def test_a_glob_means_what_it_says(tmp_path: Path) -> None:
    touch(tmp_path, "b.csv", "a.csv", "c.txt", "sub/d.csv", "dir.csv/x", "_e.csv")
    assert names(tmp_path, "*.csv") == ["_e.csv", "a.csv", "b.csv"]
    assert names(tmp_path, "**/*.csv") == ["_e.csv", "a.csv", "b.csv", "sub/d.csv"]
    assert names(tmp_path, "s?b/[d].csv") == ["sub/d.csv"]


def test_a_file_that_exists_is_no_glob(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].csv", "a1.csv")
    assert names(tmp_path, "a[1].csv") == ["a[1].csv"]


def test_several_paths_are_one_set(tmp_path: Path) -> None:
    touch(tmp_path, "d/b", "d/a", "c")
    assert names(tmp_path, "d", "c", "d/a", "?") == ["c", "d/a", "d/b"]


def test_a_string_and_a_path_mean_the_same(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    assert FileSet.of(str(tmp_path / "a"), follow=False) == FileSet.of(tmp_path / "a", follow=False)


@pytest.mark.parametrize("follow", [False, True])
def test_a_missing_file_is_refused_with_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, follow: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match=f"{tmp_path}/none.csv'?: no such file"):
        FileSet.of("none.csv", follow=follow)


@pytest.mark.parametrize(
    ("path", "message"),
    [("d", "no file is in the directory"), ("*.csv", "no file matches"), ("no/*.csv", "no file matches")],
)
def test_nothing_is_refused_unless_something_may_come(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(PlanError, match=message):
        FileSet.of(tmp_path / path, follow=False)
    assert FileSet.of(tmp_path / path, follow=True).names() == []


def test_no_path_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no path was given"):
        FileSet.of([], follow=False)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PlanError, match="neither a file nor a directory"):
        FileSet.of(tmp_path / "pipe", follow=False)


def test_files_that_come_later_are_found(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    files = FileSet.of([tmp_path / "d", tmp_path / "*.csv"], follow=True)
    touch(tmp_path, "d/1")
    assert len(files.names()) == 1
    touch(tmp_path, "2.csv", "d/2.tmp")
    assert len(files.names()) == 2
    (tmp_path / "d/1").unlink()
    (tmp_path / "d/2.tmp").unlink()
    (tmp_path / "d").rmdir()
    assert files.names() == [str(tmp_path / "2.csv")]


@pytest.mark.parametrize("path", ["d/a", "d", "d/*"])
def test_what_has_gone_before_it_is_read_is_an_error(tmp_path: Path, path: str) -> None:
    touch(tmp_path, "d/a")
    files = FileSet.of([tmp_path / path], follow=False)
    (tmp_path / "d/a").unlink()
    with pytest.raises(ConnectorError, match=f"{tmp_path}/d"):
        files.names()
