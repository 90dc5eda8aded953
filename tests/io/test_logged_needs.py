"""What a source behind a log says is not needed any more, while records are on their way."""

from collections.abc import Callable

from streame.io.logged import LoggedSource
from streame.storage.disk import Bytes
from streame.storage.log import Log
from tests.io.test_logged import Ticker, tick
from tests.storage.power_cut_disk import PowerCutDisk


class Deciding(Log):
    """A checkpoint is decided between the moment when a record lasts and the one when the source knows of it."""

    def __init__(self) -> None:
        super().__init__(PowerCutDisk(), "wal")
        self.decide: Callable[[], None] | None = None
        self.unneeded: list[int] = []

    def append(self, payload: Bytes) -> int:
        position = super().append(payload)
        if self.decide is not None:
            self.decide()
        return position

    def truncate_before(self, position: int) -> None:
        self.unneeded.append(position)


def test_a_record_that_was_just_appended_is_needed() -> None:
    log = Deciding()
    source = LoggedSource(Ticker([tick(1), tick(2)]), log)
    reading = source.read("all", None)
    first = next(reading)
    assert first is not None
    offset = first.next_offset
    log.decide = lambda: source.decided("all", offset)
    next(reading)
    log.decide = None
    source.ended("all")
    assert log.unneeded == [1, 2]
