"""The node of the best rows of each group."""

from dataclasses import dataclass

import polars as pl

from streame.plan.nodes import Node, Stateful


@dataclass(frozen=True, slots=True, eq=False)
class TopK(Stateful):
    """The best k rows, or the best k of each group.

    Args:
        name: the name under which its state is found.
        input: where the rows come from.
        k: how many rows.
        by: the columns that say which row is better, the first one first.
        smallest: for each of them whether the smallest value is the best.
        keys: the columns that name the group.
        output: what it puts out; the input may have computed columns besides.
    """

    input: Node
    k: int
    by: tuple[str, ...]
    smallest: tuple[bool, ...]
    keys: tuple[str, ...]
    output: pl.Schema

    @property
    def schema(self) -> pl.Schema:
        """The rows as they were."""
        return self.output

    @property
    def title(self) -> str:
        """How many, and of what."""
        return f"top {self.k}" + (f" of each {', '.join(self.keys)}" if self.keys else "")

    @property
    def details(self) -> list[str]:
        """Which rows are the best."""
        words = [
            f"{'smallest' if small else 'largest'} {name}"
            for name, small in zip(self.by, self.smallest, strict=True)
        ]
        return [", then ".join(words), "changes are said with every batch"]

    @property
    def bound(self) -> str:
        """The best rows, or all rows where they may be taken back."""
        if self.input.is_changes:
            return "all rows, since any may become one of the best when others are taken back: unbounded"
        return f"{self.k} rows" + (" per key, bounded by the number of keys" if self.keys else "")

    def _is_changes(self) -> bool:
        """A row that is no longer among the best is taken back."""
        return True
