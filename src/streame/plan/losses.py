"""What a crash takes from a job without checkpoints, in words."""

from collections.abc import Sequence

from streame.plan.nodes import Scan, Stateful, TableJoin, Write, walk


def losses(writes: Sequence[Write], job: str) -> str | None:
    """What a job that never ends by itself loses with its process, and how to keep it.

    Args:
        writes: its sinks.
        job: its name.

    Returns:
        A text for whoever starts it; `None` if all its sources end: it is run again from the beginning.
    """
    nodes = list(walk(*writes))
    endless = [node for node in nodes if isinstance(node, Scan) and not node.source.bounded]
    if not endless:
        return None
    keep = [node.name for node in nodes if isinstance(node, Stateful | TableJoin)]
    once = [scan.name for scan in endless if not getattr(scan.source, "replayable", True)]
    again = [scan.name for scan in endless if scan.name not in once]
    lost = []
    if keep:
        lost.append(f"what {_listed(keep)} {'keeps' if len(keep) == 1 else 'keep'} is lost")
    if once:
        lost.append(f"rows that were taken from {_listed(once)} and not yet worked on are gone")
    if again:
        read = (
            "is read from its beginning, so that its" if len(again) == 1 else "are read anew, so that their"
        )
        lost.append(f"{_listed(again)} {read} rows come out again")
    ends = "source {} does not end by itself" if len(endless) == 1 else "sources {} do not end by themselves"
    return (
        f"job {job!r} has no checkpoints, and its {ends.format(_listed([scan.name for scan in endless]))}. After a "
        f"crash or a stop the next run begins anew: {'; '.join(lost)}. "
        'Give run(checkpoints="a directory/"), --checkpoints or STREAME_CHECKPOINTS to go on instead'
    )


def _listed(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
