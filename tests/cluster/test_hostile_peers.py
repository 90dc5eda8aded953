"""A peer that does not keep to the protocol: its stream ends, it is told why, and memory stays bounded."""

import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest

from streame.cli.bench.process import rss_mb
from streame.cluster.batches import BatchCodec
from streame.cluster.flow import CREDIT_BYTES
from streame.cluster.frames import (
    FRAME_BYTES_MAX,
    Ack,
    Attempt,
    Barrier,
    Credit,
    Data,
    End,
    More,
    Open,
    Ping,
    Split,
    Unread,
    Watermark,
    pack,
)
from streame.cluster.transport import ATTEMPT_KEY, METHOD, NODE_KEY, SERVICE, DataServer, ServerLimits
from streame.core.messages import Batch
from tests.cluster.node import COLUMNS, rows
from tests.cluster.servers import Signer
from tests.cluster.test_transport import ATTEMPT, WAIT_S, Receiver, eventually, receiver

OPEN = pack(Open(ATTEMPT, 0, "numbers", COLUMNS.digest, COLUMNS.text))
CODEC = BatchCodec(COLUMNS.rows, "numbers")


def data(seq: int, frame: pl.DataFrame) -> bytes:
    ((packed, _),) = CODEC.encode(Batch(frame), ATTEMPT, 0, seq)
    return packed


@pytest.fixture
def node() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def says(node: Receiver, frames: Iterable[bytes], name: str = "sender", **settings: Any) -> grpc.RpcError:
    """With what a stream of such frames ends; it stays open behind them."""
    stay = threading.Event()

    def sent() -> Iterator[bytes]:
        yield from frames
        stay.wait(WAIT_S)

    options = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
    with grpc.insecure_channel(node.address, options, settings.get("compression")) as channel:
        exchange: Any = channel.stream_stream(f"/{SERVICE}/{METHOD}")
        call = exchange(sent(), metadata=((NODE_KEY, name), (ATTEMPT_KEY, str(ATTEMPT))))
        try:
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
        finally:
            stay.set()
    error: grpc.RpcError = caught.value
    return error


BEGUN = pack(Data(ATTEMPT, 0, 1, 1, 800, rest=100), b"\1" + bytes(9))
FLIPPED = bytearray(data(1, rows(0, 100, 20)))
FLIPPED[-5] ^= 4


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"GET / HTTP/1.1"], "there are none of less than"),
        ([b"x" * 100], "the other node is of another version, or no node"),
        ([OPEN, bytes(FLIPPED)], "was damaged on its way"),
        ([OPEN, OPEN], "which it has no part in or has opened before"),
        ([pack(Open(ATTEMPT, 0, "letters", COLUMNS.digest, ""))], "opens the channel 'letters', which it has no part in"),
        ([pack(Open(ATTEMPT, 0, "numbers", b"0" * 16, "n: Int8"))], "with the columns n: Int8; expected n: Int64"),
        ([pack(Watermark(ATTEMPT, 0, 1, 5))], "came on channel 0, which is not open"),
        ([OPEN, data(2, rows(0, 1, 1))], "frame 2 came on channel 0 behind frame 0"),
        ([OPEN, data(1, rows(0, 1, 1)), data(1, rows(0, 1, 1))], "frame 1 came on channel 0 behind frame 1"),
        ([OPEN, pack(End(ATTEMPT, 0, 1)), pack(Barrier(ATTEMPT, 0, 2, 1))], "came on channel 0 after its end"),
        ([OPEN, pack(Split(ATTEMPT, 0, 1, ("s", "t"), "gone", None))], "the state 'gone' of a split does not exist"),
        ([OPEN, pack(More(ATTEMPT, 0, 1), b"abc")], "a frame More came on channel 0 where no row is begun"),
        ([OPEN, BEGUN, pack(Barrier(ATTEMPT, 0, 2, 1))], "Barrier came on channel 0 where the rest of a row must follow"),
        ([OPEN, BEGUN, pack(More(ATTEMPT, 0, 2), bytes(101))], "101 more bytes came of a row that has 10 of 110 bytes"),
        ([OPEN, BEGUN, pack(More(ATTEMPT, 0, 2))], "0 more bytes came of a row that has 10 of 110 bytes"),
        ([OPEN, BEGUN, pack(More(ATTEMPT, 0, 2), bytes(100))], "a segment has numbers of 0 bytes"),
        ([pack(Credit(ATTEMPT, 0, 5))], "speaks of channel 0, which was never opened"),
        ([pack(Unread(ATTEMPT, 7))], "speaks of channel 7, which was never opened"),
        ([pack(Ack(ATTEMPT, 1, (), ()))], "speaks of a checkpoint (Ack), which nobody asked it for"),
        ([pack(Ping(Attempt(7, 0), 1))], "a frame of attempt 7.0 came where attempt 7.1 runs"),
    ],
)  # fmt: skip
def test_what_breaks_the_rules_ends_the_stream(node: Receiver, frames: list[bytes], reason: str) -> None:
    error: Any = says(node, frames)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason in error.details()
    assert reason in str(node.errors[0])


def test_rows_that_nobody_has_credit_for_end_the_stream(node: Receiver) -> None:
    packed = data(1, rows(0, 1000, 1000))
    before = rss_mb()
    error: Any = says(node, [OPEN, *(data(n, rows(0, 1000, 1000)) for n in range(1, 40))])
    assert "the sender has no credit for them" in error.details()
    assert rss_mb() - before < 10 * CREDIT_BYTES / 1e6
    assert len(packed) * 39 > 2 * CREDIT_BYTES


def test_a_message_over_the_limit_is_not_taken(node: Receiver) -> None:
    error: Any = says(node, [bytes(FRAME_BYTES_MAX + 1024 * 1024)])
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    eventually(lambda: bool(node.errors))


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_message_is_not_taken(node: Receiver, compression: grpc.Compression) -> None:
    """Its size is that before compression: a few kilobytes could become gigabytes."""
    before = rss_mb()
    error: Any = says(node, [bytes(128 * 1024 * 1024)], compression=compression)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "is disabled" in error.details()
    eventually(lambda: bool(node.errors))
    assert rss_mb() - before < 300


def test_who_has_no_part_is_refused(node: Receiver) -> None:
    error: Any = says(node, [OPEN], name="stranger")
    assert (error.code(), error.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "node 'stranger' has no part in attempt 7.1",
    )
    assert not node.errors


def test_a_second_stream_of_a_peer_is_refused(node: Receiver) -> None:
    node.session.join("sender", opened=False)
    error: Any = says(node, [OPEN])
    assert (
        "node 'sender' has had its stream in attempt 7.1; if that is broken, so is the attempt"
        in error.details()
    )


def test_without_an_attempt_nobody_is_let_in(node: Receiver) -> None:
    node.server.serve(None)
    error: Any = says(node, [OPEN])
    assert error.details() == "this node takes part in no attempt now"


def test_who_says_nothing_is_let_go(node: Receiver) -> None:
    error: Any = says(node, [])
    assert "was not heard for 1.5 s" in error.details()


def test_connections_that_say_nothing_are_few_and_closed_soon(tmp_path: Path) -> None:
    tls = Signer(tmp_path / "tls").files("streame://shop/node/receiver")
    server = DataServer("127.0.0.1:0", "shop", tls, ServerLimits(connections=3, handshake_s=0.5))
    try:
        for _ in range(3):  # those that were closed make room for others
            opened = [socket.create_connection(("127.0.0.1", server.port), WAIT_S) for _ in range(40)]
            for each in opened:
                with each:
                    assert each.recv(1) == b""
    finally:
        server.close()
