from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from order.lanes import Lanes
from shared.errors import ConfigurationError
from shared.models import Quote
from shared.store.thread import OwnedThread
from tests.order.venue import ScriptedVenue

if TYPE_CHECKING:
    from tests.order.conftest import Room


async def test_a_slow_account_delays_nobody(make_room: Callable[..., Room]) -> None:
    room, thread = make_room(venues={}), OwnedThread("test")
    slow, quick = (ScriptedVenue(now_us=room.clock.now_us) for _ in range(2))
    slow.go.clear()
    books = await thread.run(room.open)
    lanes = Lanes({"u1": slow, "u2": quick}, thread, books)
    for name in ("u1", "u2", "u3"):
        await lanes.connect(await thread.run(lambda name=name: room.user(name, broker="wire")))  # type: ignore[misc]
    assert [state.armed for state in await lanes.arm(())] == [True, True]
    room.board.run = "sandbox-test"
    room.board.update([Quote("RELIANCE", 250_000, room.at_us, 1000, room.clock.now_us())])
    signal = room.received(room.signal("BUY", run="sandbox-test"))
    lanes.dispatch(await thread.run(books.take, "default", [signal]))
    async with asyncio.timeout(3):
        while not quick.posts:  # noqa: ASYNC110 - the venue knows no event
            await asyncio.sleep(0.01)
    assert slow.posts == []
    rows = await thread.run(room.rows)
    assert rows[2].rule.startswith("no_account")
    with pytest.raises(ConfigurationError, match="No account of u3"):
        lanes.disarm(["u3"])
    slow.broken = quick.broken = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("order.lane.CLOSE_S", 0.1)
        await lanes.close()
    thread.close()
