"""An S3 server on loopback: moto's, behind a lock, in a process of its own that can be killed and told to misbehave.

Moto checks whether an object is there and stores it in two steps; the lock makes them one. What was stored lies in a
folder as well, so that a server that was killed and started again has it.
"""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from urllib.request import Request, urlopen

from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import Client

BUCKET = "checkpoints"
FAULTS = "/_faults"
WRITING = {"PUT", "POST", "DELETE"}

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class Fault:
    """What the server does to one request.

    Args:
        method: of the request.
        part: a part of its path.
        carried_out: whether the request is carried out nevertheless.
        answer: an HTTP status; 0 to cut the connection without an answer, -1 to leave it open.
    """

    method: str
    part: str
    carried_out: bool
    answer: int = 0


class LockedServer:
    """The application: one writing request at a time, faults on demand.

    Args:
        inner: moto.
        kept: the folder in which what was stored lies.
    """

    def __init__(self, inner: Application, kept: Path) -> None:
        self._inner, self._kept = inner, kept
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        client = Client(inner)
        client.put(f"/{BUCKET}")
        for place in sorted(kept.iterdir()):
            client.put(quote(unquote(place.name)), data=place.read_bytes())

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == FAULTS:
            told = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            self._faults = [Fault(**each) for each in told]
            start("200 OK", [])
            return []
        fault = self._fault_of(method, path)
        if fault is None:
            return self._carry_out(environ, start)
        body = b""
        if fault.carried_out:
            body = b"".join(self._carry_out(environ, lambda *_: None))
        if fault.answer <= 0:
            if fault.answer == 0:
                environ["werkzeug.socket"].shutdown(2)
            else:
                threading.Event().wait(20)
            raise ConnectionError("no answer")
        start(f"{fault.answer} Told So", [("Content-Length", "0")])
        return [body[:0]]

    def _carry_out(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in WRITING:
            return self._inner(environ, start)
        with self._lock:
            return self._write(environ, start, method)

    def _write(self, environ: Environ, start: Callable[..., Any], method: str) -> Iterable[bytes]:
        statuses: list[str] = []

        def started(status: str, *rest: Any) -> Any:
            statuses.append(status)
            return start(status, *rest)

        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        answer = list(self._inner(environ | {"wsgi.input": io.BytesIO(body)}, started))
        path = environ["PATH_INFO"].encode("latin-1").decode()
        place = self._kept / quote(path, safe="")
        if statuses[0].startswith("2") and path.count("/") > 1:
            if method == "DELETE":
                place.unlink(missing_ok=True)
            elif method == "PUT":
                place.write_bytes(body)
        return answer

    def _fault_of(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.method == method and fault.part in path:
                self._faults.remove(fault)
                return fault
        return None


class Silent(WSGIRequestHandler):
    """A handler that says nothing of requests, nor of those that were cut."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name is werkzeug's
        """Say nothing."""

    def connection_dropped(self, error: BaseException, environ: Environ | None = None) -> None:
        """Say nothing."""


class S3Server:
    """The process of a server, as a test sees it.

    Args:
        kept: a folder for what is stored.
    """

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the same port as before if it was killed."""
        command = [sys.executable, "-m", "tests.storage.s3_server", str(self.port), str(self._kept)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """Kill it by its process id."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def misbehave(self, *faults: Fault) -> None:
        """Do this to the next requests that fit, once each, and nothing else any more."""
        body = json.dumps([asdict(fault) for fault in faults]).encode()
        urlopen(Request(self.endpoint + FAULTS, body, method="POST"), timeout=10).close()  # noqa: S310 - loopback


def main(port: int, kept: Path) -> None:
    """Serve until the parent is gone: then the pipe at the standard input ends."""
    application = LockedServer(create_backend_app("s3"), kept)
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=Silent)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
