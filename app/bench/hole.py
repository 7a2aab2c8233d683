"""A wire that can be cut without either end being told: a forwarder that falls silent."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

PIECE = 1 << 16


class Hole:
    """Forwards connections to a port of this machine, until it swallows all that comes.

    Args:
        port: Where to.
    """

    def __init__(self, port: int) -> None:
        self.swallows = False
        self.port = 0
        self._far = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Hole:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task of its own"
        self._open.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far)
            both = {writer, far_writer}
            self._writers |= both
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            self._writers -= both
        finally:
            writer.close()
            self._open.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(PIECE):
                if not self.swallows:
                    sink.write(piece)
                    await sink.drain()
        if not self.swallows:
            sink.close()
