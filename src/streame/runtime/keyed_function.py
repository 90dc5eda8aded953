"""A user's function over the rows of one key: how it is called, and what it may return."""

from dataclasses import dataclass

import polars as pl

from streame.core.encoding import ValueCodec
from streame.core.group import Group, StateFunction
from streame.runtime.steps import MapContractError


@dataclass(frozen=True, slots=True)
class KeyedFunction:
    """A function that gets the new rows of a key and its state, and gives rows and the new state.

    Args:
        function: what is called.
        key_columns: the columns of the key.
        key_schema: the names and dtypes that they have for the user.
        columns: the columns of the rows that the function gets.
        output: the columns that it returns.
        codec: how its state is kept.
        initial: the state of a new key, encoded.
    """

    function: StateFunction
    key_columns: tuple[str, ...]
    key_schema: pl.Schema
    columns: pl.Schema
    output: pl.Schema
    codec: ValueCodec
    initial: bytes

    def call(
        self, rows: pl.DataFrame, state: bytes | None, group: Group
    ) -> tuple[pl.DataFrame | None, bytes | None]:
        """What the function makes of rows and a state.

        Raises:
            MapContractError: when it does not return what it should.
        """
        returned: object = self.function(
            rows, self.codec.decode(self.initial if state is None else state), group
        )
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise self._broken(
                group, f"a {_kind(returned)}; it must be a pair: a frame or None, and the new state"
            )
        made, new = returned
        if made is not None and not isinstance(made, pl.DataFrame):
            raise self._broken(group, f"a {_kind(made)} as its rows; they must be a polars.DataFrame or None")
        if made is not None and made.schema != self.output:
            raise self._broken(
                group, f"the columns {dict(made.schema)}, but schema= says {dict(self.output)}"
            )
        try:
            return made, None if new is None else self.codec.encode(new)
        except ValueError as error:
            raise self._broken(group, f"a state that cannot be kept: {error}") from error

    def _broken(self, group: Group, what: str) -> MapContractError:
        key = ", ".join(f"{name}={value!r}" for name, value in zip(self.key_schema, group.key, strict=True))
        return MapContractError(f"the function returned for {key} {what}")


def _kind(value: object) -> str:
    return f"tuple of {len(value)}" if isinstance(value, tuple) else type(value).__name__
