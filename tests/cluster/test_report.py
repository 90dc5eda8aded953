"""What a node answers, who may ask, and what is made of the answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from streame.cluster.changes import changes
from streame.cluster.etcd.interface import KeyValue
from streame.cluster.frames import Attempt
from streame.cluster.identity import Identity
from streame.cluster.report import report_job
from streame.cluster.security import Tls
from streame.cluster.status import (
    STATUS_BYTES_MAX,
    CheckpointStatus,
    NodeStatus,
    OperatorStatus,
    decode_status,
    encode_status,
)
from streame.cluster.transport import METHOD, SERVICE, DataServer, ask_status
from streame.cluster.view import (
    AttemptEntry,
    LeaderEntry,
    Member,
    NodeEntry,
    Outcome,
    Pointer,
    View,
    decode,
)
from streame.errors import ClusterError
from tests.cluster.servers import Signer

WAIT_S = 10.0
A, B = Member("a-1", "a", "127.0.0.1:1"), Member("b-1", "b", "127.0.0.1:2")
POINTER = Pointer(7, Attempt(5, 1), "path", "digest", 10)
RUNNING = View(
    LeaderEntry(A, "d"), 5, (NodeEntry(A, "d"), NodeEntry(B, "d", since_us=1_000_000)),
    AttemptEntry(Attempt(5, 2), (A, B), (1, 1), POINTER), POINTER,
)  # fmt: skip
SECOND_NS = 1_000_000_000


def status(
    member: Member, *operators: OperatorStatus, leads: bool = False, ticks: bool = False
) -> NodeStatus:
    checkpoint = CheckpointStatus(7, age_s=1.5, duration_s=0.2, new_bytes=3, state_bytes=9) if leads else None
    return NodeStatus(
        1, "orders", member.name, member.id, leads, 5, 2, "running", 3.0, None, checkpoint, ticks, operators
    )


LEADER = status(
    A, OperatorStatus("orders", "source", 40, 40, rejected=1), OperatorStatus("out", "sink", 6), leads=True
)
WORKER = status(
    B, OperatorStatus("windows", "operator", 39, 6, state_rows=4, state_bytes=100, watermark=20 * SECOND_NS)
)


def test_counters_of_nodes_are_added_up_and_the_least_watermark_counts() -> None:
    more = status(A, *LEADER.operators, OperatorStatus("windows", "operator", 1, 0, watermark=10 * SECOND_NS))
    job = report_job("orders", RUNNING, {"a-1": more, "b-1": WORKER}, 25_000_000)
    (windows,) = [each for each in job.operators if each.operator.name == "windows"]
    assert (windows.operator.rows_in, windows.nodes) == (40, ("a", "b"))
    assert (windows.watermark, windows.lag_s) == ("1970-01-01T00:00:10+00:00", 15.0)
    assert (job.rows_in, job.rows_out, job.rejected, job.state_bytes, job.lag_s) == (40, 6, 1, 100, 15.0)
    assert [each.operator.name for each in job.operators] == ["orders", "windows", "out"]


def test_counters_of_an_attempt_that_is_over_do_not_count() -> None:
    late = msgspec.structs.replace(WORKER, attempt=1)
    job = report_job("orders", RUNNING, {"a-1": LEADER, "b-1": late}, 25_000_000)
    assert [each.operator.name for each in job.operators] == ["orders", "out"]
    assert (job.state_bytes, job.nodes[1].state) == (0, "running")


def test_a_report_says_who_leads_and_what_runs_where() -> None:
    job = report_job("orders", RUNNING, {"a-1": LEADER, "b-1": "no answer within 2 s"}, 0)
    assert (job.state, job.leader, job.epoch, job.attempt, job.instances) == (
        "running",
        "a",
        5,
        2,
        ("b", "b"),
    )
    assert [(each.leads, each.answers, each.error, each.instances) for each in job.nodes] == [
        (True, True, None, ()),
        (False, False, "no answer within 2 s", (0, 1)),
    ]
    assert job.nodes[1].since == "1970-01-01T00:00:01+00:00"
    assert job.checkpoint is not None
    assert (job.checkpoint.number, job.checkpoint.epoch, job.checkpoint.state_bytes) == (7, 5, 9)


@pytest.mark.parametrize(
    ("view", "state"),
    [
        (RUNNING, "unknown"),
        (View(nodes=RUNNING.nodes, attempt=RUNNING.attempt), "electing"),
        (View(pointer=POINTER), "down"),
        (View(outcome=Outcome(5, "failed", "no")), "failed"),
    ],
)
def test_the_state_of_a_job_whose_leader_says_nothing(view: View, state: str) -> None:
    assert report_job("orders", view, {}, 0).state == state


def test_ticks_have_no_lag() -> None:
    ticking = status(B, OperatorStatus("windows", "operator", watermark=12), ticks=True)
    (windows,) = report_job("orders", RUNNING, {"b-1": ticking}, 0).operators
    assert (windows.watermark, windows.lag_s) == (12, None)


def test_an_answer_is_bounded_and_versioned() -> None:
    many = tuple(OperatorStatus(f"operator {number}", "operator") for number in range(9_000))
    data = encode_status(status(A, *many))
    assert len(data) <= STATUS_BYTES_MAX
    found = decode_status(data)
    assert found.left_out + len(found.operators) == 9_000
    with pytest.raises(ClusterError, match="its answer is of version 2, and version 1 is understood here"):
        decode_status(data.replace(b'"version":1', b'"version":2'))
    with pytest.raises(ClusterError, match="cannot be understood"):
        decode_status(b"{}")


def test_a_node_that_cannot_speak_to_the_leader_is_told_once() -> None:
    stranger = NodeEntry(Member("c-1", "c", "127.0.0.1:3"), "d", authorities=("x",))
    there = replace(RUNNING, nodes=(*RUNNING.nodes, stranger))
    told = (
        "node c (127.0.0.1:3) trusts x, but the leader uses no TLS: it is given no work; use certificates of one authority "
        "on all nodes"
    )
    assert told in list(changes(RUNNING, there))
    unled = replace(there, leader=None, epoch=0)
    assert told in list(changes(unled, there)), "it was there before the leader"
    assert list(changes(there, there)) == []
    assert told not in list(changes(RUNNING, unled))


def test_entries_that_say_nothing_of_tls_are_those_of_nodes_without() -> None:
    said = KeyValue("k", b'{"member":{"id":"a-1","name":"a","address":"127.0.0.1:1"},"digest":"d"}', 1, 1, 0)
    assert decode(NodeEntry, said) == NodeEntry(A, "d")
    assert decode(LeaderEntry, said) == LeaderEntry(A, "d")


def test_what_has_changed_is_told_in_words() -> None:
    assert list(changes(View(), RUNNING)) == [
        "node a (127.0.0.1:1) is there",
        "node b (127.0.0.1:2) is there",
        "node a leads, in epoch 5",
        "attempt 5.2 begins from checkpoint 7, with a, b",
    ]
    alone = View(nodes=(NodeEntry(B, "d", leaving=True),), drained=frozenset({B.id}), attempt=RUNNING.attempt)
    assert list(changes(RUNNING, alone)) == [
        "node b wants to end, and hands its work over",
        "node a (127.0.0.1:1) is gone",
        "node b is to be drained",
        "no node leads",
    ]
    assert not list(
        changes(RUNNING, replace(RUNNING, drained=frozenset({"b-0"})))
    )  # of an earlier start of it
    twin = View(
        nodes=(*alone.nodes, NodeEntry(Member("b-2", "b", "127.0.0.1:3"), "d")), drained=alone.drained
    )
    assert [line.partition(":")[0] for line in changes(alone, twin)][:2] == [
        "node b (127.0.0.1",
        "there are several nodes named b",
    ]
    assert list(changes(RUNNING, View(outcome=Outcome(5, "finished")))) == [
        "node a (127.0.0.1:1) is gone",
        "node b (127.0.0.1:2) is gone",
        "no node leads",
        "the job has finished",
    ]
    assert not list(changes(View(), View(outcome=Outcome(5, "failed"))))  # of an earlier run


@pytest.fixture
def asked(tmp_path: Path) -> Callable[[str], bytes]:
    """Asks a node as somebody with a certificate."""
    signer = Signer(tmp_path / "tls")

    node = signer.files("streame://shop/node/a", hosts=["a.node.shop.streame.internal"])

    def ask(uri: str) -> bytes:
        server = DataServer("127.0.0.1:0", "shop", node)
        server.answer(lambda: b"fine")
        address = f"127.0.0.1:{server.port}"
        try:
            return ask_status(address, Identity("shop", "node", "a"), signer.files(uri), WAIT_S)
        finally:
            server.close()

    return ask


def test_nodes_and_clients_of_the_cluster_may_ask_for_the_status(asked: Callable[[str], bytes]) -> None:
    assert asked("streame://shop/node/b") == b"fine"
    assert asked("streame://shop/client/ann") == b"fine"
    with pytest.raises(ClusterError, match="is not of this cluster"):
        asked("streame://other/client/ann")


def test_a_client_may_not_open_a_stream(tmp_path: Path) -> None:
    signer = Signer(tmp_path / "tls")
    server = DataServer("127.0.0.1:0", "shop", signer.files("streame://shop/node/a"))
    files: Tls = signer.files("streame://shop/client/ann")
    try:
        with grpc.secure_channel(f"127.0.0.1:{server.port}", files.channel_credentials()) as channel:
            exchange: Any = channel.stream_stream(f"/{SERVICE}/{METHOD}")
            with pytest.raises(grpc.RpcError, match="only the role node may"):
                next(exchange(iter([b""]), timeout=WAIT_S))
    finally:
        server.close()


def test_a_node_that_cannot_be_reached_is_told_of() -> None:
    server = DataServer("127.0.0.1:0", "shop", None)
    address = f"127.0.0.1:{server.port}"
    with pytest.raises(ClusterError, match="this node has no status"):
        ask_status(address, Identity("shop", "node", "a"), None, WAIT_S)
    server.close()
    with pytest.raises(ClusterError, match=r"no answer within 0\.1 s"):
        ask_status(address, Identity("shop", "node", "a"), None, 0.1)
    with pytest.raises(ClusterError, match="is not of this machine, and there are no TLS files"):
        ask_status("10.0.0.9:50085", Identity("shop", "node", "a"), None, 0.1)
