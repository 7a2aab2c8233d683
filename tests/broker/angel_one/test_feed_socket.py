from __future__ import annotations

import asyncio
import socket as system_socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from broker.account import Egress
from broker.angel_one import feed_socket
from broker.angel_one.endpoints import LOGIN
from broker.angel_one.feed_socket import Socket
from shared.clock import SystemClock
from shared.errors import ConfigurationError
from tests.broker.angel_one.feed_peer import FeedPeer
from tests.broker.angel_one.peer import Client, Peer, failure, until


class Ear:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.data: list[bytes | str] = []
        self.opens = 0
        self.patience_s = 1e9

    async def opened(self, send: Callable[[str], Awaitable[None]]) -> None:
        self.opens += 1
        await send(f"hello {self.opens}")

    def heard(self, data: bytes | str) -> None:
        self.data.append(data)

    def too_silent(self, silent_s: float) -> bool:
        return silent_s > self.patience_s


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_socket, "AGAIN_FIRST_S", 0.001)
    monkeypatch.setattr(feed_socket, "AGAIN_MOST_S", 0.01)
    monkeypatch.setattr(feed_socket, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(feed_socket, "GOODBYE_S", 0.1)


@pytest.fixture
async def far() -> AsyncIterator[FeedPeer]:
    async with FeedPeer() as serving:
        yield serving


@pytest.fixture
def ear() -> Ear:
    return Ear()


Make = Callable[..., Socket]


@pytest.fixture
async def make(client: Client, ear: Ear) -> AsyncIterator[Make]:
    """Make sockets of the client's session; they are closed at the end."""
    made: list[Socket] = []

    def new(url: str, egress: Egress | None = None) -> Socket:
        made.append(Socket("test feed", url, client.session, egress or Egress(), ear, SystemClock()))
        return made[-1]

    yield new
    for each in made:
        await each.close()
        await each.close()


async def opened(socket: Socket) -> None:
    socket.start()
    socket.start()
    async with asyncio.timeout(5):
        await socket.wait_open()


async def test_connection_opens_with_the_sessions_headers_and_brings_messages(
    far: FeedPeer, make: Make, ear: Ear, client: Client
) -> None:
    socket = make(far.url)
    await opened(socket)
    await far.say(b"\x01frame")
    await far.say("text")
    await until(lambda: len(ear.data) == 2)
    assert ear.data == [b"\x01frame", "text"]
    (headers,) = far.handshakes
    for name, value in client.session.feed_headers().items():
        assert headers[name.lower()] == value
    assert (socket.connected, socket.reconnects, socket.trouble, far.said) == (True, 0, "", [["hello 1"]])


async def test_pings_go_out_as_text_and_pongs_are_no_data(far: FeedPeer, make: Make, ear: Ear) -> None:
    await opened(make(far.url))
    await until(lambda: far.pings >= 3)
    assert ear.data == []


async def test_connection_that_breaks_is_opened_again_and_told_anew(
    far: FeedPeer, make: Make, ear: Ear
) -> None:
    socket = make(far.url)
    await opened(socket)
    for count in range(1, 6):
        await far.say(b"x")
        await until(lambda: len(ear.data) == count)  # noqa: B023 - done before the next
        await far.hang_up()
        await until(lambda: ear.opens == count + 1 and socket.connected)  # noqa: B023
    assert socket.reconnects == 5
    assert far.said == [[f"hello {number}"] for number in range(1, 7)]


async def test_silence_of_the_dead_ends_the_connection_without_a_long_goodbye(
    far: FeedPeer, make: Make, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_socket, "PONG_WITHIN_S", 0.2)
    far.deaf = True
    socket = make(far.url)
    await opened(socket)
    far.deaf = False
    async with asyncio.timeout(2):
        await until(lambda: ear.opens == 2 and socket.connected)


async def test_silence_that_the_reader_does_not_bear_ends_the_connection(
    far: FeedPeer, make: Make, ear: Ear
) -> None:
    socket = make(far.url)
    await opened(socket)
    ear.patience_s = 0.1
    await until(lambda: ear.opens >= 2)
    ear.patience_s = 1e9
    await until(lambda: socket.connected and socket.trouble == "")
    assert far.pings > 0, "it answered, but said nothing"


async def test_refused_handshake_logs_in_anew_and_says_why(
    far: FeedPeer, make: Make, peer: Peer, client: Client
) -> None:
    socket = make(far.url)
    told = {"x-error-message": "Invalid Header - Invalid Feed Token feed-1 of A123456"}
    far.refusals = [
        web.Response(status=401, headers=told),
        web.Response(status=500),
        web.Response(status=429),
    ]
    with capture_logs() as logged:
        await opened(socket)
    seen = [entry["why"] for entry in logged if entry["event"] == "feed trouble"]
    assert seen == ["HTTP 401 Invalid Header - Invalid Feed Token *** of ***", "HTTP 500", "HTTP 429"]
    assert socket.trouble == ""
    assert peer.logins == 2
    assert far.handshakes[0]["x-feed-token"] == "feed-1"
    assert far.handshakes[-1]["x-feed-token"] == "feed-2"
    assert len(far.handshakes) == 4


async def test_refused_login_ends_the_tries_with_the_reason(far: FeedPeer, make: Make, peer: Peer) -> None:
    peer.on[LOGIN.path] = failure("AB1007", "Invalid user or password")
    far.refusals = [web.Response(status=401) for _ in range(50)]
    socket = make(far.url)
    socket.start()
    await until(lambda: "AB1007" in socket.trouble)
    assert "ANGEL_ONE_PASSWORD" in socket.trouble
    assert len(far.handshakes) == 1


async def test_service_that_is_down_for_a_night_is_found_again(
    far: FeedPeer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_socket, "AGAIN_FIRST_S", 1e-9)
    monkeypatch.setattr(feed_socket, "AGAIN_MOST_S", 1e-8)
    # More tries than a number's exponent has room for.
    far.refusals = [web.Response(status=503) for _ in range(1100)]
    socket = make(far.url)
    socket.start()
    async with asyncio.timeout(20):
        await socket.wait_open()
    assert len(far.handshakes) == 1101


async def test_tries_are_apart_and_drawn(far: FeedPeer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_socket, "AGAIN_FIRST_S", 0.002)
    monkeypatch.setattr(feed_socket, "AGAIN_MOST_S", 0.02)
    far.refusals = [web.Response(status=503) for _ in range(40)]
    began = SystemClock().boot_s()
    await opened(make(far.url))
    # 39 pauses between 2 ms and 20 ms: shorter ones would be a storm.
    assert SystemClock().boot_s() - began > 39 * 0.004


async def test_redirect_is_not_followed(far: FeedPeer, make: Make) -> None:
    async with FeedPeer() as other:
        location = other.url.replace("ws:", "http:")
        far.refusals = [web.Response(status=302, headers={"Location": location}) for _ in range(3)]
        await opened(make(far.url))
        assert (len(far.handshakes), other.handshakes) == (4, [])


@pytest.mark.parametrize(
    "url", ["ws://example.com/x", "http://127.0.0.1/x", "", "ws://127.0.0.2/x", "ws://127.0.0.1@example.com/"]
)
async def test_address_in_the_clear_off_this_machine_is_refused(url: str, make: Make) -> None:
    with pytest.raises(ConfigurationError, match="wss://"):
        make(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.3"])
async def test_certificate_that_nobody_vouches_for_is_refused(
    host: str, make: Make, ear: Ear, self_signed: tuple[Path, ssl.SSLContext]
) -> None:
    async with FeedPeer(host=host, tls=self_signed[1]) as far:
        socket = make(far.url)
        socket.start()
        await until(lambda: "ertificate" in socket.trouble)
        assert (far.handshakes, socket.connected, ear.opens) == ([], False, 0)


async def test_trusted_feed_is_opened_from_the_given_address(make: Make, trusted: ssl.SSLContext) -> None:
    async with FeedPeer(host="127.0.0.3", tls=trusted) as far:
        await opened(make(far.url, Egress(source_address="127.0.0.2")))
        assert far.senders == ["127.0.0.2"]


async def test_name_with_addresses_of_both_kinds_is_reached_by_the_old_kind(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    families: list[int] = []

    def both(host: str, port: int, family: int = 0, *_: int) -> list[object]:
        families.append(family)
        return [(system_socket.AF_INET, system_socket.SOCK_STREAM, 6, "", ("127.0.0.3", port))]

    async with Peer(host="127.0.0.3", reset_on_accept=True) as there:
        trying = make(f"wss://feed.example:{there.port}/smart-stream")
        monkeypatch.setattr(system_socket, "getaddrinfo", both)
        trying.start()
        await until(lambda: there.connections >= 1)
        await trying.close()
    assert set(families) == {system_socket.AF_INET}


async def test_proxy_is_never_asked_for_this_machine(far: FeedPeer, make: Make) -> None:
    await opened(make(far.url, Egress(proxy="http://127.0.0.1:9")))
    assert len(far.handshakes) == 1


async def test_defect_that_ends_the_feed_is_said(far: FeedPeer, make: Make, ear: Ear) -> None:
    def broken(data: bytes | str) -> None:
        raise KeyError("canary")

    ear.heard = broken  # type: ignore[method-assign]
    socket = make(far.url)
    await opened(socket)
    with capture_logs() as logged:
        await far.say("x")
        await until(lambda: "KeyError in broken" in socket.trouble)
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == [
        "a feed has ended for good"
    ]
    assert "canary" not in str(logged)
    assert not socket.connected


async def test_close_ends_connection_and_tries(far: FeedPeer, make: Make) -> None:
    socket = make(far.url)
    await opened(socket)
    await socket.close()
    await until(lambda: far.open == [])
    assert not socket.connected
    before = len(far.handshakes)
    for _ in range(20):
        await asyncio.sleep(0.002)
    assert len(far.handshakes) == before
