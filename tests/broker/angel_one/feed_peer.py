"""The other side of a feed: a WebSocket server that records and says what it is told to."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web


@dataclass
class FeedPeer:
    """A server for as long as `async with` lasts.

    Attributes:
        handshakes: Headers of each connection, names in small letters.
        senders: Where each came from.
        said: Texts of each connection, pings apart.
        pings: How many text pings came.
        refusals: Answers to the next handshakes in place of a connection; a list is used up.
        deaf: Neither reads nor answers, not even a goodbye.
        greeting: Sent on each new connection.
    """

    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    handshakes: list[dict[str, str]] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    said: list[list[str]] = field(default_factory=list)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    refusals: list[web.Response] = field(default_factory=list)
    greeting: bytes | str = b""
    pings: int = 0
    deaf: bool = False
    port: int = 0
    _runner: web.ServerRunner | None = None

    async def __aenter__(self) -> FeedPeer:
        self._runner = web.ServerRunner(web.Server(self._accepted), shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, 0, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://{self.host}:{self.port}/smart-stream"

    @property
    def open(self) -> list[web.WebSocketResponse]:
        return [each for each in self.sockets if not each.closed]

    def asked(self, number: int) -> list[Any]:
        """What was subscribed on one connection."""
        return [json.loads(text) for text in self.said[number]]

    async def say(self, data: bytes | str) -> None:
        """Send to every open connection."""
        for each in self.open:
            await (each.send_bytes(data) if isinstance(data, bytes) else each.send_str(data))

    async def hang_up(self) -> None:
        """End every connection without a word."""
        for each in self.open:
            transport = each._req.transport if each._req is not None else None
            if transport is not None:
                transport.abort()

    async def _accepted(self, request: web.BaseRequest) -> web.StreamResponse:
        self.handshakes.append({name.lower(): value for name, value in request.headers.items()})
        self.senders.append(request.remote or "")
        if self.refusals:
            return self.refusals.pop(0)
        ours = web.WebSocketResponse(autoping=True)
        await ours.prepare(request)
        said: list[str] = []
        self.said.append(said)
        self.sockets.append(ours)
        if self.greeting:
            await (
                ours.send_bytes(self.greeting)
                if isinstance(self.greeting, bytes)
                else ours.send_str(self.greeting)
            )
        if self.deaf:
            await asyncio.Event().wait()
        async for message in ours:
            if message.type is WSMsgType.TEXT and message.data == "ping":
                self.pings += 1
                await ours.send_str("pong")
            elif message.type is WSMsgType.TEXT:
                said.append(message.data)
        return ours
