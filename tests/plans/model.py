"""A random plan as data: sources, and verbs as the code of a stream and of Polars. Its script runs by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Any

from tests.plans import prelude

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Source:
    """A source and its rows.

    Args:
        dtypes: the columns, each with the code of its dtype.
        splits: the rows of each split, in the order in which they come.
        time: the column of event time.
        watermark: how late a row may be.
        cuts: the sizes of the batches, over and over.
        how: how the batches lie in memory: `plain`, `sliced` or `chunked`.
        times: how often the rows come over again, each time `after` later.
        after: how much later.
        on_error: what happens to bad rows.
    """

    dtypes: dict[str, str]
    splits: tuple[tuple[Row, ...], ...]
    time: str | None = None
    watermark: str | int = "0s"
    cuts: tuple[int, ...] = (1_000,)
    how: str = "plain"
    times: int = 1
    after: int = 0
    on_error: str = "fail"

    def code(self, number: int) -> Iterator[str]:
        """The lines that define the stream `f<number>` and Polars' rows `p<number>`."""
        schema = ", ".join(f"{name!r}: {dtype}" for name, dtype in self.dtypes.items())
        yield f"schema = {{{schema}}}"
        yield f"s{number} = ["
        for split in self.splits:
            yield "    rows("
            yield "        schema,"
            yield from (f"        {row!r}," for row in split)
            yield "    ),"
        yield "]"
        if self.times != 1:
            yield (
                f"s{number} = [again(each, {self.time!r}, {self.times}, {self.after}) for each in s{number}]"
            )
        timed = "" if self.time is None else f", event_time={self.time!r}, watermark={self.watermark!r}"
        failing = "" if self.on_error == "fail" else f", on_error={self.on_error!r}"
        yield (
            f"f{number} = st.scan(Splits(s{number}, {list(self.cuts)}, {self.how!r})"
            f", name='source {number}'{timed}{failing})"
        )
        yield f"p{number} = in_order(s{number}, {self.time!r})"


@dataclass(frozen=True)
class Step:
    """A verb.

    Args:
        verb: its name, for statistics.
        inputs: the numbers of the nodes that it takes.
        stream: its code; `$a` and `$b` are its inputs, `$aggs` the list of that name, `$name` a name of its own.
        polars: the code that means the same in Polars.
        lists: parts of the code that may be left out one by one.
    """

    verb: str
    inputs: tuple[int, ...]
    stream: str
    polars: str
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def code(self, number: int) -> Iterator[str]:
        """The lines that define the stream `f<number>` and Polars' rows `p<number>`."""
        yield f"f{number} = {self._of('f', self.stream, number)}"
        yield f"p{number} = {self._of('p', self.polars, number)}"

    def _of(self, letter: str, text: str, number: int) -> str:
        parts = {name: ", ".join(parts) for name, parts in self.lists.items()}
        parts["name"] = f"name='{self.verb} {number}'"
        parts |= {"ab"[place]: f"{letter}{each}" for place, each in enumerate(self.inputs)}
        return Template(text).substitute(parts)


Part = Source | Step


@dataclass(frozen=True)
class Plan:
    """A plan: its parts, each of which may take from those before it; the last one is the result."""

    parts: tuple[Part, ...]
    parallelism: int = 1
    optimized: bool = True

    def used(self) -> list[int]:
        """The numbers of the parts that the result is made of."""
        found, waiting = set[int](), [len(self.parts) - 1]
        while waiting:
            number = waiting.pop()
            part = self.parts[number]
            if number not in found and isinstance(part, Step):
                waiting += part.inputs
            found.add(number)
        return sorted(found)

    def tidy(self) -> "Plan":
        """The same plan without the parts that nothing is made of."""
        place = {number: index for index, number in enumerate(self.used())}
        parts: list[Part] = []
        for number in place:
            part = self.parts[number]
            if isinstance(part, Step):
                part = replace(part, inputs=tuple(place[each] for each in part.inputs))
            parts.append(part)
        return replace(self, parts=tuple(parts))

    def check_code(self) -> str:
        """The line that runs both and compares."""
        last = len(self.parts) - 1
        return f"check(f{last}, p{last}, parallelism={self.parallelism}, optimized={self.optimized})"

    def script(self, comment: str = "") -> str:
        """A program that needs nothing but Streame and Polars."""
        lines = [line for number, part in enumerate(self.parts) for line in part.code(number)]
        return "\n".join([_PRELUDE, "", *_comment(comment), *lines, self.check_code(), ""])


def _comment(text: str) -> Sequence[str]:
    return [f"# {line}".rstrip() for line in text.splitlines()]


_PRELUDE = (
    Path(prelude.__file__).read_text(encoding="utf-8").replace('"""', '"""A random plan that failed.\n\n', 1)
)
