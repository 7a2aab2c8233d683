"""A WebSocket that stays: opened, watched for silence, opened again with jitter, for as long as wanted."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import traceback
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
import structlog

from broker.account import Egress
from broker.angel_one.session import Session
from broker.angel_one.transport import LOOPBACK, Loopback, why
from shared.clock import Clock
from shared.errors import ConfigurationError, LoginRefused, VenueUnavailable

CONNECT_TIMEOUT_S = 5.0
PING_EVERY_S = 10.0
PONG_WITHIN_S = 25.0
"""Not even a pong for so long: the connection is dead, whatever TCP says."""

GOODBYE_S = 1.0
AGAIN_FIRST_S, AGAIN_MOST_S = 0.2, 8.0
MOST_BYTES = 1_000_000

_DATA = (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT)

log = structlog.get_logger(__name__)


class Reader(Protocol):
    """What is done with a connection."""

    async def opened(self, send: Callable[[str], Awaitable[None]]) -> None:
        """The connection is there: subscribe."""
        ...

    def heard(self, data: bytes | str) -> None:
        """A message came; must not wait."""
        ...

    def too_silent(self, silent_s: float) -> bool:
        """Whether *silent_s* without data (pongs apart) is no life."""
        ...


def is_local(name: str, url: str) -> bool:
    """Tell whether the feed *name* at *url* is on this machine.

    Raises:
        ConfigurationError: It is no such address, or plain ws to another machine.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    local = parts.hostname in LOOPBACK
    if parts.scheme not in ("ws", "wss") or (parts.scheme == "ws" and not local):
        raise ConfigurationError(f"The {name} needs wss://; plain ws:// is for loopback only.")
    return local


class Socket:
    """One connection that is kept open.

    Args:
        name: For the log.
        url: wss://…; ws:// on loopback only.
        session: Gives the handshake its headers, and a new login where they are refused.
        egress: Where traffic leaves.
        reader: What is done with messages.
        clock: Boot time.

    Raises:
        ConfigurationError: Plain ws to another machine.
    """

    def __init__(
        self, name: str, url: str, session: Session, egress: Egress, reader: Reader, clock: Clock
    ) -> None:
        self._local = is_local(name, url)
        self.name = name
        self.reconnects = -1
        self.connected = False
        self.trouble = ""
        self._url = url
        self._session = session
        self._egress = egress
        self._reader = reader
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._heard_s = self._data_s = clock.boot_s()
        self._up = asyncio.Event()
        self._draw = random.Random()

    @property
    def silent_s(self) -> float:
        """Seconds since the last data."""
        return self._clock.boot_s() - self._data_s

    def start(self) -> None:
        """Begin to connect, or again after a refused login; harmless when repeated."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._stay(), name=self.name)
            self._task.add_done_callback(self._ended)

    async def wait_open(self) -> None:
        """Return once the connection is open."""
        await self._up.wait()

    async def send(self, text: str) -> None:
        """Send a text where the connection is open; else it is for `Reader.opened` to say again."""
        if self._socket is not None and not self._socket.closed:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.send_str(text)

    async def close(self) -> None:
        """Close for good; harmless when repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- inside ----------------------------------------------------------------------------------

    async def _stay(self) -> None:
        failures = 0
        source = (self._egress.source_address, 0) if self._egress.source_address else None
        connector = aiohttp.TCPConnector(
            family=socket.AF_INET,
            local_addr=None if self._local else source,
            resolver=Loopback() if self._local else None,
        )
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_no_redirect)
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[trace]
        ) as http:
            while True:
                try:
                    lived = await self._live(http)
                    failures = 0 if lived else failures + 1
                except LoginRefused as error:
                    self._say(f"{error.what} {error.remedy}")
                    return
                except VenueUnavailable as error:
                    failures += 1
                    self._say(error.what)
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    failures += 1
                    self._say(why(error))
                finally:
                    self.connected = False
                    self._up.clear()
                # The first try comes at once; later ones apart, and never two clients in step.
                if failures > 1:
                    # The exponent is bound, too: after a night of failures it would be no number any more.
                    most = min(AGAIN_FIRST_S * 2 ** min(failures, 10), AGAIN_MOST_S)
                    await asyncio.sleep(self._draw.uniform(AGAIN_FIRST_S, most))

    async def _live(self, http: aiohttp.ClientSession) -> bool:
        """Go through one connection's life; return whether it heard anything."""
        tokens = await self._session.tokens()
        proxy = None if self._local else self._egress.proxy or None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                opened = await http.ws_connect(
                    self._url,
                    headers=self._session.feed_headers(),
                    autoping=True,
                    max_msg_size=MOST_BYTES,
                    proxy=proxy,
                    compress=0,
                )
        except aiohttp.WSServerHandshakeError as error:
            told = error.headers.get("x-error-message", "") if error.headers else ""
            self._say(f"HTTP {error.status} {self._session.masked(told)[:100]}".strip())
            if error.status in (401, 403):
                await self._session.renew(tokens)
            return False
        self._socket = opened
        self.reconnects += 1
        started_s = self._heard_s = self._data_s = self._clock.boot_s()
        watcher = asyncio.create_task(self._watch(opened), name=f"{self.name} watch")
        try:
            await self._reader.opened(opened.send_str)
            self.connected = True
            if self.trouble:
                log.info("connected again", feed=self.name)
                self.trouble = ""
            self._up.set()
            async for message in opened:
                self._heard_s = self._clock.boot_s()
                if message.type in _DATA and message.data != "pong":
                    self._data_s = self._heard_s
                    self._reader.heard(message.data)
        finally:
            self._socket = None
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            # Where nobody is there to say goodbye, waiting for it would cost ten seconds more.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await opened.close()
        if not self.trouble:
            self._say(f"closed by the other side (code {opened.close_code})")
        return self._data_s > started_s

    async def _watch(self, opened: aiohttp.ClientWebSocketResponse) -> None:
        """Ping, and end a connection that is silent."""
        while True:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await opened.send_str("ping")
            for _ in range(10):
                await asyncio.sleep(PING_EVERY_S / 10)
                now = self._clock.boot_s()
                if now - self._heard_s > PONG_WITHIN_S or self._reader.too_silent(now - self._data_s):
                    self._say(f"silent for {now - self._data_s:.0f} s")
                    await opened.close()
                    return

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Say what nobody waits for: a defect of ours has ended the feed."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        # Where it was and no more: what it was about may hold a token.
        last = traceback.extract_tb(error.__traceback__)[-1]
        self.trouble = f"ended by a defect: {type(error).__name__} in {last.name}, line {last.lineno}"
        log.error("a feed has ended for good", feed=self.name, why=self.trouble)

    def _say(self, trouble: str) -> None:
        if self._task is None:
            return
        if trouble != self.trouble:
            log.warning("feed trouble", feed=self.name, why=trouble)
        self.trouble = trouble


async def _no_redirect(_http: aiohttp.ClientSession, _context: object, _about: object) -> None:
    """Stop where the other side sends us elsewhere: the handshake's headers are for it alone.

    Raises:
        aiohttp.ClientError: Always.
    """
    raise aiohttp.ClientError("sent elsewhere, which is not followed")
