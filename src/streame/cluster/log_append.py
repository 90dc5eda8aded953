"""A record on its way into the log of a cluster: several threads append, and one of them writes for all."""

from typing import NoReturn

from streame.errors import StreameError


class Append:
    """A record on its way."""

    __slots__ = ("outcome", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.outcome: int | StreameError | None = None

    def result(self) -> int:
        """Its position, or what went wrong."""
        assert self.outcome is not None
        if isinstance(self.outcome, StreameError):
            raise_anew(self.outcome)
        return self.outcome


def raise_anew(error: StreameError) -> NoReturn:
    """Raise an error that several threads get, each with a traceback of its own."""
    raise type(error)(*error.args) from error
