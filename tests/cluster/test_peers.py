"""What the nodes of an attempt say to each other."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from streame.cluster.frames import Attempt
from streame.cluster.peers import Peers
from streame.cluster.view import AttemptEntry, Member
from streame.storage.folder_bucket import FolderBucket
from streame.storage.objects import ObjectStore
from tests.services.etcd import until

WAIT_S = 5.0


def test_each_attempt_left_a_thread_behind_that_held_all_of_its_state(tmp_path: Path) -> None:
    entry = AttemptEntry(Attempt(1, 1), (Member("a-1", "a", "a:1"),), (0,))
    peers = Peers(entry, 0, frozenset(), ObjectStore(FolderBucket(tmp_path)), lambda error: None)
    run: Any = SimpleNamespace(checkpointing=None)
    before = threading.active_count()
    peers.begin(run)
    assert threading.active_count() == before + 1
    peers.end()
    assert until(lambda: threading.active_count() == before, WAIT_S)
