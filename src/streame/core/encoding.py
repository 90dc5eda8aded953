"""Python values as bytes: how the states of user functions are kept, and how they will be found again.

A value that comes back from its bytes is equal to what went in, or the attempt fails at once: a tuple within a dict
would come back as a list, and a function that works until the first restart is worse than one that never did.
"""

import io
from typing import Any

import msgspec
import polars as pl

_FRAME, _SERIES = 1, 2

_PLAIN = (type(None), bool, int, float, str, bytes, list, dict, pl.DataFrame, pl.Series)


class ValueCodec:
    """Encodes values of one type as MessagePack, and decodes them.

    Args:
        kind: the type of the values. Values of plain types (numbers, texts, bytes, lists and dicts of these, Polars
            frames and series among them) need no more; any other type that msgspec knows (a dataclass, a `Struct`, a
            `NamedTuple`, a set) is decoded by its annotations.
    """

    def __init__(self, kind: type) -> None:
        self._kind = None if kind in _PLAIN else kind
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_encoded_frame)
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
            Any if self._kind is None else kind, dec_hook=_checked, ext_hook=_decoded_frame
        )

    def encode(self, value: object) -> bytes:
        """The bytes of a value.

        Raises:
            ValueError: when it cannot be encoded, or would not come back as it is; says what is wrong with it.
        """
        if self._kind is not None and type(value) is not self._kind:
            raise ValueError(f"it is a {type(value).__name__}, but began as a {self._kind.__name__}")
        try:
            data = self._encoder.encode(value)
            back = self._decoder.decode(data)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"it cannot be encoded: {error}") from error
        if not _surely_equal(value, back) and (found := _difference(value, back, "it")) is not None:
            raise ValueError(found)
        return data

    def decode(self, data: bytes) -> Any:
        """The value of some bytes, a new object each time."""
        return self._decoder.decode(data)


def _surely_equal(value: object, back: object) -> bool:
    """Whether two values are of the same type and equal; false where only a closer look can tell."""
    try:
        return type(value) is type(back) and bool(value == back)
    except Exception:  # the comparison of a user's class, or of frames within a list
        return False


def _difference(value: Any, back: Any, path: str) -> str | None:
    """In what a decoded value differs from what was encoded, if it does."""
    if type(value) is not type(back):
        return (
            f"{path} is a {type(value).__name__} and would come back as a {type(back).__name__}; give a state with "
            "annotations (a dataclass or msgspec.Struct), or only numbers, texts, bytes, lists, dicts and frames"
        )
    match value:
        case dict():
            if value.keys() != back.keys():
                return f"{path} has keys that would not come back: {list(value)!r}"
            pairs = [(f"{path}[{key!r}]", each, back[key]) for key, each in value.items()]
        case list() | tuple() if len(value) == len(back):
            pairs = [(f"{path}[{i}]", one, two) for i, (one, two) in enumerate(zip(value, back, strict=True))]
        case float():
            return None
        case pl.DataFrame() | pl.Series():
            return None if value.equals(back) else f"{path} would not come back as it is"
        case _ if hasattr(value, "__dataclass_fields__") or hasattr(value, "__struct_fields__"):
            names = getattr(value, "__struct_fields__", None) or value.__dataclass_fields__
            pairs = [(f"{path}.{name}", getattr(value, name), getattr(back, name)) for name in names]
        case _:
            return None if _surely_equal(value, back) else f"{path}: {value!r} would come back as {back!r}"
    return next(filter(None, (_difference(one, two, where) for where, one, two in pairs)), None)


def _encoded_frame(value: object) -> msgspec.msgpack.Ext:
    stream = io.BytesIO()
    match value:
        case pl.DataFrame():
            value.write_ipc_stream(stream)
            return msgspec.msgpack.Ext(_FRAME, stream.getvalue())
        case pl.Series():
            value.to_frame().write_ipc_stream(stream)
            return msgspec.msgpack.Ext(_SERIES, stream.getvalue())
    raise TypeError(f"a {type(value).__name__} has no encoding")


def _decoded_frame(code: int, data: memoryview) -> pl.DataFrame | pl.Series:
    frame = pl.read_ipc_stream(bytes(data))
    return frame if code == _FRAME else frame.to_series()


def _checked(kind: type, value: object) -> object:
    """A value for an annotation that only we understand: a frame or a series."""
    if not isinstance(value, kind):
        raise TypeError(f"a {kind.__name__} has no encoding")
    return value
