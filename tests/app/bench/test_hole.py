from __future__ import annotations

import asyncio

from app.bench.hole import Hole


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(100):
        writer.write(piece.upper())
    writer.close()


async def test_hole_forwards_until_it_swallows_and_tells_nobody() -> None:
    far = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with Hole(far.sockets[0].getsockname()[1]) as hole:
        reader, writer = await asyncio.open_connection("127.0.0.1", hole.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"ONE"
        hole.swallows = True
        writer.write(b"two")
        answer = asyncio.create_task(reader.read(100))
        # One who comes now is connected, too, and hears nothing either.
        late_reader, late_writer = await asyncio.open_connection("127.0.0.1", hole.port)
        late_writer.write(b"three")
        late = asyncio.create_task(late_reader.read(100))
        done, _ = await asyncio.wait({answer, late}, timeout=0.3)
        assert not done
        answer.cancel()
        late.cancel()
        writer.close()
        late_writer.close()
    far.close()
