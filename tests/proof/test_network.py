"""The proof's proxy: what passes, what is kept, what is cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from proof.network import Proxy, Weather

ASKED, ANSWERED = b"asked", b"answered"
SHORT_S = 0.2


class Server:
    """Answers whatever it reads, and counts it."""

    def __init__(self) -> None:
        self.seen = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            try:
                while client.recv(100):
                    self.seen.set()
                    client.sendall(ANSWERED)
            except OSError:
                return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.port)
    yield made
    made.close()


def ask(proxy: Proxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=SHORT_S)
    client.sendall(ASKED)
    return client


@pytest.mark.parametrize("weather", [Weather.FINE, Weather.SLOW])
def test_what_is_asked_is_answered(proxy: Proxy, weather: Weather) -> None:
    proxy.set(weather)
    with ask(proxy) as client:
        client.settimeout(5)
        assert client.recv(100) == ANSWERED


def test_black_hole_passes_nothing_until_it_ends(proxy: Proxy, server: Server) -> None:
    proxy.set(Weather.BLACK_HOLE)
    with ask(proxy) as client:
        with pytest.raises(TimeoutError):
            client.recv(100)
        assert not server.seen.is_set()
        proxy.set(Weather.FINE)
        client.settimeout(5)
        assert client.recv(100) == ANSWERED


def test_half_open_delivers_the_request_and_never_the_answer(proxy: Proxy, server: Server) -> None:
    proxy.set(Weather.HALF_OPEN)
    with ask(proxy) as client:
        with pytest.raises(TimeoutError):
            client.recv(100)
        assert server.seen.is_set()
        proxy.set(Weather.FINE)
        client.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""


def test_reset_cuts_what_is_open_and_what_comes(proxy: Proxy) -> None:
    with ask(proxy) as client:
        client.settimeout(5)
        assert client.recv(100) == ANSWERED
        proxy.set(Weather.RESET)
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    with pytest.raises((ConnectionResetError, AssertionError)), ask(proxy) as client:
        client.settimeout(5)
        assert client.recv(100)
    proxy.set(Weather.FINE)
    with ask(proxy) as client:
        client.settimeout(5)
        assert client.recv(100) == ANSWERED


def test_nobody_behind_it_is_a_cut_and_no_more(proxy: Proxy, server: Server) -> None:
    target, proxy.target = proxy.target, 1
    with pytest.raises((ConnectionResetError, AssertionError)), ask(proxy) as client:
        client.settimeout(5)
        assert client.recv(100)
    proxy.target = target
    with ask(proxy) as client:
        client.settimeout(5)
        assert client.recv(100) == ANSWERED
