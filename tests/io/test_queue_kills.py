"""A process whose threads put rows is killed again and again: every row whose `put` has returned is there, once."""

import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import polars as pl

from streame.io.durable_queue import END, Queue
from streame.io.logged import LoggedSource
from streame.io.queues import QueueSource
from streame.storage.disk import LocalDisk
from streame.storage.log import Log

KILLS = 4
THREADS = 3
SCHEMA = pl.Schema({"kill": pl.Int64, "thread": pl.Int64, "number": pl.Int64})

WRITER = """
import itertools, os, sys, threading
from pathlib import Path
import polars as pl, streame as st
from streame.io.logged import LoggedSource
from streame.io.queues import QueueSource
from streame.storage.disk import LocalDisk
from streame.storage.log import Log

folder, kill, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
items = st.Queue(maxsize=2)
schema = pl.Schema({name: pl.Int64 for name in ("kill", "thread", "number")})
source = LoggedSource(QueueSource(items, schema), Log(LocalDisk(folder), "wal", segment_bytes=20_000))

def put(thread):
    for number in itertools.count():
        items.put((kill, thread, number))
        os.write(1, f"{thread} {number}\\n".encode())

for thread in range(threads):
    threading.Thread(target=put, args=(thread,), daemon=True).start()
for chunk in source.read("queue", None):
    pass
"""


def test_rows_whose_put_has_returned_are_there_once(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    acknowledged: dict[tuple[int, int], int] = {}
    for kill in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(kill), str(THREADS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(draw.randrange(1, 150))]
            writer.kill()
            lines += writer.stdout.read().splitlines(keepends=True)
        for line in lines:
            if line.endswith("\n"):
                thread, number = map(int, line.split())
                acknowledged[kill, thread] = number
    items = Queue()
    items.put(END)
    source = LoggedSource(QueueSource(items, SCHEMA), Log(LocalDisk(tmp_path), "wal"))
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    positions: list[int] = []
    for chunk in source.read("queue", None):
        if chunk is not None and chunk.offsets is not None:
            positions += chunk.offsets().tolist()
            for kill, thread, number in chunk.frame.rows():
                found[kill, thread].append(number)
    assert acknowledged.keys() <= found.keys()
    for key, numbers in found.items():
        assert numbers == list(range(len(numbers))), key
        assert len(numbers) > acknowledged.get(key, -1), key
    assert positions == list(range(len(positions)))
