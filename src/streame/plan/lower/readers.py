"""Which sources are read by as many tasks as there are instances, each its own splits."""

from collections.abc import Sequence

from streame.io.source import AcknowledgedSource, Source
from streame.plan.keyed import CountAggregate
from streame.plan.nodes import Concat, Node, RowWise, Scan, SetEventTime, TableJoin, walk
from streame.plan.splits import split_sources
from streame.plan.unique import Unique
from streame.plan.user import MapWithState


def read_by_many(writes: Sequence[Node]) -> set[int]:
    """The identities of the scans that may be read so: nobody below goes by the order in which their splits are read.

    Event time counts each split for itself, so it can be watched by whoever reads the split, as long as nothing else
    stands between. A source that grows is not among these where event time counts: a reader that finds new splits
    sooner than another one would make the rows of that one late.
    """
    found = {id(node) for node in walk(*writes) if isinstance(node, Scan) and _has_many(node.source)}
    for node in walk(*writes):
        if isinstance(node, TableJoin):
            found -= _scans(node.table)
        elif _goes_by_arrival(node):
            found -= _scans(*node.inputs)
        elif isinstance(node, SetEventTime):
            found -= {id(scan) for scan in _scan_nodes(node) if getattr(scan.source, "grows", False)}
            if not _watches_splits(node):
                found -= _scans(node)
    while mixed := [scans for scans in _watched(writes) if scans & found and not scans <= found]:
        found -= frozenset().union(*mixed)
    return found


def _has_many(source: Source) -> bool:
    return (
        getattr(source, "splits_apart", False)
        and getattr(source, "replayable", True)
        and not getattr(source, "one_split", False)
        and not isinstance(source, AcknowledgedSource)
    )


def _goes_by_arrival(node: Node) -> bool:
    """Whether the rows of a verb count in the order in which they come, over all splits."""
    match node:
        case Unique():
            return node.input.event_time is None and (node.keep == "first" or node.in_order)
        case MapWithState():
            return node.input.event_time is None or not node.in_order
        case CountAggregate():
            return node.input.event_time is None
        case _:
            return False


def _watches_splits(node: SetEventTime) -> bool:
    """Whether each instance can watch the splits of one reader."""
    plain = (Scan, RowWise, SetEventTime, Concat)
    return bool(split_sources(node.input)) and all(isinstance(each, plain) for each in walk(node.input))


def _watched(writes: Sequence[Node]) -> list[set[int]]:
    """The scans that are watched together, and so must be read by the same number of tasks."""
    return [_scans(node) for node in walk(*writes) if isinstance(node, SetEventTime)]


def _scan_nodes(*nodes: Node) -> list[Scan]:
    return [each for each in walk(*nodes) if isinstance(each, Scan)]


def _scans(*nodes: Node) -> set[int]:
    return {id(scan) for scan in _scan_nodes(*nodes)}
