"""Windows of a number of rows."""

from collections.abc import Iterable
from functools import partial
from typing import Self

from polars._typing import IntoExpr

from streame.api.handle import Handle
from streame.api.keyed_groups import KeyedGroups, keys_of
from streame.core.sessions import END, START
from streame.errors import PlanError
from streame.plan.keyed import CountAggregate

_VERB = "group_by_count"


class CountVerbs(Handle):
    """Grouping by the number of rows."""

    __slots__ = ()

    def group_by_count(
        self, n: int, *, group_by: IntoExpr | Iterable[IntoExpr] | None = None, name: str | None = None
    ) -> KeyedGroups[Self]:
        """Put every `n` rows of a key together, to compute something of them.

        Rows are counted in the order of event time, those of equal time in the order of their sources, so the answer is
        the same on every run: a row counts when the watermark has passed its time, and one that is older than the
        watermark of its own split is in `.late`. Without event time rows are counted as they come.

        In memory are the rows whose time has not come, and for each key the values of the rows that do not make `n` yet.

        Args:
            n: how many rows, at least one.
            group_by: column names or row-wise expressions; the rows of every key are counted by themselves.
            name: the name of the operator, unique in the job; derived from `n` and the keys by default.

        Returns:
            The groups; `.agg(...)` or another method says what is computed of each. The result has the keys, where
            there is event time `start` and `end` (the times of the first and the last row), and the results. What is
            left of each key at the end of the input comes last, as a group of fewer rows. These may be of any age, so
            event time ends here: declare it again, with `with_event_time("end", watermark=...)`, for verbs over time
            that follow; what comes last is late for them then.

        Raises:
            PlanError: when `n` is no number of rows, a key is not row-wise, or the stream is a changes stream.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea", "cup", "tea"], "qty": [2, 3, 4, 5]})])
            >>> pairs = orders.group_by_count(2, group_by="item").agg(pl.col("qty").sum(), n=pl.len())
            >>> pairs.collect().sort("qty").rows()
            [('cup', 4, 1), ('tea', 5, 2), ('tea', 5, 1)]
        """
        if type(n) is not int or n < 1:
            raise PlanError(f"{_VERB}: n is {n!r}; give how many rows make a group, at least 1")
        taken = () if self._node.event_time is None else (START, END)
        keys = keys_of(self, group_by, taken, where=_VERB)
        by = f" by {', '.join(key.name for key in keys)}" if keys else ""
        make = partial(CountAggregate, name=name or f"{_VERB} {n}{by}", count=n)
        return KeyedGroups(self, _VERB, keys, taken, make)
