"""A TCP proxy between the installation and its sandbox that can misbehave as networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from enum import StrEnum

CHUNK = 65_536
SLOW_S = 0.15
"""What each chunk waits in a slow network, each way."""

_RESET = struct.pack("ii", 1, 0)


class Weather(StrEnum):
    """How the network is.

    FINE passes everything on. In a BLACK_HOLE connections open, and nothing passes either way until it ends.
    HALF_OPEN lets requests through and keeps the answers, for good. RESET cuts all connections, new ones
    too. In a SLOW one each chunk comes late.
    """

    FINE = "fine"
    BLACK_HOLE = "black hole"
    HALF_OPEN = "half-open"
    RESET = "reset"
    SLOW = "slow"


class Proxy:
    """Listens on a free loopback port and passes on to another one; runs in a thread of its own.

    Attributes:
        port: Where it listens.
        target: The port that it passes on to.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.weather = Weather.FINE
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="proxy", daemon=True)
        self._thread.start()
        listening.wait()

    def set(self, weather: Weather) -> None:
        """Change the weather for all connections, open ones too."""
        asyncio.run_coroutine_threadsafe(self._set(weather), self._loop).result()

    def close(self) -> None:
        """Cut everything and stop listening."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # -- inside ----------------------------------------------------------------------------------

    def _run(self, listening: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(server.sockets[0].getsockname()[1])
        listening.set()
        self._loop.run_forever()
        server.close()
        self._reset()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _set(self, weather: Weather) -> None:
        self.weather = weather
        self._changed.set()
        self._changed = asyncio.Event()
        if weather is Weather.RESET:
            self._reset()

    def _reset(self) -> None:
        for writer in self._open:
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            if self.weather is Weather.RESET:
                return
            back, onward = await asyncio.open_connection("127.0.0.1", self.target)
            self._open.add(onward)
            up = asyncio.ensure_future(self._pump(reader, onward, answers=False))
            down = asyncio.ensure_future(self._pump(back, writer, answers=True))
            _, rest = await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        except OSError:
            pass  # nobody listens there now
        finally:
            for each in filter(None, (writer, onward)):
                self._open.discard(each)
                each.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await source.read(CHUNK):
            while self.weather is Weather.BLACK_HOLE:
                await self._changed.wait()
            if self.weather is Weather.HALF_OPEN and answers:
                await self._changed.wait()
                return
            if self.weather is Weather.RESET:
                return
            if self.weather is Weather.SLOW:
                await asyncio.sleep(SLOW_S)
            sink.write(data)
            await sink.drain()
