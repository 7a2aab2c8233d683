"""The market feed: subscriptions by token and mode, binary frames, text ping and pong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from sandbox.faults import FEED_KINDS, Fault, Kind
from sandbox.frames import DEPTH_20, NSE_CM, PATCH, PATCH_AT, SNAP_QUOTE, Snapshot, encode
from sandbox.hub import Hub
from sandbox.market_clock import Instant
from sandbox.spoil import refuse
from sandbox.tape import STEP_S
from shared.instruments import Instrument

CONNECTIONS = 3
SUBSCRIPTIONS = 1_000
DEPTH_SUBSCRIPTIONS = 50
FASTEST_S = 0.02
SLOWEST_S = 0.25
FLOOD_S = 0.004
ON_UPGRADE = (Kind.DROP_BEFORE_ACCEPT, Kind.RATE_403, Kind.TOO_MANY_429, Kind.HTML)

Key = tuple[int, str]
"""Mode and token."""


@dataclass(eq=False, slots=True)
class Line:
    """One connection."""

    client: str
    socket: web.WebSocketResponse
    wanted: dict[Key, Instrument] = field(default_factory=dict)
    pending: dict[Key, bytes] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    silent_until_s: float = 0.0
    held: dict[Key, bytes] = field(default_factory=dict)
    """Frames that come after the next one of their key."""

    def offer(self, key: Key, frame: bytes) -> None:
        """Put a frame to be sent; of one token and mode the newest stays."""
        self.pending[key] = frame
        self.woken.set()


class MarketFeed:
    """All connections of the market feed.

    Args:
        hub: Prices, sessions, faults.
        flood: Frames per second and connection, instead of the market's own pace; 0: none.
    """

    def __init__(self, hub: Hub, flood: int = 0) -> None:
        self._hub = hub
        self._flood = flood
        self._lines: list[Line] = []
        self._step = -1

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        hub, (client, wrong) = self._hub, self._check(request)
        if wrong:
            return web.Response(status=401, headers={"x-error-message": f"Invalid Header - Invalid {wrong}"})
        fault = hub.faults.strike("smart-stream", client, ON_UPGRADE)
        if fault is not None:
            return refuse(request, fault, client, hub.auth, hub.switches)
        line = Line(client, web.WebSocketResponse(
            autoping=False, compress=False, receive_timeout=hub.switches.feed_silence_s
        ))  # fmt: skip
        if not line.socket.can_prepare(request).ok:
            return web.Response(status=400, text="Not a websocket upgrade")
        mine = [each for each in self._lines if each.client == client]
        full = len(mine) >= CONNECTIONS
        if full and hub.switches.fourth_feed == "refuse":
            return web.Response(status=429, text="Connection limit exceeded")
        if full and hub.switches.fourth_feed == "close_new":
            await line.socket.prepare(request)
            await line.socket.close()
            return line.socket
        # Counted before anything is awaited, or several at once would pass.
        self._lines.append(line)
        try:
            if full:
                await mine[0].socket.close()
            await line.socket.prepare(request)
            await self._talk(line)
        finally:
            self._lines.remove(line)
        return line.socket

    async def _talk(self, line: Line) -> None:
        sender = asyncio.create_task(self._flood_line(line) if self._flood else self._send(line))
        try:
            await self._read(line)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sender

    async def run(self) -> None:
        """Offer frames as the market moves, until cancelled."""
        pause_s = min(max(STEP_S / self._hub.time.speed, FASTEST_S), SLOWEST_S)
        self._step = _step(self._hub.now())
        while True:
            await asyncio.sleep(pause_s)
            now = self._hub.now()
            step = _step(now)
            if step != self._step and now.open and not self._flood:
                self._step = step
                self._offer(now)

    async def close(self) -> None:
        """End all connections."""
        for line in list(self._lines):
            await line.socket.close()

    # -- inside ----------------------------------------------------------------------------------

    def _check(self, request: web.Request) -> tuple[str, str]:
        """Return the client, or what of the handshake is invalid; header or query."""
        head, query, auth = request.headers, request.query, self._hub.auth
        client = head.get("x-client-code") or query.get("clientCode", "")
        token = head.get("x-feed-token") or query.get("feedToken", "")
        key = head.get("x-api-key") or query.get("apiKey", "")
        given = head.get("Authorization", "")
        return client, auth.handshake(client, key, given, token, self._hub.wall_us())

    async def _read(self, line: Line) -> None:
        with contextlib.suppress(TimeoutError):
            async for message in line.socket:
                if message.type is WSMsgType.PING:
                    await line.socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    answer = self._heard(line, message.data)
                    if answer:
                        await line.socket.send_str(answer)

    def _heard(self, line: Line, text: str) -> str:
        """Act on a text message; return what to answer."""
        if text.strip().lower() == "ping":
            return "pong"
        try:
            asked = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return _error("", "E1001", "Invalid Request Payload.")
        name = str(asked.get("correlationID") or "")
        try:
            mode, action = int(asked["params"]["mode"]), int(asked["action"])
            listed = [
                str(token)
                for group in asked["params"]["tokenList"]
                for token in group["tokens"]
                if int(group["exchangeType"]) == NSE_CM
            ]
        except (KeyError, TypeError, ValueError, OverflowError):
            return _error(name, "E1001", "Invalid Request Payload.")
        if mode not in (1, 2, 3, 4) or action not in (0, 1):
            return _error(name, "E1001", "Invalid Request Payload.")
        if action == 0:
            for token in listed:
                line.wanted.pop((mode, token), None)
            return ""
        fresh = {(mode, token) for token in listed} - set(line.wanted)
        deep = sum(key[0] == DEPTH_20 for key in (*line.wanted, *fresh))
        if len(line.wanted) + len(fresh) > SUBSCRIPTIONS or deep > DEPTH_SUBSCRIPTIONS:
            return _error(name, "E1002", "Subscription Limit Exceeded")
        self._subscribe(line, fresh)
        return ""

    def _subscribe(self, line: Line, fresh: set[Key]) -> None:
        now = self._hub.now()
        for key in sorted(fresh):
            instrument = self._hub.exchange.intake.by_token.get(key[1])
            if instrument is not None and not (key[0] == DEPTH_20 and not instrument.tradable):
                line.wanted[key] = instrument
                if not self._flood:
                    line.offer(key, encode(self._hub.snapshot(instrument, now), key[0]))

    def _offer(self, now: Instant) -> None:
        """Make each frame that somebody wants once, and offer it to all who want it."""
        snapshots: dict[str, Snapshot] = {}
        frames: dict[Key, bytes] = {}
        for line in self._lines:
            for key, instrument in line.wanted.items():
                frame = frames.get(key)
                if frame is None:
                    snapshot = snapshots.get(key[1])
                    if snapshot is None:
                        snapshot = snapshots[key[1]] = self._hub.snapshot(instrument, now)
                    frame = frames[key] = encode(snapshot, key[0])
                line.offer(key, frame)

    async def _send(self, line: Line) -> None:
        while True:
            await line.woken.wait()
            line.woken.clear()
            frames, line.pending = line.pending, {}
            if self._hub.clock.boot_s() < line.silent_until_s:
                continue
            for key, frame in frames.items():
                fault = self._hub.faults.strike("feed", line.client, FEED_KINDS)
                for each in self._spoil(line, fault, key, frame):
                    await line.socket.send_bytes(each)

    def _spoil(self, line: Line, fault: Fault | None, key: Key, frame: bytes) -> Iterator[bytes]:
        kind = None if fault is None else fault.kind
        if fault is not None and kind is Kind.FEED_SILENT:
            line.silent_until_s = self._hub.clock.boot_s() + fault.delay
        elif kind is Kind.FEED_REORDERED and key not in line.held:
            line.held[key] = frame
            return
        elif kind is Kind.FEED_DUPLICATE:
            yield frame
            yield frame
        elif kind is Kind.WRONG_FRAME:
            yield frame[: len(frame) // 2]
        elif kind is not Kind.FEED_GAP:
            yield frame
        held = line.held.pop(key, None)
        if held is not None:
            yield held

    async def _flood_line(self, line: Line) -> None:
        """Send as many frames a second as asked for, cycling over what is subscribed in snap-quote mode."""
        loop = asyncio.get_running_loop()
        sent, since = 0, loop.time()
        buffers: list[bytearray] = []
        prices: list[int] = []
        number = 0
        while True:
            await asyncio.sleep(FLOOD_S)
            if len(buffers) != len(line.wanted):
                now = self._hub.now()
                buffers = [
                    bytearray(encode(self._hub.snapshot(instrument, now), SNAP_QUOTE))
                    for instrument in line.wanted.values()
                ]
                prices = [PATCH.unpack_from(each, PATCH_AT)[2] for each in buffers]
                sent, since = 0, loop.time()
            if not buffers:
                continue
            due = int((loop.time() - since) * self._flood) - sent
            now_ms = self._hub.now().us // 1000
            for _ in range(min(due, self._flood)):
                at = number % len(buffers)
                number += 1
                PATCH.pack_into(buffers[at], PATCH_AT, number, now_ms, prices[at] + number // 7 % 21 * 5)
                await line.socket.send_bytes(bytes(buffers[at]))
            sent += due


def _step(now: Instant) -> int:
    return now.day * 100_000 + now.second // STEP_S


def _error(name: str, code: str, message: str) -> str:
    answer = {"correlationID": name, "errorCode": code, "errorMessage": message}
    return msgspec.json.encode(answer).decode()
