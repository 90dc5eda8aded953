"""What a user sees of the cluster: a picture that changes on a terminal, lines otherwise."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streame.cli.demo.cluster.compare import Comparison
from streame.cli.demo.cluster.processes import NodeProcess
from streame.cli.demo.cluster.story import Event, Facts, Story

COLOURS = {"bad": "bold red", "good": "bold green", "": "default"}
LINE_S = 2.0
BAR_WIDTH = 44


class Screen:
    """Shows where the cluster stands.

    Args:
        console: where.
        departures: how many rows the output will have.
        quiet: whether nothing is to be seen.
    """

    def __init__(self, console: Console, departures: int, *, quiet: bool = False) -> None:
        self._console, self._departures, self._quiet = console, departures, quiet
        self._events: list[Event] = []
        self._line_at_s = LINE_S
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> "Screen":
        if self._moves:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._moves:
            self._live.stop()

    def show(self, facts: Facts, events: Sequence[Event], nodes: Sequence[NodeProcess]) -> None:
        """Show where it stands now.

        Args:
            facts: where.
            events: what has happened since it was shown last.
            nodes: all nodes.
        """
        self._events += events
        if self._moves:
            self._live.update(picture(facts, self._events, nodes, self._departures), refresh=True)
        elif not self._quiet:
            for event in events:
                self._console.print(event_line(event))
            if facts.at_s >= self._line_at_s:
                self._line_at_s = facts.at_s + LINE_S
                self._console.print(Text(f"{facts.at_s:5.1f} s  {plain_line(facts)}", "dim"))

    @property
    def _moves(self) -> bool:
        return self._console.is_terminal and not self._quiet


def picture(facts: Facts, events: Sequence[Event], nodes: Sequence[NodeProcess], departures: int) -> Group:
    """The cluster at one moment, and what has happened to it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for title in ("Node", "Process", "Role"):
        table.add_column(title, min_width=len(title) + 3)
    table.add_column("Rows in, by instance, in this attempt", no_wrap=True)
    for node in nodes:
        table.add_row(node.name, str(node.pid), *_role(facts, node))
    bar = Table.grid(padding=(0, 1))
    share = f"{facts.published:,} of {departures:,} departures"
    bar.add_row(ProgressBar(departures, min(facts.published, departures), BAR_WIDTH), Text(share))
    state = f"attempt {facts.epoch}.{facts.attempt}" if facts.attempt is not None else "no attempt"
    line = Text.assemble("\n", (state, "bold"), f"   checkpoint {facts.checkpoint}   {facts.at_s:.1f} s")
    return Group(table, line, Text("output"), bar, Text(), *(event_line(event) for event in events))


def _role(facts: Facts, node: NodeProcess) -> tuple[Text, Text]:
    if node.killed:
        return Text("killed", "bold red"), Text()
    report = facts.reports.get(node.name)
    rows = {} if report is None else report.rows
    mine = [instance for instance, name in enumerate(facts.homes) if name == node.name]
    shares = Text("  ".join(f"{instance}: {rows.get(instance, 0):<8,}" for instance in mine))
    if report is not None and report.ended:
        return Text("has ended", "green"), Text()
    if node.name == facts.leader:
        read = Text(f"has read {0 if report is None else report.read:,} flights")
        return Text("leads", "bold cyan"), Text("  ").join([read, shares]) if mine else read
    return Text("works" if mine else "waits"), shares


def event_line(event: Event) -> Text:
    """An event in one line."""
    return Text.assemble((f"{event.at_s:5.1f} s  ", "dim"), (event.text, COLOURS[event.kind]))


def plain_line(facts: Facts) -> str:
    """Where it stands, in one line."""
    shares = []
    for name, report in sorted(facts.reports.items()):
        mine = [instance for instance, home in enumerate(facts.homes) if home == name]
        rows = " ".join(f"{instance}:{report.rows.get(instance, 0):,}" for instance in mine)
        if name == facts.leader:
            rows = f"leads, has read {report.read:,} {rows}"
        shares.append(f"{name} {rows}".rstrip())
    return f"checkpoint {facts.checkpoint}, {facts.published:,} departures written; " + "; ".join(shares)


def closing(story: Story, results: Sequence[Comparison]) -> Iterator[Text]:
    """How it has ended."""
    yield Text()
    if story.leader_after_s is not None and story.output_after_s is not None:
        yield Text(
            f"{story.killed} was killed as the leader: another node led after {story.leader_after_s:.1f} s, and its "
            f"first output could be seen after {story.output_after_s:.1f} s."
        )
    else:
        yield Text(
            "no leader was killed in the middle: the job was too fast; give more --seconds", "bold red"
        )
    for each in results:
        if each.exact:
            yield Text(f"{each.name:>10}  {each.rows:,} rows, the same as in one process")
        else:
            text = f"{each.name:>10}  {each.missing:,} of {each.rows:,} rows are missing, {each.more:,} are too many"
            yield Text(f"{text}, such as {each.example}", "red")
    if all(each.exact for each in results):
        yield Text("EXACT", "bold green")
    else:
        yield Text("DIFFERENT", "bold red")
