"""The other side of the wire: a loopback server that records raw requests and answers as told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from broker.account import BrokerAccount, Egress
from broker.angel_one.endpoints import LOGIN, Bucket, Endpoint
from broker.angel_one.kept_token import KeptTokens
from broker.angel_one.limits import Limiter
from broker.angel_one.rest import Rest
from broker.angel_one.session import Identity, Session
from broker.angel_one.transport import Transport
from shared.clock import Clock, SystemClock
from shared.secret import Secret
from shared.vault import Vault

HARDWARE = "02:00:5e:00:53:01"
SIGNING = "signs the tokens of tests, and nothing else than those"
YEAR_S = 366 * 86_400
WIDE = dict.fromkeys(Bucket, ((0.001, 10000),))
"""Windows that nothing waits for."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came over the wire."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    sender: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def http(status: int = 200, body: bytes | str = b"", *more: str, length: int | None = None) -> bytes:
    """A whole answer as bytes; another *length* than the body's makes it a lie."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", *more]
    lines.append(f"Content-Length: {len(content) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def success(data: object) -> bytes:
    return http(200, json.dumps({"status": True, "message": "SUCCESS", "errorcode": "", "data": data}))


def failure(code: str, message: str = "it is so", *, status: int = 200, gateway: bool = False) -> bytes:
    """A refusal in one of the two envelopes."""
    if gateway:
        told: dict[str, object] = {"success": False, "message": message, "errorCode": code, "data": ""}
    else:
        told = {"status": False, "message": message, "errorcode": code, "data": None}
    return http(status, json.dumps(told))


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash would: no goodbye, what was sent may be lost."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


Act = Callable[[asyncio.StreamWriter], Awaitable[None]]
Answer = bytes | Act
"""Bytes to send, or what to do with the connection instead."""


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def reset_after_read(writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close without a word."""
    writer.close()


def cut(answer: bytes, at: int) -> Act:
    """Send the first bytes of an answer and close."""

    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(answer[:at])
        await writer.drain()
        writer.close()

    return act


def token(expires_s: float, name: str = "A123456") -> str:
    return jwt.encode({"username": name, "exp": int(expires_s)}, SIGNING, algorithm="HS256")


@dataclass
class Peer:
    """A server for as long as `async with` lasts.

    Attributes:
        requests: What arrived, logins too.
        connections: How many were accepted.
        on: Answers by path; a list is used up to its last one.
        hook: Looks at each request first; None leaves it to `on`.
        reset_on_accept: End each connection before a byte of it is read.
    """

    clock: Clock = field(default_factory=SystemClock)
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    on: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    connections: int = 0
    logins: int = 0
    hook: Callable[[Request], Answer | None] = lambda _: None
    reset_on_accept: bool = False
    port: int = 0
    senders: list[str] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Peer:
        self._server = await asyncio.start_server(self._accepted, self.host, 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def root(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def seen(self, endpoint: Endpoint) -> list[Request]:
        return [each for each in self.requests if each.path.startswith(endpoint.path)]

    def login(self) -> bytes:
        """A login's answer with tokens of its own."""
        self.logins += 1
        expires_s = self.clock.now_us() / 1_000_000 + YEAR_S
        return success(
            {
                "jwtToken": token(expires_s, f"user{self.logins}"),
                "refreshToken": f"refresh-{self.logins}",
                "feedToken": f"feed-{self.logins}",
            }
        )

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.senders.append(writer.get_extra_info("peername")[0])
        if self.reset_on_accept:
            reset(writer)
            return
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                while not writer.is_closing():
                    await self._one(reader, writer)
            finally:
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        by_name = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(by_name.get("content-length", 0)))
        path, _, query = target.partition("?")
        request = Request(method, path, query, headers, body, writer.get_extra_info("peername")[0])
        self.requests.append(request)
        answer = self._answer(request)
        if isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()
        else:
            await answer(writer)

    def _answer(self, request: Request) -> Answer:
        hooked = self.hook(request)
        if hooked is not None:
            return hooked
        told = self.on.get(request.path)
        if told is None:
            return self.login() if request.path == LOGIN.path else success(None)
        if isinstance(told, list):
            return told.pop(0) if len(told) > 1 else told[0]
        return told


def account(root: str = "", egress: Egress | None = None, **more: str) -> BrokerAccount:
    """Credentials that are nobody's; the TOTP secret is that of the recorded requests."""
    told = {"api_key": "fakeApiK", "client_code": "A123456", "pin": "1234", "totp": "JBSWY3DPEHPK3PXP" * 2}
    told |= more
    return BrokerAccount(
        "user_001",
        Secret(told["api_key"]),
        Secret(told["client_code"]),
        Secret(told["pin"]),
        Secret(told["totp"]),
        root,
        egress=egress or Egress(),
    )


class Client:
    """Our side, whole, against a peer; use `async with`."""

    def __init__(
        self,
        root: str,
        folder: Path,
        *,
        clock: Clock | None = None,
        who: BrokerAccount | None = None,
        vault: Vault | None = None,
        egress: Egress | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.account = who or account()
        self.transport = Transport(root, egress or Egress())
        # The limiter's time is always the real one: its timers are.
        self.limiter = Limiter(SystemClock(), WIDE)
        kept = KeptTokens(folder, "user_001", vault)
        me = Identity(hardware_address=HARDWARE)
        self.session = Session(self.account, self.transport, self.limiter, self.clock, kept, me)
        self.rest = Rest(self.transport, self.session, self.limiter)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.transport.close()


async def until(ready: Callable[[], bool], within_s: float = 5.0) -> None:
    """Return as soon as *ready*, or fail."""
    async with asyncio.timeout(within_s):
        while not ready():  # noqa: ASYNC110 - what is waited for knows no events
            await asyncio.sleep(0.005)
