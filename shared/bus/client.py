"""The connection to Redis or Valkey: the given one, or the embedded one; never one in place of the other."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from shared.bus.embedded import EmbeddedServer
from shared.errors import BusUnavailable, ConfigurationError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection

CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 2.0
LISTEN_S = 1.0
MAX_BLOCK_MS = 1000
"""Longest wait inside the server; well below the time-out for its answer."""

_USER_INFO = re.compile(r"(?<=://)([^/@]*)@")
_PARAMETER = re.compile(r"(?<=password=)[^&\s]*")


class Bus:
    """A connection pool and, where it is ours, the server behind it.

    Attributes:
        redis: The client; wrap calls in `with bus.speaking():`.
        url: Where it is connected to, password masked.
    """

    def __init__(self, redis: Redis, url: str, server: EmbeddedServer | None) -> None:
        self.redis = redis
        self.url = url
        self._server = server
        self._lines: list[Line] = []

    def line(self) -> Line:
        """Return a connection of its own, made on first use, closed with the bus."""
        pool: Any = self.redis.connection_pool  # untyped in the library
        line = Line(pool.make_connection())
        self._lines.append(line)
        return line

    @classmethod
    async def open(cls, home: Path, redis_url: str | None = None) -> Bus:
        """Connect to *redis_url*, or to the embedded server of the state folder *home* without one.

        Raises:
            BusUnavailable: Nobody answers there.
            ConfigurationError: *redis_url* is not an address of a Redis.
        """
        if redis_url is None:
            server = await EmbeddedServer.start(home)
            bus = cls(_client(server.url), server.url, server)
        else:
            try:
                bus = cls(_client(redis_url), masked(redis_url), None)
            except ValueError as error:
                raise ConfigurationError(
                    f"REDIS_URL {masked(redis_url)!r} is not an address of a Redis or Valkey server.",
                    remedy="Use redis://host:6379/0, unix:///path, or leave it out for the embedded server.",
                ) from error
        try:
            await bus.ping()
        except BaseException:
            await bus.close()
            raise
        return bus

    async def ping(self) -> None:
        """Return when the server answers.

        Raises:
            BusUnavailable: It does not, or it refuses us.
        """
        with self.speaking():
            await self.redis.ping()

    @contextlib.contextmanager
    def speaking(self) -> Iterator[None]:
        """Turn every way in which a Redis cannot be spoken to into `BusUnavailable`."""
        from redis.exceptions import RedisError

        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        try:
            yield
            _pass_on_cancel(task, cancels)
        except (RedisError, OSError, TimeoutError) as error:
            _pass_on_cancel(task, cancels)
            remedy = (
                "It is restarted by itself; see valkey.log in the state folder."
                if self._server
                else "Start that server, mend REDIS_URL, or leave it out for the embedded server."
            )
            what = str(error).rstrip(".") or type(error).__name__
            raise BusUnavailable(
                f"Redis at {self.url} cannot be used: {masked(what)}.", remedy=remedy
            ) from error

    async def listen(
        self, channel: str, take: Callable[[bytes], None], *, subscribed: Callable[[], None] = lambda: None
    ) -> NoReturn:
        """Hand each message published on *channel* to *take*, until cancelled or disconnected.

        Args:
            subscribed: Called when listening has begun; what was published before is not heard.

        Raises:
            BusUnavailable: The connection is lost; call it again.
        """
        with self.speaking():
            async with self.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                with self.speaking():
                    await pubsub.subscribe(channel)
                subscribed()
                while True:
                    with self.speaking():
                        message = await pubsub.get_message(timeout=LISTEN_S)
                    if message:
                        take(message["data"])

    async def revive(self) -> None:
        """See to it that the embedded server runs; nothing to do for a given one.

        Raises:
            BusUnavailable: It does not come up.
        """
        if self._server is not None:
            await self._server.ensure()

    async def close(self) -> None:
        """Close the connections and give up the share in the embedded server."""
        try:
            for line in self._lines:
                await line.close()
            await self.redis.aclose()
        finally:
            if self._server is not None:
                self._server.close()


class Line:
    """One connection for one caller that asks again and again: each signal's way goes over two of them.

    The pool's checks and the client's wrappers cost a third of a paced round trip (0.55 against
    0.35 ms). Wrap calls in `with bus.speaking():`; after an error the next call connects anew.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    async def ask(self, *words: str | bytes | int) -> Any:
        """Send one command and return the reply as the protocol has it (RESP3)."""
        from redis.exceptions import ResponseError

        try:
            await self._connection.send_command(*words, check_health=False)
            return await self._connection.read_response()
        except ResponseError:
            raise  # an answer like any other: the connection is in step
        except BaseException:
            # An answer may still be on its way; it must never be taken for the next one's.
            await self._connection.disconnect(nowait=True)
            raise

    async def run_script(
        self, script: str, digest: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]
    ) -> Any:
        """Run a script by its SHA-1 *digest*; a server that does not know it is given its text."""
        from redis.exceptions import NoScriptError

        try:
            return await self.ask("EVALSHA", digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self.ask("EVAL", script, len(keys), *keys, *arguments)

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.disconnect(nowait=True)


def _pass_on_cancel(task: asyncio.Task[Any] | None, cancels: int) -> None:
    # A cancel in the middle of a reply can come out of the client as an answer or as a lost connection.
    # Whoever loops on `BusUnavailable` would then never end.
    if task is not None and task.cancelling() > cancels:
        raise asyncio.CancelledError


def masked(url: str) -> str:
    """Return *url* with user and password replaced by `***`."""
    return _PARAMETER.sub("***", _USER_INFO.sub("***@", url))


def _client(url: str) -> Redis:
    # Imported here: a command that needs no bus starts 0.15 s earlier.
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # No retries below us: each caller has its own loop, and a time-out must stay a time-out.
    client: Redis = Redis.from_url(
        url,
        protocol=3,
        socket_timeout=ANSWER_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    return client
