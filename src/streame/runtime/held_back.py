"""Held back: the sources whose rows nobody works on before a table has been read whole."""

from collections.abc import Sequence

from streame.runtime.graph import Graph, OperatorVertex
from streame.runtime.task import OperatorTask, Task


class HeldBack:
    """Knows which sources need not be read yet.

    Args:
        graph: what runs.
        tasks: its tasks.
    """

    def __init__(self, graph: Graph, tasks: Sequence[Task]) -> None:
        self._above: dict[str, frozenset[str]] = {}
        self._ports: dict[str, dict[int, frozenset[str]]] = {}
        for name, vertex in graph.vertices.items():
            ports: dict[int, frozenset[str]] = {}
            for edge in vertex.inputs if isinstance(vertex, OperatorVertex) else ():
                ports[edge.port] = ports.get(edge.port, frozenset()) | self._above[edge.upstream]
            self._ports[name] = ports
            is_source = not isinstance(vertex, OperatorVertex)
            self._above[name] = frozenset({name}) if is_source else frozenset().union(*ports.values())
        self._tasks = [task for task in tasks if isinstance(task, OperatorTask)]

    def sources(self) -> set[str]:
        """Those that only feed inputs which are left unread now."""
        waiting: set[str] = set()
        needed: set[str] = set()
        for task in self._tasks:
            held = task.held_ports
            for port, above in self._ports[task.name].items():
                if held:
                    (waiting if port in held else needed).update(above)
        return waiting - needed
