"""Where bytes leave: TLS verified, IPv4 only, one request for each call, writes past a gate.

The gate stands here, below everything that could be configured: an order or GTT write to any other host
than this machine is refused before a connection is opened, whatever the settings say. It lets through a
transport that was made for live orders, and that one to the broker's own host alone.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from broker.account import Egress
from broker.angel_one.endpoints import OWN_HOSTS, Endpoint
from shared.errors import ConfigurationError, RefusedBySafety, VenueUnavailable

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 7.0
WRITE_TIMEOUT_S = 5.0
MOST_BYTES = 20_000_000
"""No reply of the service is larger; what is, is not read."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class NeverLeft(Exception):
    """No connection came about, so no byte of the request left us."""


class AnswerLost(Exception):
    """The request may have arrived; its answer did not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    body: bytes


class Loopback(AbstractResolver):
    """Resolves `localhost` by itself: no name service has a say in where an order goes."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return 127.0.0.1 for the names of this machine.

        Raises:
            OSError: *host* is another.
        """
        if host not in LOOPBACK:
            raise OSError(f"{host} is not this machine")
        found = ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
        )
        return [found]

    async def close(self) -> None:
        """Nothing to close."""


class Transport:
    """Sends requests to one root.

    Args:
        root: `scheme://host[:port]`, nothing more.
        egress: Where traffic leaves.
        live_orders: Order and GTT writes may go to the broker's own host; only a live run's accounts ask so.

    Raises:
        ConfigurationError: *root* is no such address, or is plain http on another machine.
    """

    def __init__(self, root: str, egress: Egress, *, live_orders: bool = False) -> None:
        try:
            parts = urlsplit(root)
            host = parts.hostname or ""
            _ = parts.port
        except ValueError:
            raise ConfigurationError(
                f"{_shown(root)} is not the root of a service.", remedy="Write https://host, without a path."
            ) from None
        # What stands before an @ could hide another host or a password: neither belongs here.
        if parts.scheme not in ("http", "https") or not host or "@" in root or parts.path.strip("/"):
            raise ConfigurationError(
                f"{_shown(root)} is not the root of a service.", remedy="Write https://host, without a path."
            )
        self.local = host in LOOPBACK
        self._writes = self.local or (live_orders and host in OWN_HOSTS)
        if parts.scheme == "http" and not self.local:
            raise ConfigurationError(
                f"{_shown(root)} would send credentials in the clear.", remedy="http:// is for loopback only."
            )
        self.root = f"{parts.scheme}://{parts.netloc}"
        self._egress = egress
        self._session: aiohttp.ClientSession | None = None

    async def send(self, endpoint: Endpoint, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Send one request, once, and return its answer.

        Raises:
            RefusedBySafety: A write that the gate does not let through.
            NeverLeft: No connection.
            AnswerLost: Anything later.
        """
        if endpoint.write:
            self._gate()
        session = self._opened()
        timeout = aiohttp.ClientTimeout(
            total=WRITE_TIMEOUT_S if endpoint.write else READ_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S
        )
        proxy = None if self.local else self._egress.proxy or None
        try:
            async with session.request(
                endpoint.method,
                f"{self.root}{path}",
                headers=headers,
                data=body or None,
                timeout=timeout,
                allow_redirects=False,
                proxy=proxy,
            ) as reply:
                return Answer(reply.status, await _whole(reply.content))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            trouble = why(error)
        # Out here, so that what the library says, with addresses and headers in it, is not carried along.
        raise AnswerLost(trouble)

    async def seen_address(self, url: str) -> str:
        """Return the address that *url* sees us come from.

        Raises:
            VenueUnavailable: It does not answer with one.
        """
        timeout = aiohttp.ClientTimeout(total=READ_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        proxy = None if self.local else self._egress.proxy or None
        try:
            async with self._opened().get(url, timeout=timeout, allow_redirects=False, proxy=proxy) as reply:
                text = (await _whole(reply.content)).decode("ascii", "replace").strip()
            ipaddress.IPv4Address(text)
        except (NeverLeft, AnswerLost, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise VenueUnavailable(
                f"{url} does not tell our address ({why(error)}).",
                remedy="Set ADDRESS_CHECK_URL to another.",
            ) from None
        return text

    async def close(self) -> None:
        """Close the connections; harmless when repeated."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _gate(self) -> None:
        if not self._writes:
            raise RefusedBySafety(
                f"An order call to {self.root} is refused: this connection only reads there.",
                remedy="Orders go to a `trading sandbox` on loopback, or to Angel One out of a live "
                "`trading run` (see docs/from-paper-to-live.md).",
            )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            source = (self._egress.source_address, 0) if self._egress.source_address else None
            connector = aiohttp.TCPConnector(
                family=socket.AF_INET,
                local_addr=None if self.local else source,
                resolver=Loopback() if self.local else None,
                limit=0,
                ttl_dns_cache=60,
            )
            # `trust_env` stays off: a proxy of the environment is not this account's egress.
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(_once,),
            )
        return self._session


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request as one: the library would repeat a GET whose connection breaks, uncounted by us.

    Raises:
        NeverLeft, AnswerLost: In place of what the library takes for a reason to send again.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise NeverLeft(why(error)) from None
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise AnswerLost(why(error)) from None


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """Return a body to its end.

    Raises:
        AnswerLost: It is longer than any of the service.
    """
    pieces: list[bytes] = []
    size = 0
    async for piece in content.iter_any():
        size += len(piece)
        if size > MOST_BYTES:
            raise AnswerLost(f"more than {MOST_BYTES:,} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def why(error: BaseException) -> str:
    """Return what happened in words; without addresses, which may hold a proxy's password."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{type(error).__name__}: HTTP {error.status}"
    return f"{type(error).__name__}: {error}".rstrip(": ")[:200]


def _shown(root: str) -> str:
    """Return *root* without what may be a password in it."""
    return root.rpartition("@")[2]
