"""The proxy between real sockets: what it passes on, holds, loses, damages, resets and refuses."""

import gc
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from streame.testing.lines import Line
from streame.testing.tcp_proxy import CLOSE_S, TcpProxy

WAIT_S = 10.0


class Echo:
    """A server that sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.heard = bytearray()
        self.ends: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    self.heard += data
                    connection.sendall(data)
                self.ends.append("end")
            except OSError as error:
                self.ends.append(type(error).__name__)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", echo.port) as made:
        yield made


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    """A connection that has been used."""
    with connected(proxy) as made:
        made.sendall(b"hello")
        assert received(made, 5) == b"hello"
        yield made


def connected(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), WAIT_S)


def first_byte(proxy: TcpProxy) -> bytes:
    """What a new connection is told; the system may see a reset while it still connects."""
    with connected(proxy) as made:
        return made.recv(1)


def received(connection: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer at the end."""
    found = b""
    while len(found) < size and (data := connection.recv(size - len(found))):
        found += data
    return found


def is_silent(connection: socket.socket, seconds: float = 0.2) -> bool:
    connection.settimeout(seconds)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(WAIT_S)
    return False


def eventually(what: Callable[[], bool]) -> None:
    pause, deadline = threading.Event(), time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.005)


def test_everything_is_passed_on_and_ends_one_side_at_a_time(echo: Echo, proxy: TcpProxy) -> None:
    sent = bytes(range(256)) * 40_000  # 10 MB, more than what may be held
    with connected(proxy) as client:

        def write() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        writing = threading.Thread(target=write)
        writing.start()
        assert received(client, len(sent) + 1) == sent
        writing.join()
    assert echo.ends == ["end"]
    eventually(lambda: proxy.connections == 0)


def test_a_delay_there_and_back_adds_up(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.delay(0.1)
    began = time.monotonic()
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    assert 0.2 <= time.monotonic() - began < 2
    proxy.heal()
    client.sendall(b"b")
    assert received(client, 1) == b"b"


def test_one_direction_alone_is_delayed(echo: Echo, proxy: TcpProxy, client: socket.socket) -> None:
    proxy.delay(0.3, direction="back")
    began = time.monotonic()
    client.sendall(b"a")
    eventually(lambda: echo.heard == b"helloa")
    assert time.monotonic() - began < 0.3
    assert received(client, 1) == b"a"
    assert time.monotonic() - began >= 0.3


def test_what_is_lost_comes_later(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.lose(1.0, "there")
    began = time.monotonic()
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    assert time.monotonic() - began >= 0.2


def test_a_slow_line(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.throttle(100_000, "there")
    began = time.monotonic()
    client.sendall(bytes(30_000))
    assert received(client, 30_000) == bytes(30_000)
    assert 0.25 < time.monotonic() - began < 2


def test_what_is_stuck_is_delivered_later(echo: Echo, proxy: TcpProxy, client: socket.socket) -> None:
    proxy.stall("there")
    client.sendall(b"stuck")
    eventually(lambda: proxy.held_bytes("there") == 5)
    assert is_silent(client)
    assert echo.heard == b"hello"
    assert proxy.held_bytes("back") == 0
    proxy.release()
    assert received(client, 5) == b"stuck"


def test_a_stall_that_ends_by_itself(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.stall(for_s=0.2)
    began = time.monotonic()
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    assert time.monotonic() - began >= 0.15


def test_a_stuck_line_holds_no_more_than_a_window(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.stall("there")
    client.setblocking(False)
    held = 0

    def is_full() -> bool:
        nonlocal held
        before, held = held, proxy.held_bytes()
        try:
            client.send(bytes(1 << 20))
        except BlockingIOError:
            return held == before
        return False

    eventually(is_full)
    assert 16 << 20 <= held < 17 << 20


def test_what_is_stuck_arrives_though_its_sender_was_cut_off_behind_it(
    echo: Echo, proxy: TcpProxy, client: socket.socket
) -> None:
    proxy.stall("there")
    client.sendall(b" early")
    eventually(lambda: proxy.held_bytes("there") == 6)
    proxy.cut("there")
    client.sendall(b" late")
    client.close()
    proxy.release()
    eventually(lambda: echo.heard == b"hello early")
    assert not echo.ends


def test_who_is_cut_off_hears_nothing_and_stays_mute(
    echo: Echo, proxy: TcpProxy, client: socket.socket
) -> None:
    proxy.cut()
    client.sendall(b"lost")
    with connected(proxy) as newcomer:
        newcomer.sendall(b"lost")
        assert is_silent(client)
        assert is_silent(newcomer)
        proxy.heal()
        client.sendall(b"lost")
        newcomer.sendall(b"lost")
        assert is_silent(client)
        assert is_silent(newcomer)
    with connected(proxy) as later:
        later.sendall(b" again")
        assert received(later, 6) == b" again"
    assert echo.heard == b"hello again"


def test_who_has_lost_nothing_goes_on(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.cut()
    proxy.heal()
    client.sendall(b"a")
    assert received(client, 1) == b"a"


def test_a_cut_of_one_direction(echo: Echo, proxy: TcpProxy, client: socket.socket) -> None:
    proxy.cut("back")
    client.sendall(b" there")
    eventually(lambda: echo.heard == b"hello there")
    assert is_silent(client)


def test_the_target_does_not_hear_of_an_end_behind_a_cut(
    echo: Echo, proxy: TcpProxy, client: socket.socket
) -> None:
    proxy.cut("there")
    client.close()
    threading.Event().wait(0.2)
    assert not echo.ends
    assert proxy.connections == 1


def test_a_reset_is_seen_at_both_ends(echo: Echo, proxy: TcpProxy, client: socket.socket) -> None:
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    eventually(lambda: echo.ends == ["ConnectionResetError"])
    assert proxy.connections == 0
    with connected(proxy) as again:
        again.sendall(b"a")
        assert received(again, 1) == b"a"


def test_new_connections_are_reset_too(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.reset(new_too=True)
    with pytest.raises(ConnectionResetError):
        first_byte(proxy)
    proxy.heal()
    with connected(proxy) as later:
        later.sendall(b"a")
        assert received(later, 1) == b"a"


def test_a_reset_of_one_end_reaches_the_other(echo: Echo, proxy: TcpProxy, client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    eventually(lambda: echo.ends == ["ConnectionResetError"])


def test_nobody_may_connect_and_then_all_may(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    proxy.refuse()
    proxy.heal()
    with connected(proxy) as later:
        later.sendall(b"a")
        assert received(later, 1) == b"a"


def test_who_connects_at_the_moment_of_a_refusal_is_not_forgotten(proxy: TcpProxy) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(300):
            with socket.socket() as early:
                early.setblocking(False)
                early.connect_ex((proxy.host, proxy.port))
                proxy.refuse()
                proxy.heal()
        gc.collect()
    assert [str(each.message) for each in caught] == []


def test_a_target_that_is_not_there_is_a_reset(echo: Echo, proxy: TcpProxy) -> None:
    echo.close()
    echo.listener = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(ConnectionResetError):
        first_byte(proxy)


def test_corruption(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.corrupt(direction="back")
    client.sendall(bytes(100))
    assert sum(byte.bit_count() for byte in received(client, 100)) == 1


def test_a_line_as_a_whole(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.set(Line(delay_s=0.05, jitter_s=0.05, loss=0.2, bytes_per_s=1e6))
    sent = bytes(range(250)) * 100
    client.sendall(sent)
    assert received(client, len(sent)) == sent


def test_closing_takes_no_time_whatever_is_stuck(echo: Echo) -> None:
    proxy = TcpProxy("127.0.0.1", echo.port)
    clients = [connected(proxy) for _ in range(9)]
    eventually(lambda: proxy.connections == 9)
    proxy.stall()
    clients.append(connected(proxy))
    proxy.cut("back")
    for client in clients:
        client.sendall(bytes(1000))
    began = time.monotonic()
    proxy.close()
    proxy.close()
    assert time.monotonic() - began < CLOSE_S
    assert f"proxy {proxy.port}" not in {thread.name for thread in threading.enumerate()}
    for client in clients:
        with client, suppress(ConnectionResetError):
            assert client.recv(1) == b""
