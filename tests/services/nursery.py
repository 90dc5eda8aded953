"""Python processes that begin at once: one that has imported Streame makes a copy of itself whenever it is asked.

An import takes one to two seconds of a processor, and tests that kill start hundreds of processes. A copy runs the module that
it is told to, as `python -m` does, with its own arguments, environment, folder and files. What must be set before Streame is
imported cannot be, and all copies hash texts alike; a test of that takes `subprocess`.
"""

import atexit
import contextlib
import ctypes
import fcntl
import functools
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from streame.core.failpoints import VARIABLE, arm

ROOT = Path(__file__).parent.parent.parent
PRELOADED = ("streame.cli.main", "streame.cluster.cluster", "tests.services.etcd")
ANSWER_S = 30.0
_LINE_MAX = 1024 * 1024
_DIE_WITH_PARENT = 1


class Forked:
    """A process that was made; has what tests use of `subprocess.Popen`.

    Args:
        nursery: where it comes from.
        pid: its number.
    """

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self.pid = pid
        self._nursery = nursery

    @property
    def returncode(self) -> int | None:
        """With which code it has ended, negative for a signal; `None` while it runs."""
        return self._nursery.code(self.pid)

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The same once it has ended.

        Raises:
            TimeoutExpired: when it has not in time.
        """
        code = self._nursery.wait(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)


class Nursery:
    """Makes processes, and knows how they have ended."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.services.nursery", str(theirs.fileno())],
                cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
        self._asking = threading.Lock()
        self._changed = threading.Condition()
        self._made: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._count = 0
        self._is_over = False
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()

    def start(
        self,
        arguments: Sequence[str],
        *,
        stdout: int,
        stderr: int,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        pass_fds: Sequence[int] = (),
    ) -> Forked:
        """A new process.

        Args:
            arguments: a module and what it is given, as behind `python -m`.
            stdout: the file descriptor for what it writes; there is nothing to read.
            stderr: the same for errors.
            env: its environment; `None` for that of this process.
            cwd: where it runs.
            pass_fds: more file descriptors, which have the same numbers there.
        """
        request = {
            "arguments": list(arguments), "env": dict(os.environ if env is None else env), "cwd": str(cwd),
            "fds": [1, 2, *pass_fds],
        }  # fmt: skip
        with self._asking, self._changed:
            self._count += 1
            line = json.dumps({**request, "number": self._count}).encode() + b"\n"
            assert len(line) < _LINE_MAX, len(line)
            sent = socket.send_fds(self._socket, [line], [stdout, stderr, *pass_fds])
            self._socket.sendall(line[sent:])
            assert self._changed.wait_for(lambda: self._count in self._made, ANSWER_S), "no process was made"
            return Forked(self, self._made[self._count])

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """A process, once it has ended, with what it has written.

        Raises:
            TimeoutExpired: when it has not ended in time.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(arguments, stdout=out.fileno(), stderr=err.fileno(), env=env, cwd=cwd)
            try:
                code = process.wait(timeout)
            finally:
                process.kill()
            for each in (out, err):
                each.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read().decode(), err.read().decode())

    def code(self, pid: int) -> int | None:
        """With which code a process has ended, negative for a signal; `None` while it runs."""
        with self._changed:
            return self._ended.get(pid)

    def wait(self, pid: int, seconds: float | None) -> int | None:
        """The same once it has ended, or once the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._ended or self._is_over, seconds)
            assert pid in self._ended or not self._is_over, "the nursery has ended, and all processes with it"
            return self._ended.get(pid)

    def close(self) -> None:
        """End it, and all that it has made."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._socket.close()

    def _read(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                said = json.loads(line)
                with self._changed:
                    if "made" in said:
                        self._made[said["made"]] = said["pid"]
                        self._ended.pop(said["pid"], None)
                    else:
                        self._ended[said["pid"]] = said["code"]
                    self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()


@functools.cache
def nursery() -> Nursery:
    """The nursery of this process; ends with it."""
    made = Nursery()
    atexit.register(made.close)
    return made


def serve(link: socket.socket) -> None:
    """Make what is asked for, until nobody asks any more."""
    for module in PRELOADED:
        import_module(module)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        for each in (link.fileno(), reading):
            selector.register(each, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if reading in ready:
                os.read(reading, 4096)
                _say_who_ended(link)
            if link.fileno() in ready:
                request, fds = _asked(link)
                if request is None:
                    return
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # threads of Polars wait for work
                    pid = os.fork()
                if pid == 0:
                    _become(request, fds, [link.fileno(), reading, writing, selector.fileno()])
                for fd in fds:
                    os.close(fd)
                _say(link, made=request["number"], pid=pid)


def _asked(link: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """A request with its file descriptors; whoever asks waits for the answer before it asks again."""
    data, fds, _, _ = socket.recv_fds(link, _LINE_MAX, 16)
    while data and not data.endswith(b"\n"):
        if not (more := link.recv(_LINE_MAX)):
            return None, fds  # whoever asked has ended
        data += more
    return (json.loads(data) if data else None), fds


def _become(request: Mapping[str, Any], fds: Sequence[int], ours: Sequence[int]) -> NoReturn:
    """Be what was asked for, and end as a Python process does, but for signals."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        _set_files(dict(zip(request["fds"], fds, strict=True)), ours)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        sys.path[0] = request["cwd"]
        arm(os.environ.get(VARIABLE, ""))
        module, *arguments = request["arguments"]
        sys.argv = [module, *arguments]
        code = _run(module)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _set_files(wanted: Mapping[int, int], ours: Sequence[int]) -> None:
    """Have the files that were given under their numbers, and none of the nursery's."""
    above = max((*wanted, *wanted.values(), *ours)) + 1
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD, above) for number, fd in wanted.items()}
    for fd in (*ours, *wanted.values()):
        os.close(fd)
    for number, fd in moved.items():
        os.dup2(fd, number)
        os.close(fd)


def _run(module: str) -> int:
    """Run a module; returns the exit code that Python gives then."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    return 0


def _say_who_ended(link: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _say(link, pid=pid, code=os.waitstatus_to_exitcode(status))


def _say(link: socket.socket, **what: int) -> None:
    link.sendall(json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
