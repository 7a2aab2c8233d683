from __future__ import annotations

import asyncio
import json
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.fernet import Fernet
from rich.console import Console
from structlog.testing import capture_logs

from broker.account import BrokerAccount, Egress
from broker.angel_one import endpoints as at
from broker.angel_one import feed_socket, session, transport
from broker.angel_one.connection import Connection, make
from broker.base import Accepted, NotSent, Rejected, Unknown
from shared.clock import SystemClock
from shared.errors import ConfigurationError, LoginRefused, RefusedBySafety, TradingError, VenueUnavailable
from shared.instruments import Instrument, Instruments
from shared.secret import Secret
from tests.broker.angel_one.feed_peer import FeedPeer
from tests.broker.angel_one.frame_bytes import ltp
from tests.broker.angel_one.peer import Answer, Peer, Request, cut, failure, hang, http, success, until
from tests.broker.angel_one.test_venue import terms

SBIN = Instrument("SBIN", "SBIN-EQ", "3045", 5, 1, None, "EQ", False, True, True)
PIN, KEY, CODE = "CANARYPIN1", "CANARYKEY2", "CANARYCODE3"
TOTP = "CANARYTOTPSECRETCANARYTOTPSECRET"
FEED, REFRESH = "CANARYFEED4", "CANARYREFRESH5"
CANARIES = (PIN, KEY, CODE, TOTP, FEED, REFRESH)
EXPIRY = 4_000_000_000
JWT = jwt.encode({"exp": EXPIRY}, "k" * 32, algorithm="HS256")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LOGIN_TRIES", 1)
    monkeypatch.setattr(feed_socket, "GOODBYE_S", 0.1)
    monkeypatch.setattr(feed_socket, "AGAIN_MOST_S", 0.21)
    monkeypatch.setattr(transport, "WRITE_TIMEOUT_S", 0.2)


@pytest.fixture
async def far() -> AsyncIterator[FeedPeer]:
    async with FeedPeer() as serving:
        yield serving


Wire = Callable[..., Connection]


@pytest.fixture
async def wire(peer: Peer, far: FeedPeer, tmp_path: Path) -> AsyncIterator[Wire]:
    """Make connections to the peers; they are closed at the end."""
    made: list[Connection] = []
    key = Secret(Fernet.generate_key().decode())
    peer.on[at.LOGIN.path] = success({"jwtToken": JWT, "refreshToken": REFRESH, "feedToken": FEED})

    def new(**changed: Any) -> Connection:
        told: dict[str, Any] = {
            "base_url": peer.root,
            "feed_url": far.url,
            "order_feed_url": far.url,
            **changed,
        }
        told_key = told.pop("key", key)
        secrets = (Secret(KEY), Secret(CODE), Secret(PIN), Secret(TOTP))
        who = BrokerAccount("user_001", *secrets, **told)
        made.append(make(who, tmp_path / "var", SystemClock(), Instruments([SBIN]), told_key))
        return made[-1]

    yield new
    for each in made:
        await each.close()
        await each.close()


async def test_account_trades_and_listens_over_one_session(wire: Wire, peer: Peer, far: FeedPeer) -> None:
    connection = wire()
    await connection.open()
    venue, market = connection.venue(), connection.market("sandbox-1", "sandbox")
    peer.on[at.PLACE.path] = success({"orderid": "7"})
    far.greeting = ltp("3045", 100, 1_795_256_100_000)
    try:
        await market.open(["SBIN"])
        assert await venue.place("tag-1", terms(), await venue.slot(entry=True)) == Accepted("7")
        assert venue.placed == 1
        await until(lambda: len(far.open) == 2)
        assert [tick.symbol for tick in market.drain()] == ["SBIN"]
        assert market.market_now_us() == 1_795_256_100_000_000
        assert (venue.account, market.label) == ("CA*******E3", "sandbox, data account CA*******E3")
    finally:
        await venue.close()
        await market.close()
    assert len(peer.seen(at.LOGIN)) == 1


async def test_restart_goes_on_with_the_days_session(wire: Wire, peer: Peer) -> None:
    for _ in range(2):
        connection = wire()
        await connection.open()
        await connection.close()
    assert len(peer.seen(at.LOGIN)) == 1


async def test_other_credentials_log_in_anew_and_what_was_sent_counts_on(wire: Wire, peer: Peer) -> None:
    del peer.on[at.LOGIN.path]  # each login has tokens of its own
    connection = wire()
    await connection.open()
    old = await connection._session.tokens()
    new = await connection.renewed(replace(connection._account, pin=Secret("another pin")))
    logins = peer.seen(at.LOGIN)
    assert [each.json["password"] for each in logins] == [PIN, "another pin"]
    assert new._limiter is connection._limiter
    assert connection._session.current == old, "the old session is as it was"
    await connection.end()
    (asked,) = peer.seen(at.LOGOUT)
    assert asked.headers["Authorization"] == f"Bearer {old.jwt}"
    restarted = wire()
    await restarted.open()
    assert await restarted._session.tokens() == await new._session.tokens()
    assert len(peer.seen(at.LOGIN)) == 2
    await new.close()


async def test_other_credentials_that_are_refused_change_nothing(wire: Wire, peer: Peer) -> None:
    del peer.on[at.LOGIN.path]
    connection = wire()
    await connection.open()
    old = await connection._session.tokens()
    peer.on[at.LOGIN.path] = failure("AB1007", "Invalid clientcode or password")
    with pytest.raises(LoginRefused):
        await connection.renewed(replace(connection._account, pin=Secret("wrong")))
    assert await connection._session.tokens() == old
    restarted = wire()
    await restarted.open()
    assert await restarted._session.tokens() == old
    assert peer.seen(at.LOGOUT) == []


async def test_rehearsal_without_a_key_leaves_nothing_behind(wire: Wire, peer: Peer, tmp_path: Path) -> None:
    await wire(key=None).open()
    assert not (tmp_path / "var").exists()


async def test_account_of_the_real_service_writes_by_the_venue_alone_that_was_made_for_it(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_names(*_: object, **__: object) -> None:
        raise OSError("no name is known here")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    connection = wire(base_url="", feed_url="", order_feed_url="")
    live = connection.venue(live_orders=True)
    told = await live.place("tag-1", terms())
    assert isinstance(told, NotSent), "past the gate, where no name leads anywhere"
    # The same session, and whatever else is made of it, stays where it only reads.
    with pytest.raises(RefusedBySafety, match=r"apiconnect\.angelone\.in"):
        await connection.venue().place("tag-1", terms())
    with pytest.raises(RefusedBySafety, match=r"apiconnect\.angelone\.in"):
        await connection.rest.gtt_create({})


@pytest.mark.parametrize("name", ["base_url", "feed_url", "order_feed_url"])
async def test_address_in_the_clear_is_refused(name: str, wire: Wire) -> None:
    scheme = "http" if name == "base_url" else "ws"
    with pytest.raises(ConfigurationError):
        connection = wire(**{name: f"{scheme}://example.com"})
        connection.venue()
        connection.market("live", "live")


async def test_market_that_does_not_open_says_why(
    wire: Wire, far: FeedPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.angel_one.market.OPEN_TIMEOUT_S", 0.3)
    far.refusals = [web.Response(status=503, headers={"x-error-message": "maintenance"}) for _ in range(99)]
    connection = wire()
    await connection.open()
    market = connection.market("sandbox-1", "sandbox")
    with pytest.raises(VenueUnavailable, match="HTTP 503 maintenance"):
        await market.open(["SBIN"])
    await market.close()


# -- canaries: what must show nowhere ---------------------------------------------------------------


def heard_again(request: Request) -> str:
    """All that a request holds, as a careless service might say it again."""
    return json.dumps({"headers": request.headers}) + request.body.decode()


ECHOES: dict[str, Callable[[Request], Answer]] = {
    "envelope": lambda request: failure("AB1004", heard_again(request)),
    "listed": lambda request: failure(
        "AB1007" if "login" in request.path else "AB1009", heard_again(request)
    ),
    "gateway": lambda request: failure("AG8001", heard_again(request), gateway=True),
    "code": lambda request: failure(heard_again(request)),
    "garbage": lambda request: http(200, heard_again(request) + "}"),
    "page": lambda request: http(403, f"<html>{heard_again(request)}</html>"),
    "server error": lambda request: http(500, heard_again(request)),
    "body": lambda request: http(200, request.body or b"x"),
    "cut off": lambda request: cut(failure("AB1004", heard_again(request)), 400),
    "hang": lambda request: hang,
    "head": lambda request: f"HTTP/1.1 200 {request.headers}\r\n\r\n".encode(),
}


class Nets:
    """Catches all that could be read by somebody."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caught: list[str] = []
        self._caplog = caplog

    def error(self, error: BaseException) -> None:
        self.caught += traceback.format_exception(error)
        each: BaseException | None = error
        while each is not None:
            self.caught.append(str(each))
            each = each.__cause__ or each.__context__

    def shown(self, *things: object) -> None:
        screen = StringIO()
        Console(file=screen, width=500).print(*things)
        self.caught += [*map(repr, things), *map(str, things), screen.getvalue()]

    def assert_no_canary(self, logged: list[Any], folder: Path, codes: set[str]) -> None:
        told = [*self.caught, self._caplog.text, *map(str, logged)]
        told += [record.getMessage() + str(record.args) for record in self._caplog.records]
        for path in folder.rglob("*"):
            told.append(str(path))
            if path.is_file():
                told.append(path.read_bytes().decode("latin-1"))
        for canary in (*CANARIES, JWT, JWT.split(".")[1], *codes):
            assert [text[:2000] for text in told if canary in text] == [], canary


@pytest.mark.parametrize("echo", ECHOES)
async def test_canaries_of_a_login_show_nowhere(
    echo: str, wire: Wire, peer: Peer, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(transport, "READ_TIMEOUT_S", 0.2)
    caplog.set_level(logging.DEBUG)
    nets = Nets(caplog)
    peer.hook = ECHOES[echo]
    with capture_logs() as logged:
        connection = wire()
        with pytest.raises(TradingError) as caught:
            await connection.open()
        assert isinstance(caught.value, VenueUnavailable | LoginRefused)
        nets.error(caught.value)
        nets.shown(connection, connection._account, connection._session, connection._transport)
        await connection.close()
    codes = {str(each.json["totp"]) for each in peer.seen(at.LOGIN)}
    assert codes
    assert PIN in peer.requests[0].body.decode()
    nets.assert_no_canary(logged, tmp_path, codes)


@pytest.mark.parametrize("echo", ECHOES)
async def test_canaries_of_orders_and_reads_show_nowhere(
    echo: str, wire: Wire, peer: Peer, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(transport, "READ_TIMEOUT_S", 0.2)
    caplog.set_level(logging.DEBUG)
    nets = Nets(caplog)
    with capture_logs() as logged:
        connection = wire()
        await connection.open()
        venue = connection.venue()
        peer.hook = lambda request: None if "login" in request.path else ECHOES[echo](request)
        slot = await venue.slot(entry=True)
        outcomes = [await venue.place("tag-1", terms(), slot), await venue.cancel("7", terms())]
        assert {type(each) for each in outcomes} <= {NotSent, Rejected, Unknown}
        with pytest.raises(TradingError) as caught:
            await venue.book()
        nets.error(caught.value)
        nets.shown(*outcomes, slot, venue, connection.rest, connection._session.current)
        peer.hook = lambda _: None
        peer.on[at.PLACE.path] = success({"orderid": "7"})
        nets.shown(await venue.place("tag-2", terms()))
        await connection._session.logout()
        await venue.close()
        await connection.close()
    assert any(KEY in str(each.headers) for each in peer.seen(at.PLACE))
    nets.assert_no_canary(logged, tmp_path, set())


async def test_canaries_of_the_feeds_show_nowhere(
    wire: Wire, far: FeedPeer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    nets = Nets(caplog)
    everything = " ".join([*CANARIES, JWT])
    told = {"x-error-message": everything}
    far.refusals = [web.Response(status=status, headers=told, reason="no") for status in (500, 429, 403)]
    with capture_logs() as logged:
        connection = wire()
        await connection.open()
        venue, market = connection.venue(), connection.market("sandbox-1", "sandbox")
        venue.on_hint(lambda tag: None)
        opening = asyncio.create_task(market.open(["SBIN"]))
        await until(lambda: len(far.open) == 2)
        error = json.dumps({"errorCode": "E1001", "errorMessage": everything})
        for data in (error, everything, everything.encode(), b"\x03" + everything.encode()):
            await far.say(data)
        await far.say(ltp("3045", 100, 1_795_256_100_000))
        await opening
        nets.shown(venue, market, market.health(), market._feed, market._feed._lines[0].socket)
        await far.hang_up()
        await until(lambda: len(far.handshakes) >= 7)
        nets.shown(market.health())
        await venue.close()
        await market.close()
        await connection.close()
    assert all(headers["x-feed-token"] == FEED for headers in far.handshakes)
    assert any("E1001" in str(entry) for entry in logged)
    nets.assert_no_canary(logged, tmp_path, set())


async def test_password_of_a_proxy_shows_nowhere(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    nets = Nets(caplog)
    async with Peer() as proxy:
        proxy.hook = lambda _: http(407, b"")
        egress = Egress(proxy=f"http://user:{PIN}@127.0.0.1:{proxy.port}")
        sending = transport.Transport("https://broker.example", egress)
        with pytest.raises((transport.AnswerLost, transport.NeverLeft)) as caught:
            await sending.send(at.RMS, at.RMS.path, {}, b"")
        await sending.close()
    nets.error(caught.value)
    nets.assert_no_canary([], tmp_path, set())
