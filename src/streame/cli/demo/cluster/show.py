"""`streame demo --cluster`: three nodes run the job of the demo, the leader is killed, and the output is compared."""

import json
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import polars as pl
from rich.console import Console
from rich.text import Text

from streame.cli.demo.cluster.compare import Comparison, compared
from streame.cli.demo.cluster.job import job
from streame.cli.demo.cluster.processes import (
    ETCD,
    WATCHER,
    NodeProcess,
    certificates,
    etcd_running,
    nodes_running,
    settings_of,
)
from streame.cli.demo.cluster.screen import Screen
from streame.cli.demo.cluster.screen import closing as closing_lines
from streame.cli.demo.cluster.story import NODES, Story
from streame.cli.demo.cluster.watcher import Watcher
from streame.cli.demo.folder import DemoFolder
from streame.cli.demo.pipeline import DATA
from streame.cli.failure import UsageError
from streame.errors import StreameError

ETCD_MEMBERS = 3
LOOK_S = 0.1
LIMIT_S = 60.0
"""How much longer than it should take the job may take."""


def run_cluster_demo(seconds: float, rows: int, *, as_json: bool) -> bool:
    """Run it, and show it; whether the output is exact and a leader was killed.

    Args:
        seconds: how long the job would take if nothing happened.
        rows: how many flights there are; 0 for all.
        as_json: print the result as JSON, and nothing else.

    Raises:
        UsageError: when there is no etcd.
        StreameError: when the cluster does not start, or does not get to its end.
    """
    program = shutil.which("etcd")
    if program is None:
        raise UsageError(
            "the command `etcd` is not on PATH, and the cluster needs it (`make cluster` in a clone gets it; on Debian "
            "and Ubuntu it is in the package etcd-server)"
        )
    console = Console(highlight=False, soft_wrap=True)
    if not as_json:
        title = f"{NODES} nodes, {ETCD_MEMBERS} members of etcd, mutual TLS, all on this machine"
        console.print(Text.assemble(("Streame demo on a cluster", "bold"), f"  {title}\n"))
    flights = pl.read_parquet(DATA / "flights.parquet", n_rows=rows or None)
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="streame-cluster-") as made:
        folder = Path(made)
        (folder / "out").mkdir()
        departures = flights.filter(pl.col("tailnum").is_not_null(), pl.col("dep_time").is_not_null()).height
        with Screen(console, departures, quiet=as_json) as screen:
            story = _run(
                Path(program),
                folder,
                flights.height,
                max(1, round(flights.height / seconds)),
                screen,
                departures,
                LIMIT_S + seconds,
            )
        alone = folder / "alone"
        job(alone, flights.height, 0).run(errors=alone / "errors")
        results = compared(DemoFolder(folder / "out"), DemoFolder(alone))
    good = story.output_after_s is not None and all(each.exact for each in results)
    if as_json:
        print(json.dumps(_as_json(story, results, exact=good)))
    else:
        for line in closing_lines(story, results):
            console.print(line)
    return good


def _run(
    program: Path,
    folder: Path,
    rows: int,
    rows_per_s: int,
    screen: Screen,
    departures: int,
    limit_s: float,
) -> Story:
    """From the first process to the last."""
    names = [f"node-{number}" for number in range(1, NODES + 1)]
    tls = certificates(folder, names)
    with (
        etcd_running(program, ETCD_MEMBERS, tls[ETCD]) as etcd,
        nodes_running(settings_of(names, etcd, folder, rows, rows_per_s)) as nodes,
    ):
        commits = folder / "out/flights/_streame/commits"
        with closing(Watcher(etcd.endpoints, tls[WATCHER], commits, nodes)) as watcher:
            return _watch(watcher, nodes, screen, Story(departures), limit_s)


def _watch(
    watcher: Watcher, nodes: Sequence[NodeProcess], screen: Screen, story: Story, limit_s: float
) -> Story:
    """Until all nodes have ended."""
    pause = threading.Event()
    while True:
        facts = watcher.look()
        events = story.advance(facts)
        if (victim := story.to_kill(facts)) is not None:
            next(node for node in nodes if node.name == victim).kill()
            events.append(story.was_killed(victim, watcher.now_s))
        screen.show(facts, events, nodes)
        if facts.ended:
            return story
        if facts.at_s > limit_s:
            said = "\n".join(f"{node.name}: {node.errors()}" for node in nodes)
            raise StreameError(
                f"the cluster is not at its end after {facts.at_s:.0f} s; the nodes say:\n{said}"
            )
        pause.wait(LOOK_S)


def _as_json(story: Story, results: Sequence[Comparison], *, exact: bool) -> dict[str, object]:
    return {
        "exact": exact,
        "killed": story.killed,
        "leader_after_s": story.leader_after_s,
        "output_after_s": story.output_after_s,
        "outputs": [asdict(each) for each in results],
    }


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does, so that nothing is left running."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
