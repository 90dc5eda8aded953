"""A process that appends is killed again and again: what it has acknowledged is in the log, once and in order."""

import random
import subprocess
import sys
from pathlib import Path

from streame.storage.disk import LocalDisk
from streame.storage.log import Log

KILLS = 6

WRITER = """
import sys
from pathlib import Path
from streame.storage.disk import LocalDisk
from streame.storage.log import Log

log = Log(LocalDisk(Path(sys.argv[1])), "wal", segment_bytes=3_000)
while True:
    position = log.append(b"%d " % log.next * (log.next % 50 + 1))
    sys.stdout.write(f"{position}\\n")
    sys.stdout.flush()
"""


def test_kill_minus_nine(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    acknowledged = -1
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(draw.randrange(1, 200)):
                number = int(writer.stdout.readline())
                assert number > acknowledged
                acknowledged = number
            writer.kill()
            lines = writer.stdout.read().splitlines(keepends=True)
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.endswith("\n"))])
        with Log(LocalDisk(tmp_path), "wal") as log:
            assert log.next > acknowledged
            assert list(log.read(0)) == [
                (number, b"%d " % number * (number % 50 + 1)) for number in range(log.next)
            ]
