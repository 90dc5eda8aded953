"""The history in a manifest: the output of how many earlier checkpoints is kept, for a sink that has been set back."""

from collections.abc import Sequence
from itertools import islice

from streame.state.checkpoint.manifest import Output

KEPT = 100
"""The output of so many checkpoints is kept, however old they are."""

KEPT_US = 3_600_000_000
"""That of further ones is kept for so long: an hour."""

PER_SECOND = 3_600
"""Further ones are kept up to so many for each second between two checkpoints.

Every manifest names them all, which takes a part of the time that there is for a checkpoint. An interval of a second
leaves room for an hour; where ten checkpoints are made in a second, 360 are kept.
"""

BYTES_MAX = 1024 * 1024
"""The output of older checkpoints is forgotten when it takes more of the manifest than this."""


def next_history(before: Sequence[Output], output: Output) -> tuple[Output, ...]:
    """The history with one checkpoint more, and without what is too old or too much.

    Args:
        before: the history of the checkpoint before.
        output: that of the new one.
    """
    count = kept_of([each.at_us for each in reversed(before)], output.at_us)
    kept, size = [output], 0
    for each in islice(reversed(before), count):
        size += len(each.encoded)
        if size > BYTES_MAX:
            break
        kept.append(each)
    return tuple(reversed(kept))


def kept_of(times_us: Sequence[int], now_us: int) -> int:
    """How many earlier checkpoints are kept beside the newest.

    Args:
        times_us: when they were made, latest first.
        now_us: when the newest is made.
    """
    kept = min(len(times_us), KEPT - 1)
    while kept < len(times_us) and is_kept(kept + 1, times_us[kept], now_us):
        kept += 1
    return kept


def is_kept(back: int, time_us: int, now_us: int) -> bool:
    """Whether a checkpoint is kept that is not among the last hundred.

    One of which the time is not known, or is later than that of the newest because a clock was set back, is old.

    Args:
        back: how many checkpoints it is back.
        time_us: when it was made; 0 if that is not known.
        now_us: when the newest is made.
    """
    age_us = now_us - time_us
    many = PER_SECOND * age_us / back / 1_000_000  # age by number is the time between two checkpoints
    return time_us > 0 and 0 <= age_us < KEPT_US and back < many
