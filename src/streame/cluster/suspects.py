"""Nodes that were lost: how long a leader does without each, so that one that never works does not stop the others for ever."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

LEFT_OUT_MAX_S = 60.0
"""A node that was lost is left out for so long at most."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A node that was lost.

    Args:
        until: when it may take part again, in seconds of a clock that only goes on.
        left_out_s: how long it is left out until then.
        worked: when there was the first checkpoint of an attempt in which it takes part again.
    """

    until: float
    left_out_s: float
    worked: float | None = None


def lost(before: Suspect | None, lease_s: float, now: float) -> Suspect:
    """A node was lost: twice as long as the last time, unless it has worked since for as long as it was left out.

    Args:
        before: what was known of it.
        lease_s: how long its entry may be there although it is not.
        now: the time.
    """
    left_out_s = lease_s + 1.0
    if before is not None and (before.worked is None or now - before.worked < before.left_out_s):
        left_out_s = min(LEFT_OUT_MAX_S, 2 * before.left_out_s)
    return Suspect(now + left_out_s, left_out_s)


def worked(suspects: Mapping[str, Suspect], ids: Collection[str], now: float) -> dict[str, Suspect]:
    """There is a checkpoint of an attempt in which nodes of these ids take part."""
    return {
        node_id: replace(each, worked=now) if node_id in ids and each.worked is None else each
        for node_id, each in suspects.items()
    }
