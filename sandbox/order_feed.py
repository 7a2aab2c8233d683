"""The order feed: AB00 at first, then a message for each change of an order, a zero byte now and then."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import msgspec
from aiohttp import WSMsgType, web

from sandbox.auth import EXPIRED_TOKEN, Session
from sandbox.faults import FEED_KINDS, Kind
from sandbox.hub import Hub
from sandbox.market_feed import ON_UPGRADE
from sandbox.orders import Order
from sandbox.spoil import refuse

CONNECTIONS = 3
HEARTBEAT_S = 10.0
MOST_WAITING = 10_000

_EMPTY_TEXT = (
    "variety", "ordertype", "ordertag", "producttype", "disclosedquantity", "duration", "tradingsymbol",
    "transactiontype", "exchange", "symboltoken", "instrumenttype", "optiontype", "expirydate", "lotsize",
    "cancelsize", "filledshares", "unfilledshares", "orderid", "text", "status", "orderstatus", "updatetime",
    "exchtime", "exchorderupdatetime", "fillid", "filltime", "parentorderid",
)  # fmt: skip
_EMPTY_NUMBERS = (
    "price", "triggerprice", "squareoff", "stoploss", "trailingstoploss", "strikeprice", "averageprice",
)  # fmt: skip


@dataclass(eq=False, slots=True)
class Line:
    """One connection."""

    client: str
    socket: web.WebSocketResponse
    waiting: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))


class OrderFeed:
    """All connections of the order feed.

    Args:
        hub: Tells of changes.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lines: list[Line] = []
        hub.listeners.append(self._tell)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        hub = self._hub
        session = hub.auth.check(request.headers.get("Authorization", ""), hub.wall_us())
        if not isinstance(session, Session):
            return web.Response(status=403 if session is EXPIRED_TOKEN else 401, text=session.message)
        fault = hub.faults.strike("smart-order-update", session.client, ON_UPGRADE)
        if fault is not None:
            return refuse(request, fault, session.client, hub.auth, hub.switches)
        line = Line(session.client, web.WebSocketResponse(
            autoping=False, compress=False, receive_timeout=hub.switches.feed_silence_s
        ))  # fmt: skip
        if not line.socket.can_prepare(request).ok:
            return web.Response(status=400, text="Not a websocket upgrade")
        if sum(each.client == session.client for each in self._lines) >= CONNECTIONS:
            return web.Response(status=429, text="Connection limit exceeded")
        line.waiting.put_nowait(msgspec.json.encode(_hello(session.client)))
        # Counted before anything is awaited, or several at once would pass.
        self._lines.append(line)
        try:
            await line.socket.prepare(request)
            await self._talk(line)
        finally:
            self._lines.remove(line)
        return line.socket

    async def _talk(self, line: Line) -> None:
        sender = asyncio.create_task(self._send(line))
        try:
            with contextlib.suppress(TimeoutError):
                async for message in line.socket:
                    if message.type is WSMsgType.PING:
                        await line.socket.pong(message.data)
                    elif message.type is WSMsgType.TEXT and message.data.strip().lower() == "ping":
                        await line.socket.send_str("pong")
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sender

    async def close(self) -> None:
        """End all connections."""
        for line in list(self._lines):
            await line.socket.close()

    def _tell(self, order: Order) -> None:
        mine = [line for line in self._lines if line.client == order.client]
        if not mine:
            return
        message = msgspec.json.encode(order.feed_message(whole=self._hub.switches.order_feed_ids))
        for line in mine:
            fault = self._hub.faults.strike("feed", line.client, FEED_KINDS)
            if fault is not None and fault.kind is not Kind.FEED_DUPLICATE:
                continue  # a gap, whatever its name: this feed is a hint only
            for _ in range(1 if fault is None else 2):
                with contextlib.suppress(asyncio.QueueFull):
                    line.waiting.put_nowait(message)

    async def _send(self, line: Line) -> None:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    message = await line.waiting.get()
            except TimeoutError:
                await line.socket.send_bytes(b"\x00")
            else:
                await line.socket.send_str(message.decode())


def _hello(client: str) -> dict[str, object]:
    data: dict[str, object] = dict.fromkeys(_EMPTY_TEXT, "")
    data |= dict.fromkeys(_EMPTY_NUMBERS, 0)
    data["quantity"] = "0"
    return {
        "user-id": client,
        "status-code": "200",
        "order-status": "AB00",
        "error-message": "",
        "orderData": data,
    }
