"""The order feed: what it says is a hint to read the books, never the truth."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from broker.account import Egress
from broker.angel_one.feed_socket import Socket
from broker.angel_one.session import Session
from shared.clock import Clock

CODES = {
    "AB00": "connected",
    "AB01": "open",
    "AB02": "cancelled",
    "AB03": "rejected",
    "AB04": "modified",
    "AB05": "complete",
    "AB06": "after market order req received",
    "AB07": "cancelled after market order",
    "AB08": "modify after market order req received",
    "AB09": "open pending",
    "AB10": "trigger pending",
    "AB11": "modify pending",
}
SILENCE_S = 35.0
"""The service sends a byte every ten seconds."""


class OrderUpdate(msgspec.Struct, frozen=True, gc=False):
    """One message.

    Attributes:
        code: `AB01` …; `status` is its meaning, or the order's own word where the code is unknown.
    """

    code: str
    status: str
    tag: str
    orderid: str
    filled: int


class OrderFeed:
    """One account's order feed.

    Args:
        url: Where it is.
        session: Signs the handshake.
        egress: Where traffic leaves.
        clock: Boot time.
    """

    def __init__(self, url: str, session: Session, egress: Egress, clock: Clock) -> None:
        self.bad = 0
        self._listeners: list[Callable[[OrderUpdate], None]] = []
        self._socket = Socket("order feed", url, session, egress, self, clock)

    @property
    def connected(self) -> bool:
        """Whether it is open now."""
        return self._socket.connected

    def listen(self, listener: Callable[[OrderUpdate], None]) -> None:
        """Call *listener* with each update of an order."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to connect; harmless when repeated."""
        self._socket.start()

    async def wait_open(self) -> None:
        """Return once it is open."""
        await self._socket.wait_open()

    async def close(self) -> None:
        """Close for good."""
        await self._socket.close()

    async def opened(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Nothing is subscribed on this feed; whoever listens may have missed something."""
        for listener in self._listeners:
            listener(OrderUpdate("AB00", "", "", "", 0))

    def heard(self, data: bytes | str) -> None:
        """Take one message."""
        if isinstance(data, bytes) and not data.strip(b"\0"):
            return  # its heartbeat: a zero, or nothing
        update = parse(data)
        if update is None:
            self.bad += 1
        elif update.code != "AB00":
            for listener in self._listeners:
                listener(update)

    def too_silent(self, silent_s: float) -> bool:
        """Whether even the heartbeat is missing."""
        return silent_s > SILENCE_S


def parse(data: bytes | str) -> OrderUpdate | None:
    """Return the update that a message holds, or None where it holds none."""
    try:
        message: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        order = message.get("orderData") or {}
        code = str(message.get("order-status") or "")
        # The documentation's rejected sample is labelled AB00: an order that is named is no greeting.
        status = str(order.get("status") or CODES.get(code, ""))
        if code == "AB00" and order.get("orderid"):
            code = next((known for known, name in CODES.items() if name == status), "AB01")
        filled = str(order.get("filledshares") or "0")
        return OrderUpdate(
            code,
            CODES.get(code, status),
            str(order.get("ordertag") or ""),
            str(order.get("orderid") or ""),
            int(filled) if filled.isascii() and filled.isdigit() and len(filled) < 16 else 0,
        )
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, RecursionError):
        return None
