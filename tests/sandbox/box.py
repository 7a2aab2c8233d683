"""A whole sandbox on loopback with a clock that moves when told to, and a client of it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec
import pyotp

from sandbox.auth import Credentials
from sandbox.faults import Fault
from sandbox.server import Listening, Options, serve
from sandbox.switches import Switches
from shared.clock import ManualClock

MONDAY_NOON_US = 1_618_209_000_000_000
"""2021-04-12 12:00 IST."""

T = TypeVar("T")
DEADLINE_S = 20.0
AUTH = "/rest/auth/angelbroking/"
SECURE = "/rest/secure/angelbroking/"
LOGIN, TOKENS = f"{AUTH}user/v1/loginByPassword", f"{AUTH}jwt/v1/generateTokens"
PLACE, MODIFY, CANCEL = (f"{SECURE}order/v1/{name}Order" for name in ("place", "modify", "cancel"))
BOOK, TRADES = f"{SECURE}order/v1/getOrderBook", f"{SECURE}order/v1/getTradeBook"
POSITIONS, RMS, QUOTE = f"{SECURE}order/v1/getPosition", f"{SECURE}user/v1/getRMS", f"{SECURE}market/v1/quote"


class Reply(NamedTuple):
    """What came back."""

    status: int
    kind: str
    raw: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return msgspec.json.decode(self.raw)

    @property
    def data(self) -> Any:
        """Return the data of a success."""
        body = self.json
        assert body["status"] is True, body
        return body["data"]

    @property
    def code(self) -> str:
        """Return the error code, in whichever envelope it came."""
        body = self.json
        return str(body.get("errorcode") or body.get("errorCode") or "")


class Box:
    """One sandbox with one client at its keyboard."""

    def __init__(self, listening: Listening, clock: ManualClock, http: aiohttp.ClientSession) -> None:
        self.listening, self.clock, self.http = listening, clock, http
        self.tokens: dict[str, str] = {}
        self.who: Credentials = listening.credentials[0]

    def code(self, steps: int = 0) -> str:
        """Return the one-time code of now, or of so many steps from now."""
        return pyotp.TOTP(self.who.totp_secret).at(self.clock.now_us() // 1_000_000 + steps * 30)

    def headers(self, **more: str) -> dict[str, str]:
        """Return what the broker's SDK sends along."""
        made = {"X-PrivateKey": self.who.api_key, "Content-type": "application/json"}
        if self.tokens:
            made["Authorization"] = f"Bearer {self.tokens['jwtToken']}"
        return made | more

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send one request as it is."""
        data = io.BytesIO(raw) if raw is not None else None if body is None else msgspec.json.encode(body)
        url = self.listening.base_url + path
        async with self.http.request(
            method, url, data=data, headers=self.headers(**(headers or {}))
        ) as reply:
            return Reply(reply.status, reply.content_type, await reply.read())

    async def post(self, path: str, body: object) -> Reply:
        """Post JSON, a second after whatever came before."""
        self.clock.advance(1.01)
        return await self.send("POST", path, body)

    async def get(self, path: str) -> Reply:
        """Get, a second after whatever came before."""
        self.clock.advance(1.01)
        return await self.send("GET", path)

    async def login(self, number: int = 0, **change: str) -> Reply:
        """Log in as client *number* and keep the tokens."""
        self.who, self.tokens = self.listening.credentials[number], {}
        body = {"clientcode": self.who.client_code, "password": self.who.pin, "totp": self.code(), **change}
        reply = await self.post(LOGIN, body)
        if reply.json["status"] is True:
            self.tokens = reply.data
        return reply

    async def last(self) -> float:
        """Return RELIANCE's last price, rupees."""
        reply = await self.post(QUOTE, {"mode": "LTP", "exchangeTokens": {"NSE": ["2885"]}})
        return float(reply.data["fetched"][0]["ltp"])

    async def place(self, **change: object) -> Reply:
        """Place an order for ten RELIANCE far below the market."""
        return await self.post(PLACE, await self.order(**change))

    async def order(self, **change: object) -> dict[str, object]:
        """Return the body of an order five percent below the last price."""
        price = round(await self.last() * 0.95 / 0.05) * 0.05
        return {
            "variety": "NORMAL",
            "tradingsymbol": "RELIANCE-EQ",
            "symboltoken": "2885",
            "transactiontype": "BUY",
            "exchange": "NSE",
            "ordertype": "LIMIT",
            "producttype": "INTRADAY",
            "duration": "DAY",
            "price": f"{price:.2f}",
            "quantity": "10",
            **change,
        }

    async def book(self) -> list[dict[str, Any]]:
        """Return the order book."""
        return (await self.get(BOOK)).data or []

    async def ledger(self, **query: str) -> Any:
        """Return what was accepted."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return (await self.send("GET", f"/sandbox/ledger?{text}")).json

    async def fault(self, kind: str, **more: Any) -> None:
        """Put a fault to work."""
        reply = await self.send("POST", "/sandbox/faults", {"kind": kind, **more})
        assert reply.status == 200, reply

    async def switch(self, **given: object) -> None:
        """Set switches."""
        reply = await self.send("POST", "/sandbox/switches", given)
        assert reply.status == 200, reply

    async def settled(self, orderid: str, *statuses: str) -> dict[str, Any]:
        """Let time pass until the order is in one of *statuses*."""

        async def there() -> dict[str, Any] | None:
            self.clock.advance(0.1)
            rows = [row for row in (await self.ledger())["orders"] if row["orderid"] == orderid]
            return next((row for row in rows if row["status"] in statuses), None)

        return await until(there)

    async def feed(self, **change: str) -> aiohttp.ClientWebSocketResponse:
        """Open the market feed."""
        headers = {
            "Authorization": self.tokens["jwtToken"],
            "x-api-key": self.who.api_key,
            "x-client-code": self.who.client_code,
            "x-feed-token": self.tokens["feedToken"],
            **change,
        }
        headers = {name: value for name, value in headers.items() if value}
        return await self.http.ws_connect(self.listening.feed_url, headers=headers, autoping=False)

    async def order_feed(self, authorization: str | None = None) -> aiohttp.ClientWebSocketResponse:
        """Open the order feed."""
        given = f"Bearer {self.tokens['jwtToken']}" if authorization is None else authorization
        headers = {"Authorization": given}
        return await self.http.ws_connect(self.listening.order_feed_url, headers=headers, autoping=False)


@contextlib.asynccontextmanager
async def box(
    *, clock: ManualClock | None = None, faults: list[Fault] | None = None, login: bool = True, **options: Any
) -> AsyncIterator[Box]:
    """Serve a sandbox; *options* that are switches are set as such."""
    clock = clock or ManualClock(MONDAY_NOON_US)
    switches = Switches()
    switches.change({name: options.pop(name) for name in list(options) if hasattr(switches, name)})
    made = Options(port=0, switches=switches, faults=faults or [], **options)
    timeout = aiohttp.ClientTimeout(DEADLINE_S)
    # A connection for each request, as the broker's SDK does it.
    connector = aiohttp.TCPConnector(force_close=True)
    session = aiohttp.ClientSession(timeout=timeout, connector=connector)
    async with session as http, serve(made, clock) as listening:
        opened = Box(listening, clock, http)
        if login:
            assert (await opened.login()).json["status"] is True
        yield opened


async def until(ready: Callable[[], Awaitable[T | None]]) -> T:
    """Ask until there is an answer."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = await ready()
        if answer:
            return answer
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to pass")
