"""A process that has imported everything, and becomes a node whenever it is asked: an import takes seconds, a fork does not.

It reads a request a line, which is JSON, and says which process it has made, and how one has ended.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

from streame.core.failpoints import arm
from tests.cluster import member
from tests.services.etcd import die_with_parent

ROOT = Path(__file__).parent.parent.parent
ANSWER_S = 30.0
_DIE_WITH_PARENT = 1


class Nursery:
    """Processes that become nodes, and how they ended."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*die_with_parent(), sys.executable, "-m", "tests.cluster.nursery"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        self._asking = threading.Lock()
        self._changed = threading.Condition()
        self._made: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._count = 0
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()

    def start(self, log: Path, settings: dict[str, Any]) -> int:
        """A new node; returns its process id.

        Args:
            log: where it writes what it has to say, behind what is there.
            settings: as `tests.cluster.member` takes them.
        """
        with self._asking, self._changed:
            self._count += 1
            number = self._count
            line = json.dumps({"number": number, "log": str(log), "settings": settings})
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
            assert self._changed.wait_for(lambda: number in self._made, ANSWER_S), "no process was made"
            return self._made[number]

    def code(self, pid: int) -> int | None:
        """With which code a process has ended, negative for a signal; `None` while it runs."""
        with self._changed:
            return self._ended.get(pid)

    def wait(self, pid: int, seconds: float) -> int | None:
        """The same once it has ended, or once the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._ended, seconds)
            return self._ended.get(pid)

    def close(self) -> None:
        """End it, and all that it has made."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._changed:
                if "made" in said:
                    self._made[said["made"]] = said["pid"]
                    self._ended.pop(said["pid"], None)
                else:
                    self._ended[said["pid"]] = said["code"]
                self._changed.notify_all()


def serve() -> None:
    """Make what is asked for, until nobody asks any more. A node that was made returns from here."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        for each in (sys.stdin.fileno(), reading):
            selector.register(each, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if reading in ready:
                os.read(reading, 4096)
                _say_who_ended()
            if sys.stdin.fileno() in ready:
                line = sys.stdin.buffer.readline()  # whoever asks waits for the answer before it asks again
                if not line:
                    return
                request = json.loads(line)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # threads of Polars wait for work
                    pid = os.fork()
                if pid == 0:
                    _become(request)
                _say(made=request["number"], pid=pid)


def _become(request: dict[str, Any]) -> None:
    """Be a node, and end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        arm(request["settings"].get("failpoints", ""))
        code = member.main(request["settings"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say_who_ended() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _say(pid=pid, code=os.waitstatus_to_exitcode(status))


def _say(**what: int) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    serve()
