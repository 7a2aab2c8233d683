"""The market feed: subscriptions spread over connections, frames to ticks, a buffer that cannot grow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import structlog

from broker.account import Egress
from broker.angel_one.feed_socket import Socket, is_local
from broker.angel_one.frames import SNAP_QUOTE, MalformedFrame, decode_tick, token_key
from broker.angel_one.session import Session
from shared.clock import Clock
from shared.errors import ConfigurationError
from shared.feed import FeedHealth, MarketTick
from shared.instruments import Instrument

NAME = "market feed"
NSE_CM = 1
CONNECTIONS = 3
SUBSCRIPTIONS = 1_000
"""Tokens times modes on one connection; more are answered with an error."""

TOKENS_AT_ONCE = 500
SILENCE_S = 30.0
MOST_WAITING = 50_000
"""Ticks that wait for a slow reader; then only the newest of each instrument stays."""

AHEAD_US = 60_000_000
"""A tick of a live market whose time is so far ahead of ours is no tick."""

log = structlog.get_logger(__name__)


class _Error(msgspec.Struct, rename="camel"):
    error_code: str = ""
    error_message: str = ""


class MarketFeed:
    """One account's market feed.

    Args:
        url: Where it is.
        session: Signs the handshakes.
        egress: Where traffic leaves.
        clock: Wall time of arrival, boot time for silence.
        expected: Whether the market should be talking now: silence then is no life.
        live: Times are the wall's: a tick from the future is malformed.
        mode: Of all subscriptions.

    Raises:
        ConfigurationError: *url* is plain ws to another machine.
    """

    def __init__(
        self,
        url: str,
        session: Session,
        egress: Egress,
        clock: Clock,
        *,
        expected: Callable[[], bool],
        live: bool,
        mode: int = SNAP_QUOTE,
    ) -> None:
        is_local(NAME, url)
        self._url = url
        self._session = session
        self._egress = egress
        self._clock = clock
        self._expected = expected
        self._live = live
        self._mode = mode
        self._lines: list[_Line] = []
        self._symbols: dict[bytes, str] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._quiet_s = clock.boot_s()
        self._waiting: list[MarketTick] = []
        self._woken = asyncio.Event()
        self.frames = self.malformed = self.backward = self.repeated = self.conflated = 0
        self.newest_us = 0

    def subscribe(self, instruments: Iterable[Instrument]) -> None:
        """Begin to listen to *instruments*; they are asked for again after each reconnect.

        Raises:
            ConfigurationError: There are more than the connections can carry, or one has no token.
        """
        wanted = {each.token: each for each in instruments}
        for instrument in wanted.values():
            if not instrument.token:
                raise ConfigurationError(
                    f"{instrument.symbol} has no token of Angel One.",
                    remedy="Run `trading instruments refresh`.",
                )
        fresh = [each for each in wanted.values() if token_key(NSE_CM, each.token) not in self._symbols]
        parts = [fresh[start : start + SUBSCRIPTIONS] for start in range(0, len(fresh), SUBSCRIPTIONS)]
        if len(self._lines) + len(parts) > CONNECTIONS:
            raise ConfigurationError(
                f"{len(self._symbols) + len(fresh)} instruments are more than the "
                f"{CONNECTIONS * SUBSCRIPTIONS:,} that one account's feed carries.",
                remedy="Name fewer symbols in the strategies' configuration.",
            )
        for part in parts:
            for instrument in part:
                self._symbols[token_key(NSE_CM, instrument.token)] = instrument.symbol
            line = _Line(self, [instrument.token for instrument in part])
            line.socket = Socket(NAME, self._url, self._session, self._egress, line, self._clock)
            self._lines.append(line)
            line.socket.start()

    async def wait_open(self) -> None:
        """Return once every connection is open."""
        for line in self._lines:
            await line.socket.wait_open()

    def drain(self) -> list[MarketTick]:
        """Return what has come since the last call."""
        taken, self._waiting = self._waiting, []
        self._woken.clear()
        return taken

    async def wait(self, timeout_s: float) -> bool:
        """Return True as soon as there is something to drain, False after *timeout_s*.

        A refused login has ended the connections for good: they begin anew once there is a session again.
        """
        if self._session.good:
            for line in self._lines:
                line.socket.start()
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    def health(self) -> FeedHealth:
        """Return how the connections do."""
        sockets = [line.socket for line in self._lines]
        return FeedHealth(
            any(socket.connected for socket in sockets),
            min((socket.silent_s for socket in sockets), default=0.0),
            self.frames,
            self.malformed,
            self.backward,
            sum(max(socket.reconnects, 0) for socket in sockets),
            next((socket.trouble for socket in sockets if socket.trouble), ""),
        )

    async def close(self) -> None:
        """Close all connections; harmless when repeated."""
        for line in self._lines:
            await line.socket.close()

    # -- inside ----------------------------------------------------------------------------------

    def _take(self, frame: bytes) -> None:
        self.frames += 1
        now_us = self._clock.now_us()
        try:
            tick = decode_tick(frame, self._symbols, now_us)
        except MalformedFrame as error:
            self._bad(str(error))
            return
        if tick is None:
            return
        symbol, at_us, number = tick.symbol, tick.at_us, tick.sequence
        if tick.price_paise <= 0 or at_us <= 0 or (self._live and at_us > now_us + AHEAD_US):
            self._bad(f"{symbol}: price {tick.price_paise} paise at {at_us} µs")
            return
        seen_us, seen_number = self._seen.get(symbol, (0, 0))
        if at_us < seen_us or (at_us == seen_us and number < seen_number):
            self.backward += 1
            return
        if at_us == seen_us and number and number == seen_number:
            self.repeated += 1
            return
        self._seen[symbol] = (at_us, number)
        if at_us > self.newest_us:
            self.newest_us = at_us
        waiting = self._waiting
        waiting.append(tick)
        if len(waiting) > MOST_WAITING:
            newest = {each.symbol: each for each in waiting}
            self.conflated += len(waiting) - len(newest)
            self._waiting = list(newest.values())
        if len(waiting) == 1:
            self._woken.set()

    def _bad(self, why: str) -> None:
        self.malformed += 1
        if self.malformed == 1:
            log.warning("a frame of the market feed cannot be read; more are only counted", why=why)

    def _told(self, text: str) -> None:
        """Take a text: the service answers wrong subscriptions so, and nothing else."""
        try:
            error = msgspec.json.decode(text, type=_Error)
        except msgspec.DecodeError:
            error = _Error("", text)
        why = self._session.masked(error.error_message)[:200]
        log.error("the market feed refuses a subscription", code=error.error_code, why=why)

    def requests(self, tokens: list[str]) -> list[str]:
        """Return the messages that subscribe *tokens*."""
        made = []
        for start in range(0, len(tokens), TOKENS_AT_ONCE):
            part = tokens[start : start + TOKENS_AT_ONCE]
            asked = {
                "correlationID": f"sub{start:07d}",
                "action": 1,
                "params": {"mode": self._mode, "tokenList": [{"exchangeType": NSE_CM, "tokens": part}]},
            }
            made.append(msgspec.json.encode(asked).decode())
        return made

    def silent(self, silent_s: float) -> bool:
        """Whether so long without data is no life; what was quiet before the market opened is none."""
        now_s = self._clock.boot_s()
        if not self._expected():
            self._quiet_s = now_s
        return min(silent_s, now_s - self._quiet_s) > SILENCE_S


class _Line:
    """One connection and what it carries."""

    socket: Socket

    def __init__(self, feed: MarketFeed, tokens: list[str]) -> None:
        self._feed = feed
        self._tokens = tokens

    async def opened(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Subscribe all, also after a reconnect: the service forgets."""
        for request in self._feed.requests(self._tokens):
            await send(request)

    def heard(self, data: bytes | str) -> None:
        """Take one message."""
        if isinstance(data, bytes):
            self._feed._take(data)
        else:
            self._feed._told(data)

    def too_silent(self, silent_s: float) -> bool:
        """Whether the market should have said something by now."""
        return self._feed.silent(silent_s)
