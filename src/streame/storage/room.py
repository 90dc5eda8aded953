"""Room on a disk: whoever waits for it says so once, and a disk that fills up is told of before it is full."""

import logging

from streame.core.disk_room import DiskRoom, next_level, retry_after_s

log = logging.getLogger("streame")

_SAID = (
    (logging.WARNING, "fills up"),
    (logging.ERROR, "is nearly full"),
)


class RoomWait:
    """Calls that are made again as long as a disk is full.

    Attributes:
        waits_for: what there is no room for, and what the system said; `None` while nothing waits.
        failures: how many calls have found no room, in all.
    """

    def __init__(self) -> None:
        self.waits_for: str | None = None
        self.failures = 0
        self._what = ""
        self._in_a_row = 0

    def failed(self, what: str, error: BaseException) -> float:
        """A call has found no room; the first one in a row is logged.

        Args:
            what: what was to be written.
            error: what the call has raised.

        Returns:
            After how many seconds it is to be made again.
        """
        self.failures += 1
        self._in_a_row += 1
        self._what = what
        if self._in_a_row == 1:
            log.warning(
                "there is no room for %s (%s); nothing is read and nothing is lost until there is: make room, and the "
                "job goes on by itself",
                what,
                error,
            )
        self.waits_for = f"{what}: {error}"
        return retry_after_s(self._in_a_row)

    def passed(self) -> None:
        """A call has found room."""
        if self.waits_for is not None:
            log.info("there is room again for %s, after %d tries without", self._what, self._in_a_row)
            self.waits_for, self._in_a_row = None, 0


class RoomAlarm:
    """Logs when a disk has filled up to a mark, once for each crossing."""

    def __init__(self) -> None:
        self._level = 0

    def look_at(self, room: DiskRoom | None) -> None:
        """The disk was looked at.

        Args:
            room: what there is; `None` if there is no disk, or nobody knows.
        """
        if room is None:
            return
        before, self._level = self._level, next_level(self._level, room.used)
        if self._level > before:
            severity, how = _SAID[self._level - 1]
            log.log(
                severity,
                "the disk of %s %s: %.0f %% are used, %s MB are free. A job whose disk is full reads nothing until there is "
                "room: make some, or let the job keep less",
                room.where,
                how,
                100 * room.used,
                f"{room.free / 1e6:,.1f}",
            )
