"""Whether a plan can go on from a checkpoint: what is kept, new, dropped or changed of its operators."""

from collections.abc import Collection

from streame.core.staging import Json


def check_plan(before: Json, now: Json, allow_dropped: Collection[str]) -> None:
    """Stands here until the comparison is there."""
