"""Whatever the documentation shows is executed: Markdown blocks and the examples in docstrings.

The `python` blocks of a page run in order, share their names, and stand in an empty folder. What a block prints
must be what the `text` block right after it shows; a block with `>>>` is checked as Python's doctest does. A block in
an HTML comment runs too: it is the place for what a reader need not see.
"""

import contextlib
import doctest
import importlib
import io
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.tidy.module import Module

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if "```python" in path.read_text()
)
MODULES = sorted(path for path in ROOT.glob("src/**/*.py") if ">>> " in path.read_text())

FENCED = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block: its language, its text, the line of its first row, and the output that the page shows."""

    language: str
    text: str
    line: int
    shown: str | None


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    found = list(FENCED.finditer(page))
    for block, following in zip(found, [*found[1:], None], strict=True):
        adjacent = following and not page[block.end() : following.start()].strip()
        shown = following["body"] if following and adjacent and following["language"] == "text" else None
        line = page.count("\n", 0, block.start("body")) + 1
        yield Block(block["language"], textwrap.dedent(block["body"]), line, shown and textwrap.dedent(shown))


def check(example: doctest.DocTest) -> None:
    """Run an example with `>>>` and compare what it prints."""
    said: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=said.append, clear_globs=False)
    if failed:
        pytest.fail("".join(said), pytrace=False)


def run_page(name: str, page: str) -> None:
    """Execute the Python of a page; errors carry the page's own line numbers."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python" and ">>> " in block.text:
            example = doctest.DocTestParser().get_doctest(block.text, names, name, name, block.line - 1)
            check(example)
            names = example.globs
        elif block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, name, "exec")
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(code, names)  # noqa: S102 - running the page is the point
            if block.shown is not None:
                assert printed.getvalue().rstrip() == block.shown.rstrip(), f"{name}:{block.line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(str(page.relative_to(ROOT)), page.read_text())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(Module(path.relative_to(ROOT).as_posix(), "").name)
    examples = [example for example in doctest.DocTestFinder().find(module) if example.examples]
    assert examples, "none of the examples stands in a docstring"
    for example in examples:
        check(example)


GOOD = """
```python
x = 1
print(x)
```

```text
1
```

  ```python
  >>> x + 1
  2
  ```
```text
not the output of a doctest
```
"""


def test_a_page_shares_its_names_and_shows_its_output() -> None:
    run_page("page.md", GOOD)


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (GOOD.replace("\n1\n", "\n2\n"), AssertionError),
        (GOOD.replace("  2\n", "  3\n"), pytest.fail.Exception),
        (GOOD.replace("x = 1", "x = y"), NameError),
    ],
)
def test_a_page_that_is_wrong_fails(page: str, error: type[BaseException]) -> None:
    with pytest.raises(error):
        run_page("page.md", page)
