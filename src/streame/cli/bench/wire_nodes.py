"""The two nodes of the benchmark of the wire: this process takes rows, a child that it starts sends them."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from streame.cli.bench.case import Outcome, Work
from streame.cli.bench.orders import cut, orders
from streame.cluster.certificates import make_certificates
from streame.cluster.columns import ChannelColumns
from streame.cluster.frames import Attempt
from streame.cluster.identity import Identity
from streame.cluster.inbox import RemoteInbox
from streame.cluster.link import Input
from streame.cluster.security import Tls
from streame.cluster.session import Session
from streame.cluster.transport import DataServer, connect
from streame.core.clock import SystemClock
from streame.core.messages import END_OF_STREAM, Batch, EndOfStream
from streame.runtime.outputs import ChannelOutput
from streame.runtime.partition import Partitioner

CLUSTER = "bench"
CHANNELS = ("orders/0", "orders/1")
SENDER, RECEIVER = (Identity(CLUSTER, "node", name) for name in ("sender", "receiver"))
ATTEMPT = Attempt(1, 1)
BATCH_ROWS = 65_536
DISTINCT_ROWS = 16 * BATCH_ROWS
WAIT_S = 60.0
KEY = "user_id"
COLUMNS = ("ts", KEY, "item", "price")


def batches() -> list[pl.DataFrame]:
    """The batches that are sent over and over."""
    return cut(orders(DISTINCT_ROWS).select(COLUMNS), BATCH_ROWS)


def receiving(rows: int, folder: Path, *, secure: bool) -> Work:
    """Start both nodes; what is timed is from the first row to the last.

    Args:
        rows: how many to take, about.
        folder: where the certificates lie for a moment.
        secure: whether with mutual TLS.
    """
    count = max(1, rows // BATCH_ROWS)
    with TemporaryDirectory(dir=folder) as place:
        files = _files(Path(place)) if secure else {}
        tls = files.get(RECEIVER.name)
        inbox = RemoteInbox([0, 0], [None, None])
        columns = ChannelColumns.of(batches()[0].schema, None, "orders")
        inputs = {name: Input(SENDER.name, inbox, at, columns) for at, name in enumerate(CHANNELS)}
        session = Session(ATTEMPT, [SENDER.name], inputs, lambda _: inbox.close())
        server = DataServer("127.0.0.1:0", CLUSTER, tls)
        server.serve(session)
        command = [sys.executable, "-P", "-m", "streame.cli.bench.wire_nodes", str(server.port), str(count)]
        sender = subprocess.Popen(
            [*command, place if secure else ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        session.link(SENDER.name, WAIT_S)

    def work() -> Outcome:
        assert sender.stdin is not None
        print("go", file=sender.stdin, flush=True)
        taken, total, open_channels = 0, 0.0, len(CHANNELS)
        while open_channels and (found := inbox.take(WAIT_S)) is not None:
            if isinstance(found[1], EndOfStream):
                open_channels -= 1
            elif isinstance(found[1], Batch):
                taken += found[1].frame.height
                total += float(found[1].frame["price"].sum())
        session.finish(WAIT_S)
        server.close()
        sender.communicate(timeout=WAIT_S)
        return Outcome(taken, lambda: {"rows": taken, "price": total})

    return work


def _files(folder: Path) -> dict[str, Tls]:
    now = datetime.fromtimestamp(SystemClock().now_us() // 1_000_000, UTC)
    return make_certificates(folder, [SENDER, RECEIVER], (), now, 1)


def _send(port: str, count: str, folder: str) -> None:
    frames = batches()
    place = Path(folder)
    tls = (
        Tls(place / "ca.pem", place / f"{SENDER.name}.pem", place / f"{SENDER.name}.key") if folder else None
    )
    session = Session(ATTEMPT, [RECEIVER.name], {}, lambda _: None)
    link = connect(f"127.0.0.1:{port}", SENDER, RECEIVER, session, tls, WAIT_S)
    columns = ChannelColumns.of(frames[0].schema, None, "orders")
    partitioner = Partitioner(pl.Schema({KEY: frames[0].schema[KEY]}), len(CHANNELS))
    output = ChannelOutput([(link.sender(name, columns), 0) for name in CHANNELS], partitioner)
    sys.stdin.readline()
    for number in range(int(count)):
        output.send(Batch(frames[number % len(frames)]))
    output.tell(END_OF_STREAM)
    session.finish(WAIT_S)


if __name__ == "__main__":
    _send(*sys.argv[1:])
