"""`explain()`: the plan as a readable tree, sinks first, with what runs together and what bounds the state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch

import polars as pl

from streame.core.expressions import to_text
from streame.plan.clock_time import ClockTime
from streame.plan.names import Names, operator_names
from streame.plan.nodes import (
    Concat,
    Filter,
    Late,
    MapBatches,
    Node,
    Project,
    Rejected,
    Reshape,
    RowWise,
    Scan,
    SetEventTime,
    Stateful,
    TableJoin,
    Write,
    is_bounded,
    walk,
)
from streame.plan.rewrite import consumer_counts

SCHEMA_COLUMNS_MAX = 12


def explain(writes: Sequence[Write], name: str) -> str:
    """The tree of a job, after the optimizer.

    Args:
        writes: its sinks.
        name: its name.
    """
    drawing = _Drawing(operator_names(writes), consumer_counts(writes))
    for position, write in enumerate(writes):
        drawing.draw(write, last=position == len(writes) - 1)
    return "\n".join([f"job {name}", *drawing.lines])


@dataclass(slots=True)
class _Drawing:
    names: Names
    counts: Mapping[int, int]
    lines: list[str] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    def draw(self, root: Node, *, last: bool) -> None:
        """The lines of a node and of all above it; a node that several take rows from is drawn once."""
        stack = [(root, "", last)]
        while stack:
            node, margin, is_last = stack.pop()
            branch, below = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
            if id(node) in self.numbers:
                self.lines.append(
                    f"{margin}{branch}the rows of [{self.numbers[id(node)]}], which is read once"
                )
                continue
            chain, inputs = _chain(node, self.counts)
            self.lines.append(f"{margin}{branch}{self._mark(node)}{_title(chain)}")
            detail = f"{margin}{below}{'│  ' if inputs else '   '}"
            self.lines += [f"{detail}{text}" for each in chain for text in self._steps(each)]
            self.lines.append(f"{detail}-> {_schema(node.schema)}")
            numbered = list(enumerate(inputs, start=1))
            stack += [(each, margin + below, number == len(inputs)) for number, each in reversed(numbered)]

    def _mark(self, node: Node) -> str:
        if self.counts.get(id(node), 0) < 2:
            return ""
        self.numbers[id(node)] = len(self.numbers) + 1
        return f"[{self.numbers[id(node)]}] "

    def _steps(self, node: Node) -> list[str]:
        if isinstance(node, RowWise):
            return [f"{self.names[id(node)]}: {text}" for text in describe(node)]
        return describe(node)


def _chain(node: Node, counts: Mapping[int, int]) -> tuple[list[Node], tuple[Node, ...]]:
    """The row-wise verbs that run together, first to last, and what they take rows from."""
    if not isinstance(node, RowWise):
        return [node], node.inputs
    chain: list[Node] = [node]
    while isinstance(below := chain[0].inputs[0], RowWise):
        if counts.get(id(below), 0) > 1:
            break
        chain.insert(0, below)
    return chain, chain[0].inputs


def _title(chain: list[Node]) -> str:
    match chain:
        case [Scan() as scan]:
            ends = "ends" if scan.source.bounded else "never ends by itself"
            return f"source {scan.name} ({type(scan.source).__name__}, {ends}, on_error={scan.on_error})"
        case [TableJoin() as join]:
            return f"{join.name} ({join.how} join with a table)"
        case [Write() as write]:
            return f"{write.name}" + (f" ({write.text})" if write.text else "")
        case [Stateful() as stateful]:
            return f"{stateful.name} ({stateful.title})"
        case [SetEventTime() as timed]:
            return f"event time {timed.column}"
        case [ClockTime() as clock]:
            return f"event time {clock.rule.time.column}: when a row comes, by the wall clock"
        case [Late()]:
            return "late rows of what follows"
        case [Concat()]:
            return "concat"
        case [Rejected()]:
            return "rejected (dead letters of what follows)"
        case [_]:
            return "row-wise"
        case _:
            return f"row-wise chain of {len(chain)} verbs"


@singledispatch
def describe(node: Node) -> list[str]:
    """What a node does, line by line; nothing where its title says all."""
    return []


@describe.register(Scan)
def _(node: Scan) -> list[str]:
    lines = []
    if getattr(node.source, "python_rows", False):
        lines.append("its rows are Python objects: Python runs for every row")
    if node.columns is not None and len(node.columns) < len(node.source_schema):
        lines.append(f"{len(node.columns)} of {len(node.source_schema)} columns leave the source")
    if node.required:
        lines.append(f"required: {', '.join(node.required)}")
    return lines


@describe.register(SetEventTime)
def _(node: SetEventTime) -> list[str]:
    assert node.event_time is not None
    late = (
        f"{node.delay} ticks"
        if node.event_time.is_ticks
        else seconds(node.delay * node.event_time.ns_per_tick)
    )
    idle = seconds(node.idle_timeout_us * 1000)
    return [f"rows may be {late} late; a split that gives nothing for {idle} is not waited for"]


@describe.register(ClockTime)
def _(node: ClockTime) -> list[str]:
    return ["not repeatable: which rows meet in a window depends on when they are read"]


@describe.register(Stateful)
def _(node: Stateful) -> list[str]:
    return [*node.details, f"state: {node.bound}"]


@describe.register(Write)
def _(node: Write) -> list[str]:
    if node.delivery == "exactly_once":
        return []
    return ["with checkpoints at least once: after a crash some rows come again"]


@describe.register(Filter)
def _(node: Filter) -> list[str]:
    return [to_text(node.predicate)]


@describe.register(Project)
def _(node: Project) -> list[str]:
    parts = []
    for output in node.outputs:
        column = output.column
        if column != output.name:
            parts.append(f"{output.name} = {column or to_text(output.expr.meta.undo_aliases())}")
    left_out = [name for name in node.input.schema if name not in node.schema]
    shown = ", ".join(parts) or (f"without {', '.join(left_out)}" if left_out else "all columns")
    return [shown]


@describe.register(Reshape)
def _(node: Reshape) -> list[str]:
    return [node.text]


@describe.register(MapBatches)
def _(node: MapBatches) -> list[str]:
    function = getattr(node.function, "__qualname__", type(node.function).__name__)
    promise = (
        "row by row, as promised" if node.row_wise else "batch by batch: the cut of batches is not fixed"
    )
    return [f"{function} (Python, {promise})"]


@describe.register(TableJoin)
def _(node: TableJoin) -> list[str]:
    keys = ", ".join(
        left if left == right else f"{left} = {right}"
        for left, right in zip(node.left_on, node.right_on, strict=True)
    )
    lines = [f"on {keys}; state: one row per key of the table, bounded by the number of keys"]
    if is_bounded(node.table):
        lines.append("the table is read whole before the first row of the stream")
        shared = {id(each) for each in walk(node.table) if isinstance(each, Scan)}
        if any(id(each) in shared for each in walk(node.input)):
            lines.append(
                "both sides read the same source: the stream is kept in memory until the table is read"
            )
        return lines
    lines.append("not repeatable: a row meets what the table holds when it comes")
    time = node.input.event_time
    match node.wait:
        case None:
            lines.append("rows without a match wait without bound (wait=None)")
        case 0:
            pass
        case wait if time is None:
            lines.append(f"rows without a match wait up to {wait / 1e6:g} s of the wall clock")
        case wait:
            far = f"{wait} ticks" if time.is_ticks else seconds(wait)
            lines.append(f"rows without a match wait up to {far} of event time")
    return lines


def seconds(time_ns: int) -> str:
    """A duration for people."""
    return f"{time_ns / 1e9:g} s"


def _schema(schema: pl.Schema) -> str:
    columns = [f"{name}: {dtype}" for name, dtype in schema.items()]
    hidden = len(columns) - SCHEMA_COLUMNS_MAX
    return ", ".join(columns[:SCHEMA_COLUMNS_MAX]) + (f", and {hidden} more" if hidden > 0 else "")
