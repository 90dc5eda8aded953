"""Which of several readers of one source reads a split, and what their positions come to together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from streame.runtime.partition import owners

Position = Any
"""A JSON value: whether the source has ended, the offset of each split, and which have been read whole."""


def split_keys(splits: Sequence[str]) -> pl.DataFrame:
    """The names of splits as keys: a split belongs to the instance that owns its name."""
    return pl.DataFrame({"split": splits}, schema={"split": pl.String})


@dataclass(frozen=True, slots=True)
class Share:
    """The splits that one of several readers reads.

    Args:
        instance: its number.
        instances: how many readers there are.
    """

    instance: int = 0
    instances: int = 1

    def of(self, splits: Sequence[str]) -> list[str]:
        """Those among `splits` that it reads, in their order."""
        if self.instances == 1 or not splits:
            return list(splits)
        numbers = owners(split_keys(splits), self.instances).tolist()
        return [split for split, number in zip(splits, numbers, strict=True) if number == self.instance]

    def part(self, position: Position) -> Position:
        """What of the position of a source is about its splits."""
        splits = position["splits"]
        part = {
            "offsets": self._part(splits["offsets"]),
            "read": self.of(splits["read"]),
            **({"within": self._part(splits["within"])} if "within" in splits else {}),
        }
        return {"done": position["done"], "splits": part}

    def _part(self, values: dict[str, Any]) -> dict[str, Any]:
        return {split: values[split] for split in self.of(list(values))}


def merged(positions: Sequence[Position]) -> Position:
    """The position of a source whose readers are at these: the same whoever has read which split."""
    offsets: dict[str, Any] = {}
    within: dict[str, Any] = {}
    read: list[str] = []
    for position in positions:
        splits = position["splits"]
        assert not offsets.keys() & splits["offsets"].keys(), "two readers have read a split"
        offsets |= splits["offsets"]
        within |= splits.get("within", {})
        read += splits["read"]
    splits = {"offsets": offsets, "read": sorted(read), **({"within": within} if within else {})}
    return {"done": all(position["done"] for position in positions), "splits": splits}
