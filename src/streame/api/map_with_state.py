"""Keyed state of a user's own: a function that gets the new rows of a group and its state."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Generic, TypeVar

import polars as pl

from streame.api.handle import Handle
from streame.core.durations import duration_ticks, duration_us
from streame.core.encoding import ValueCodec
from streame.core.expressions import NamedExpr
from streame.core.group import StateFunction
from streame.core.schemas import as_schema
from streame.errors import PlanError
from streame.plan.nodes import Node
from streame.plan.user import MapWithState

Frame = TypeVar("Frame", bound=Handle)


class StatefulFunctions(Generic[Frame]):
    """The verb that runs a function with a state of its own for each key."""

    __slots__ = ()

    _frame: Frame
    _keys: tuple[NamedExpr, ...]
    _name: str | None

    def _keyed(self, verb: str) -> tuple[Frame, tuple[tuple[str, str], ...]]:
        """The frame with a column for each key; and for each key its column and its name."""
        raise NotImplementedError

    def map_with_state(
        self,
        function: StateFunction,
        *,
        state: Any,
        schema: Mapping[str, Any] | pl.Schema,
        ttl: str | timedelta | int | None,
        in_order: bool = True,
        name: str | None = None,
    ) -> Frame:
        """Call a Python function with the new rows of each group and its state.

        The function is called as `function(rows, state, group)` once for each group of a batch, and returns a pair:
        rows (or `None`) and the new state. `rows` are the new rows of the group. `group` is a `st.Group`: it knows the
        key, the watermark and the clock, and sets timers, for which the function is called with no rows.

        Where there is event time, rows wait until the watermark has passed them: the function gets them in the order
        of their times, whatever the order in which they came, and timers of event time fire in their place among
        them. How many rows of a group come together is not fixed. With `parallelism` above 1 several threads call the
        function, each for keys of its own.

        Between two calls a state is kept as bytes, so that what the function does with the object it was given has no
        effect. A state is anything of numbers, texts, bytes, lists, dicts and Polars frames, or an object of one class
        that msgspec knows (a dataclass, a `msgspec.Struct`). `None` as the new state forgets the key.

        When the function raises, the rows that it was called with are refused, as the `on_error` of the sources says,
        and its state and timers stay as they were. When it returns something else than it should, the job ends.

        Args:
            function: takes rows, a state and a `st.Group`.
            state: the state of a key that has none; or a function or class that makes one.
            schema: the columns of the rows that the function returns. If event time is among them it goes on, and the
                function should not return rows older than `group.watermark`.
            ttl: how long after its last row a key begins anew, and its state is freed; a key with a timer keeps its
                state. It counts event time, or the wall clock where there is none. `None` keeps every state for ever.
            in_order: `False` hands rows over as they arrive, also where there is event time; no row is late then.
            name: the name under which the state is found, unique in the job; derived from the keys by default.

        Returns:
            What the function returns, of all keys.

        Raises:
            PlanError: when an argument cannot be read, the state cannot be kept as bytes, or the input is a changes
                stream, whose rows may be taken back.

        Example:
            >>> import polars as pl, streame as st
            >>> def numbered(rows: pl.DataFrame, seen: int, group: st.Group) -> tuple[pl.DataFrame, int]:
            ...     return rows.with_row_index("visit", offset=seen + 1), seen + rows.height
            >>> visits = st.scan_frames([pl.DataFrame({"user": ["ann", "bob"]}), pl.DataFrame({"user": ["ann"]})])
            >>> schema = {"visit": pl.UInt32, "user": pl.String}
            >>> visits.group_by("user").map_with_state(numbered, state=0, schema=schema, ttl=None).collect().rows()
            [(1, 'ann'), (1, 'bob'), (2, 'ann')]
        """
        where = "map_with_state"
        if not callable(function):
            raise PlanError(f"{where}: found a {type(function).__name__} where a function is needed")
        frame, keys = self._keyed(where)
        if frame.node.is_changes:
            raise PlanError(
                f"{where}: rows of a changes stream may be taken back, and a function cannot undo what it has made of "
                "them; use it in front of the verb that makes the changes"
            )
        codec, initial = _codec(state)
        node = MapWithState(
            name=name or self._name or f"{where} {', '.join(key for _, key in keys)}",
            input=frame.node,
            keys=keys,
            columns=tuple(self._frame.schema),
            function=function,
            output=as_schema(schema, where=where),
            codec=codec,
            initial=initial,
            ttl=_ttl(ttl, frame.node),
            in_order=in_order,
        )
        return frame._with(node)


def _codec(state: Any) -> tuple[ValueCodec, bytes]:
    """How states are kept, and that of a new key."""
    initial = state() if callable(state) else state
    try:
        codec = ValueCodec(type(initial))
        return codec, codec.encode(initial)
    except (TypeError, ValueError) as error:
        raise PlanError(f"map_with_state: the state {initial!r} cannot be kept: {error}") from error


def _ttl(ttl: str | timedelta | int | None, node: Node) -> int | None:
    """How long a quiet key keeps its state, in ticks or microseconds."""
    if ttl is None:
        return None
    where = "map_with_state: ttl"
    if ttl in {0, "0s", "0i", timedelta(0)}:
        raise PlanError(
            f"{where}={ttl!r} would forget every row at once; give a duration above zero, or None"
        )
    if node.event_time is not None:
        return duration_ticks(ttl, node.event_time, where=where)
    if isinstance(ttl, int):
        raise PlanError(
            f"{where}={ttl} counts ticks, but the stream has no event time; write a duration such as '1d'"
        )
    return duration_us(ttl, where=where)
