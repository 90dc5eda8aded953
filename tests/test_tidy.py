"""The rules of the house hold in every file. There is no list of exemptions."""

import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tidy import layers, savable, shape, words
from tests.tidy.changes import bad_entry
from tests.tidy.module import Finding, Module

ROOT = Path(__file__).parent.parent

RULES: tuple[Callable[[Module], Iterator[Finding]], ...] = (
    layers.wrong_layer,
    layers.plan_meets_runtime,
    shape.long_file,
    shape.long_body,
    shape.module_docstring,
    shape.inner_import,
    shape.empty_name,
    words.banned_name,
)


def texts() -> dict[str, str]:
    """Path and text of every file that is or will be in the repository, binary ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode().split("\0")  # fmt: skip
    found = {}
    for path in filter(None, listed):
        if (ROOT / path).is_file():
            content = (ROOT / path).read_bytes()
            if b"\0" not in content:
                found[path] = content.decode(errors="replace")
    return found


TEXTS = texts()
MODULES = [Module(path, text) for path, text in TEXTS.items() if path.endswith(".py")]


def report(findings: Iterator[Finding]) -> None:
    """Fail with one line per finding, as compilers write it."""
    if lines := sorted(set(findings)):
        pytest.fail("\n" + "\n".join(map(str, lines)), pytrace=False)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps(rule: Callable[[Module], Iterator[Finding]]) -> None:
    report(finding for module in MODULES for finding in rule(module))


def test_every_file_of_the_package_is_imported() -> None:
    project = tomllib.loads(TEXTS["pyproject.toml"])["project"]
    scripts = [entry.partition(":")[0] for entry in project["scripts"].values()]
    # Users import the modules of `testing` by name: some need packages that only tests have.
    testing = [module.name for module in MODULES if module.name.startswith("streame.testing")]
    report(layers.unreached(MODULES, ["streame", "streame.__main__", *scripts, *testing]))


def test_what_changes_is_saved() -> None:
    report(savable.unsaved_attribute(MODULES))


def test_no_file_holds_a_banned_word() -> None:
    report(finding for path, text in TEXTS.items() for finding in words.banned_word(path, text))


def test_changes_are_written_down() -> None:
    entries = {path: text for path, text in TEXTS.items() if path.startswith("changes/")}
    assert len(entries) > 1, "changes/ has no entry"
    report(finding for path, text in entries.items() for finding in bad_entry(path, text))
