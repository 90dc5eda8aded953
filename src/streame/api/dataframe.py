"""The StreamDataFrame: a Polars dataframe over rows that never stop arriving."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import polars as pl

from streame.api.counts import CountVerbs
from streame.api.event_time import EventTimeVerbs
from streame.api.grouping import GroupByVerbs
from streame.api.job import write_job
from streame.api.joins import JoinVerbs
from streame.api.nulls import NullVerbs
from streame.api.refused import refuse
from streame.api.reshape import ReshapeVerbs
from streame.api.rolling import RollingVerbs
from streame.api.row_wise import RowWiseVerbs
from streame.api.sessions import SessionVerbs
from streame.api.sinks import SinkVerbs
from streame.api.table import TableVerbs
from streame.api.top_k import TopKVerbs
from streame.api.unique import UniqueVerbs
from streame.api.windows import WindowVerbs
from streame.core.schemas import as_schema
from streame.errors import PlanError
from streame.io.memory import MemorySink
from streame.plan.nodes import (
    Concat,
    Late,
    MapBatches,
    Rejected,
    RowWise,
    Scan,
    Stateful,
    is_bounded,
    walk,
)

P = ParamSpec("P")
T = TypeVar("T")


class StreamDataFrame(
    RowWiseVerbs,
    NullVerbs,
    ReshapeVerbs,
    EventTimeVerbs,
    GroupByVerbs,
    WindowVerbs,
    SessionVerbs,
    CountVerbs,
    RollingVerbs,
    TableVerbs,
    JoinVerbs,
    TopKVerbs,
    UniqueVerbs,
    SinkVerbs,
):
    """A plan over rows that never stop arriving, with the methods of `polars.LazyFrame`.

    Made by `st.scan_*`. It is immutable: a verb returns a new one and runs nothing. Its schema is always known,
    and what cannot be answered row by row or with bounded state is refused when the verb is called. Row-wise verbs
    keep the order of the rows of a split, and hold no rows between two batches.

    Example:
        >>> import polars as pl, streame as st
        >>> orders = st.scan_frames([pl.DataFrame({"item": ["a", "b"], "qty": [1, 3]})])
        >>> orders.filter(pl.col("qty") > 2).with_columns(double=pl.col("qty") * 2).collect().to_dicts()
        [{'item': 'b', 'qty': 3, 'double': 6}]
    """

    __slots__ = ()

    def map_batches(
        self,
        function: Callable[[pl.DataFrame], pl.DataFrame],
        *,
        schema: Mapping[str, Any] | pl.Schema | None = None,
        row_wise: bool = False,
    ) -> Self:
        """Call a Python function with every batch.

        Without `row_wise`, rows behind it have no position of their own: a dead letter of a later verb has no source,
        split or offset.

        Args:
            function: takes a frame of at most 65,536 rows and returns one. How rows are cut into batches is not
                fixed, so only a function that takes every row by itself gives the same answer every time.
            schema: what it returns; the schema of the input by default. Checked at every batch.
            row_wise: promises one row for each, whatever stands beside it. Then a row for which the function
                raises is set aside by itself (the function is called again with parts of the batch to find it);
                otherwise an error ends the job with a `DataError`.

        Returns:
            A frame of `schema`.

        Raises:
            PlanError: when `function` is none, the schema cannot be read, or the rows are a changes stream and
                `row_wise` is not promised.

        Example:
            >>> import polars as pl, streame as st
            >>> def doubled(frame: pl.DataFrame) -> pl.DataFrame:
            ...     return frame.with_columns(pl.col("qty") * 2)
            >>> orders = st.scan_frames([pl.DataFrame({"qty": [1, 3]})])
            >>> orders.map_batches(doubled, row_wise=True).collect()["qty"].to_list()
            [2, 6]
        """
        if self._node.is_changes and not row_wise:
            raise PlanError(
                "map_batches: the rows are a changes stream, so each needs its weight again after the function; "
                "promise one row for each with row_wise=True, or call it before the verb that says changes"
            )
        if not callable(function):
            raise PlanError(f"map_batches: found a {type(function).__name__} where a function is needed")
        output = self.schema if schema is None else as_schema(schema, where="map_batches")
        return self._with(MapBatches(self._node, function, output, row_wise))

    def pipe(self, function: Callable[Concatenate[Self, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function with this frame first, so that steps read from left to right.

        Args:
            function: takes a StreamDataFrame.
            *args: more arguments for it.
            **kwargs: more named arguments for it.

        Returns:
            What the function returns.

        Example:
            >>> import polars as pl, streame as st
            >>> def with_total(orders: st.StreamDataFrame) -> st.StreamDataFrame:
            ...     return orders.with_columns(total=pl.col("price") * pl.col("qty"))
            >>> orders = st.scan_frames([pl.DataFrame({"price": [2.0], "qty": [3]})])
            >>> orders.pipe(with_total).collect()["total"].to_list()
            [6.0]
        """
        return function(self, *args, **kwargs)

    @property
    def rejected(self) -> "StreamDataFrame":
        """The dead letters of this frame's sources and verbs, as a StreamDataFrame of their own.

        Its columns are `source, split, offset, operator, kind, message, raw, at`. Only sources with
        `on_error="dead_letter"` and the verbs behind them set rows aside.

        Returns:
            A stream that ends when the sources end; every dead letter, in the order in which they were found.

        Raises:
            PlanError: when no source does.

        Example:
            >>> import polars as pl, streame as st
            >>> rows = st.scan_rows([{"qty": 1}, {"qty": "x"}], {"qty": pl.Int64}, on_error="dead_letter")
            >>> rows.rejected.select("offset", "kind").collect().to_dicts()
            [{'offset': 1, 'kind': 'type'}]
        """
        scans = [node for node in walk(self._node) if isinstance(node, Scan)]
        if not any(scan.on_error == "dead_letter" for scan in scans):
            names = ", ".join(scan.name for scan in scans)
            raise PlanError(
                f'rejected: no source above ({names}) sets rows aside; give it on_error="dead_letter"'
            )
        return StreamDataFrame(Rejected(self._node))

    @property
    def late(self) -> "StreamDataFrame":
        """The rows that came after all their windows had closed, as a stream of their own.

        They are those of the nearest verb above that closes windows or sets rows aside by time, as they were when
        they came there. Late rows are counted in the metrics of that verb even if nobody reads them here.

        Returns:
            The columns that go into that verb. A row is late if every window that it belongs to had ended when its
            own split had come so far, so which rows are late depends on the order within each split alone; only
            a split that was idle can add to them.

        Raises:
            PlanError: when no verb above has late rows.

        Example:
            >>> from datetime import datetime
            >>> import polars as pl, streame as st
            >>> times = [datetime(2024, 1, 1, 12, minute) for minute in (0, 9, 1)]
            >>> clicks = st.scan_frames([pl.DataFrame({"at": times})], event_time="at")
            >>> counts = clicks.group_by_dynamic("at", every="5m").agg(n=pl.len())
            >>> counts.late.collect()["at"].to_list()
            [datetime.datetime(2024, 1, 1, 12, 1)]
        """
        node = self._node
        while isinstance(node, RowWise):
            node = node.inputs[0]
        schema = node.late_schema if isinstance(node, Stateful) else None
        if not isinstance(node, Stateful) or schema is None:
            raise PlanError("late: no verb right above has windows that close, so no row can be late for it")
        return StreamDataFrame(Late(node, schema))

    def collect(self, *, errors: Any = None, parallelism: int | None = None) -> pl.DataFrame:
        """Run the plan to its end and return all rows; for bounded sources only.

        Of a changes stream it returns the table that the changes lead to.

        Args:
            errors: where dead letters go, see `Job.run`.
            parallelism: instances of every keyed operator.

        Returns:
            All rows, in memory; those of one split in order, as long as no join runs with a `parallelism` above 1.

        Raises:
            PlanError: when a source does not end, or an argument is wrong.
            DataError: when a row is bad and its source has `on_error="fail"`, or a function of `map_batches` fails.
            ConnectorError: when a source cannot be read.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_rows([{"item": "tea", "qty": 2}], {"item": pl.String, "qty": pl.Int64})
            >>> orders.collect().to_dicts()
            [{'item': 'tea', 'qty': 2}]
        """
        if not is_bounded(self._node):
            endless = [
                node.name for node in walk(self._node) if isinstance(node, Scan) and not node.source.bounded
            ]
            raise PlanError(
                f"collect: {', '.join(endless)} never ends, so there is no 'all rows'; give the rows to a sink"
            )
        sink = MemorySink(folds=self._node.is_changes)
        write_job(self._node, lambda: sink, "collect").run(errors=errors, parallelism=parallelism)
        return sink.frame()

    def explain(self) -> str:
        """The plan as a readable tree: operators, chains, schemas, Python functions, and what bounds state.

        Returns:
            Lines with what comes out first and what feeds it below; for people, and not the same for ever.

        Raises:
            PlanError: when two sources or joins have the same name.

        Example:
            >>> import polars as pl, streame as st
            >>> print(st.scan_frames([pl.DataFrame({"qty": [2]})], name="orders").explain())
            job collect
            └─ sink collect
               │  -> qty: Int64
               └─ source orders (FramesSource, ends, on_error=fail)
                     -> qty: Int64
        """
        return write_job(self._node, MemorySink, "collect").explain()

    def __getattr__(self, name: str) -> Any:
        raise refuse(name, (each for each in dir(type(self)) if not each.startswith("_")))

    def __bool__(self) -> bool:
        raise TypeError("a StreamDataFrame is neither true nor false; its rows are not known yet")


def concat(items: Iterable[StreamDataFrame], *, how: str = "vertical") -> StreamDataFrame:
    """The rows of several streams as one, as they come.

    Args:
        items: streams with the same columns and dtypes in the same order.
        how: `"vertical"`, the only way.

    Returns:
        One stream; rows of one split keep their order, those of different streams come as they come.

    Raises:
        PlanError: when there are none, or their schemas differ.

    Example:
        >>> import polars as pl, streame as st
        >>> shop = st.scan_frames([pl.DataFrame({"qty": [1]})], name="shop")
        >>> web = st.scan_frames([pl.DataFrame({"qty": [2]})], name="web")
        >>> sorted(st.concat([shop, web]).collect()["qty"])
        [1, 2]
    """
    frames = list(items)
    if not frames:
        raise PlanError("concat: give at least one stream")
    for frame in frames:
        if not isinstance(frame, StreamDataFrame):
            raise PlanError(f"concat: found a {type(frame).__name__} where a StreamDataFrame is needed")
    if how != "vertical":
        raise PlanError(f"concat: how={how!r} is not possible; make the columns equal and use 'vertical'")
    first = frames[0].schema
    for number, frame in enumerate(frames):
        if list(frame.schema.items()) != list(first.items()):
            raise PlanError(
                f"concat: stream {number} has the columns {dict(frame.schema)}, the first one {dict(first)}; "
                "make them equal with select and cast"
            )
    return frames[0] if len(frames) == 1 else StreamDataFrame(Concat(tuple(frame.node for frame in frames)))
