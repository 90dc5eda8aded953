"""Objects that are made once: the same contract in memory and on a real server, and what errors mean."""

import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from streame.errors import CheckpointError, PlanError
from streame.storage import s3 as s3_module
from streame.storage.bucket import Bucket, NoAnswer, Occupied
from streame.storage.folder_bucket import FolderBucket
from streame.storage.objects import ObjectStore, Patience, Taken
from streame.storage.s3 import S3Bucket
from tests.storage.conftest import environment
from tests.storage.memory_bucket import MemoryBucket, Trouble
from tests.storage.s3_server import BUCKET, Fault, S3Server

WRITERS = 16
SHORT = Patience(seconds=0.5, pause=0.01)


def won(bucket: Bucket, name: str, data: bytes) -> bool:
    """Whether a writer made the object."""
    try:
        ObjectStore(bucket).put_new(name, data)
    except Taken:
        return False
    return True


def race(bucket: Bucket, rounds: int) -> None:
    """Sixteen writers, one name, exactly one winner, whose bytes are there; every round."""
    barrier, winners = threading.Barrier(WRITERS), [[False] * WRITERS for _ in range(rounds)]

    def write(writer: int) -> None:
        for number in range(rounds):
            barrier.wait()
            winners[number][writer] = won(bucket, f"race/{number}", str(writer).encode())

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, won_round in enumerate(winners):
        assert sum(won_round) == 1, (number, won_round)
        assert bucket.read(f"race/{number}") == str(won_round.index(True)).encode()


def test_of_sixteen_writers_one_wins_on_the_server(s3: S3Bucket) -> None:
    """The first test of this file: nothing else means anything on a store where it fails."""
    race(s3, rounds=25)


def test_of_sixteen_writers_one_wins_in_memory() -> None:
    race(MemoryBucket(), rounds=200)


def test_of_sixteen_writers_one_wins_in_a_folder(tmp_path: Path) -> None:
    race(FolderBucket(tmp_path), rounds=10)


@pytest.fixture(params=["memory", "folder", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bucket:
    """An empty bucket of each kind."""
    if request.param == "s3":
        s3: Bucket = request.getfixturevalue("s3")
        return s3
    return MemoryBucket() if request.param == "memory" else FolderBucket(tmp_path_factory.mktemp("bucket"))


def test_an_object_is_made_once(bucket: Bucket) -> None:
    store = ObjectStore(bucket, SHORT)
    store.put_new("a/b", b"first")
    store.put_new("a/b", b"first")
    with pytest.raises(Taken) as taken:
        store.put_new("a/b", b"second")
    assert taken.value.there == b"first"
    assert store.get("a/b") == b"first"


def test_what_is_there_can_be_read_in_parts(bucket: Bucket) -> None:
    store = ObjectStore(bucket, SHORT)
    content = bytes(range(256)) * 5000
    store.put_new("state/1/0.pack", content)
    store.put_new("empty", b"")
    assert store.size("state/1/0.pack") == len(content)
    assert store.get("state/1/0.pack") == content
    assert store.get("state/1/0.pack", 1000, 20) == content[1000:1020]
    assert store.get("state/1/0.pack", len(content) - 3) == content[-3:]
    assert store.get("state/1/0.pack", len(content) - 3, 10) == content[-3:]
    assert store.get("state/1/0.pack", len(content), 10) == b""
    assert store.get("state/1/0.pack", 7, 0) == b""
    assert (store.get("empty"), store.get("empty", 0, 5), store.size("empty")) == (b"", b"", 0)


def test_what_is_not_there(bucket: Bucket) -> None:
    store = ObjectStore(bucket, SHORT)
    assert store.size("nothing") is None
    assert store.names("nothing") == []
    store.delete(["nothing"])
    store.delete([])
    with pytest.raises(FileNotFoundError):
        store.get("nothing")
    with pytest.raises(FileNotFoundError):
        store.get("nothing", 3, 4)


def test_names_are_listed_by_folder_and_in_order(bucket: Bucket) -> None:
    store = ObjectStore(bucket, SHORT)
    names = [f"m/{number}.json" for number in range(1, 13)]
    odd = ["m/a b%2F,=+@~\u00e4.out", "m/deep/er"]
    for name in [*names, *odd, "mm/other", "n/other"]:
        store.put_new(name, name.encode())
    assert store.names("m") == sorted([*names, *odd])
    assert [store.get(name) for name in odd] == [name.encode() for name in odd]
    store.delete(odd)
    assert store.names("m") == sorted(names)


@pytest.fixture(params=["memory", "s3"])
def troubled(request: pytest.FixtureRequest) -> Callable[..., Bucket]:
    """A bucket of each kind that does something to the next writes."""

    def make(*outcomes: str) -> Bucket:
        if request.param == "memory":
            found = MemoryBucket()
            found.troubles += [Trouble("create", "", each) for each in outcomes]  # type: ignore[arg-type]
            return found
        s3: Bucket = request.getfixturevalue("s3")
        answers = {"before": (False, 503), "after": (True, 0), "refused": (False, 409)}
        server: S3Server = request.getfixturevalue("s3_server")
        server.misbehave(*(Fault("PUT", "", *answers[each]) for each in outcomes))
        return s3

    return make


@pytest.mark.parametrize(
    "outcomes",
    [
        ["before"],
        ["after"],
        ["refused"],
        ["before", "refused", "before", "after"],
    ],
    ids="-".join,
)
def test_whatever_the_store_says_the_object_is_read_back(
    troubled: Callable[..., Bucket], outcomes: list[str]
) -> None:
    bucket = troubled(*outcomes)
    ObjectStore(bucket, Patience(pause=0.001)).put_new("m/1", b"mine")
    assert bucket.read("m/1") == b"mine"


@pytest.mark.parametrize("outcome", ["before", "refused", "after"])
def test_a_lost_answer_hides_no_loss(troubled: Callable[..., Bucket], outcome: str) -> None:
    bucket = troubled()
    bucket.create("m/1", b"theirs")
    if outcome == "after" and isinstance(bucket, MemoryBucket):
        outcome = "before"  # there is nothing to be carried out: something is there already
    assert troubled(outcome) is not None
    with pytest.raises(Taken) as taken:
        ObjectStore(bucket, Patience(pause=0.001)).put_new("m/1", b"mine")
    assert taken.value.there == b"theirs"


def test_a_request_that_comes_late_is_a_success_of_the_one_who_sent_it() -> None:
    bucket = MemoryBucket(troubles=[Trouble("create", "m/1", "late"), Trouble("create", "m/1", "before")])
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            bucket.land()

    ObjectStore(bucket, Patience(), wait).put_new("m/1", b"mine")
    assert bucket.objects == {"m/1": b"mine"}
    assert pauses == [0.1, 0.2]


def test_patience_has_an_end() -> None:
    bucket = MemoryBucket(troubles=[Trouble("create", "", "before")] * 1000)
    with pytest.raises(CheckpointError, match=r"memory://bucket: writing m/1: no answer for 0\.05 seconds"):
        ObjectStore(bucket, Patience(0.05, 0.001)).put_new("m/1", b"mine")
    bucket.troubles[:] = [Trouble("create", "", "before"), *[Trouble("read", "", "before")] * 1000]
    with pytest.raises(CheckpointError, match="no answer"):
        ObjectStore(bucket, Patience(0.05, 0.001)).put_new("m/1", b"mine")
    bucket.troubles[:] = [Trouble("names", "", "before")] * 1000
    with pytest.raises(CheckpointError, match="listing m/: no answer"):
        ObjectStore(bucket, Patience(0.05, 0.001)).names("m")


def test_reading_goes_on_when_the_answer_comes() -> None:
    bucket = MemoryBucket({"a": b"b"})
    bucket.troubles += [
        Trouble("read", "", "before"),
        Trouble("read", "", "after"),
        Trouble("size", "", "after"),
    ]
    bucket.troubles += [Trouble("remove", "", "after"), Trouble("names", "", "before")]
    store = ObjectStore(bucket, Patience(pause=0.001))
    assert (store.get("a"), store.size("a")) == (b"b", 1)
    store.delete(["a"])
    assert store.names("") == []


def test_a_server_that_is_silent_is_not_waited_for_without_end(s3: S3Bucket, s3_server: S3Server) -> None:
    s3_server.misbehave(Fault("PUT", "m/1", carried_out=True, answer=-1))
    hasty = S3Bucket(s3.where, environment(s3_server), request_seconds=0.5)
    started = monotonic()
    with pytest.raises(NoAnswer):
        hasty.create("m/1", b"mine")
    assert monotonic() - started < 5
    with pytest.raises(Occupied):
        hasty.create("m/1", b"mine")


def test_a_server_that_was_killed_comes_back_with_what_it_had(s3: S3Bucket, s3_server: S3Server) -> None:
    store = ObjectStore(s3, SHORT)
    store.put_new("m/1", b"one")
    s3_server.kill()
    with pytest.raises(
        CheckpointError, match=r"writing m/2: no answer for 0\.5 seconds .*check that the store"
    ):
        store.put_new("m/2", b"two")
    s3_server.start()
    store.put_new("m/2", b"two")
    assert store.names("m") == ["m/1", "m/2"]


def test_a_bucket_that_is_not_there(s3_server: S3Server) -> None:
    store = ObjectStore(S3Bucket("s3://no-such-bucket/x", environment(s3_server)), SHORT)
    for call in (lambda: store.put_new("a", b""), lambda: store.get("a"), lambda: store.names("a")):
        with pytest.raises(
            CheckpointError, match=r"no bucket 'no-such-bucket' at http://127.0.0.1:\d+; make it first"
        ):
            call()


@pytest.mark.parametrize("status", [401, 403])
def test_refused_keys(s3: S3Bucket, s3_server: S3Server, status: int) -> None:
    s3_server.misbehave(Fault("PUT", "a", carried_out=False, answer=status))
    with pytest.raises(CheckpointError, match=r"access was refused .* check AWS_ACCESS_KEY_ID"):
        ObjectStore(s3, SHORT).put_new("a", b"")


def test_missing_keys(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    without = environment(s3_server) | {"AWS_SECRET_ACCESS_KEY": ""}
    with pytest.raises(CheckpointError, match=r"Missing.*; set AWS_ACCESS_KEY_ID"):
        S3Bucket(f"s3://{BUCKET}", without)


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "s3://UPPER/x", "gs://bucket/x", "/bucket"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(PlanError, match="write s3://bucket/prefix"):
        S3Bucket(url, {})


def test_an_endpoint_that_is_none() -> None:
    with pytest.raises(PlanError, match="AWS_ENDPOINT_URL: 'localhost:9000' is no address"):
        S3Bucket("s3://bucket/x", {"AWS_ENDPOINT_URL": "localhost:9000"})


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "S3Store", None)
    with pytest.raises(PlanError, match=r"pip install 'streame\[s3\]'"):
        S3Bucket("s3://bucket/prefix", {})
