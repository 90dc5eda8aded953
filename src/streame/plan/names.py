"""Names of operators: unique in a job, derived from what they do."""

from collections.abc import Container, Sequence
from itertools import chain, count

from streame.plan.clock_time import ClockTime
from streame.plan.nodes import (
    Concat,
    Filter,
    Late,
    MapBatches,
    Node,
    Project,
    Rejected,
    Reshape,
    Scan,
    SetEventTime,
    Stateful,
    TableJoin,
    Write,
    walk,
)

Names = dict[int, str]


def operator_names(roots: Sequence[Node]) -> Names:
    """The name of every node's operator, by the node's `id`: `filter`, then `filter-2`, and so on.

    Sources, joins and sinks have the name that the user gave or that was derived from what they are.
    """
    nodes = list(walk(*roots))
    names: Names = {
        id(node): node.name for node in nodes if isinstance(node, Scan | TableJoin | Stateful | Write)
    }
    taken = set(names.values())
    for node in nodes:
        if id(node) not in names:
            names[id(node)] = free_name(_word(node), taken)
            taken.add(names[id(node)])
    return names


def free_name(word: str, taken: Container[str]) -> str:
    """A name that is not taken: the word, or the word and a number."""
    return next(name for name in chain([word], (f"{word}-{n}" for n in count(2))) if name not in taken)


def _word(node: Node) -> str:
    match node:
        case Project(verb=verb) | Reshape(verb=verb):
            return verb
        case Filter():
            return "filter"
        case MapBatches():
            return "map_batches"
        case Concat():
            return "concat"
        case SetEventTime(column=column):
            sources = (each.name for each in walk(node) if isinstance(each, Scan))
            return f"event_time {column} of {', '.join(sources)}"
        case ClockTime():
            return "clock_time"
        case Rejected():
            return "rejected"
        case Late():
            return "late"
        case _:
            raise AssertionError(f"no word for {type(node).__name__}")
