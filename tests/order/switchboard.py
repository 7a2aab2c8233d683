"""Accounts that are dialled when a test says so, and lanes to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from broker.base import RemoteVenue
from order.lanes import Lanes
from shared.errors import ConfigurationError, LoginRefused
from shared.store.thread import OwnedThread
from tests.order.venue import ScriptedVenue

if TYPE_CHECKING:
    from order.orders import Order
    from tests.order.conftest import Room


class Switchboard:
    """Hands out accounts, and notes who is dialled and hung up."""

    def __init__(self, venues: dict[str, ScriptedVenue]) -> None:
        self.venues = venues
        self.dialled: list[str] = []
        self.ended: list[RemoteVenue] = []
        self.refusal: LoginRefused | None = None
        self.unreadable = ""

    async def dial(self, user_id: str) -> ScriptedVenue | None:
        self.dialled.append(user_id)
        if user_id == self.unreadable:
            raise ConfigurationError(f"The credentials of {user_id} cannot be read.")
        await asyncio.sleep(0)
        return self.venues.get(user_id)

    def why(self, user_id: str) -> str:
        return f"the credentials of {user_id} cannot be read" if user_id == self.unreadable else ""

    async def redial(self, user_id: str) -> ScriptedVenue | None:
        if self.refusal is not None:
            raise self.refusal
        return await self.dial(user_id)

    async def hang_up(self, venue: RemoteVenue) -> None:
        self.ended.append(venue)


async def renewable(far: Room) -> tuple[Lanes, Switchboard, ScriptedVenue, ScriptedVenue, OwnedThread]:
    """Return lanes with u1 armed at an old session, and a switchboard that has a new one."""
    old, new = (ScriptedVenue(now_us=far.clock.now_us) for _ in range(2))
    switchboard, thread = Switchboard({"u1": new}), OwnedThread("test")
    books = await thread.run(far.open)
    lanes = Lanes({"u1": old}, thread, books, switchboard)
    await lanes.connect(books.users["u1"])
    assert [state.armed for state in await lanes.arm(())] == [True]
    return lanes, switchboard, old, new, thread


async def put(far: Room, lanes: Lanes, thread: OwnedThread, kind: str) -> Order:
    signal = far.received(far.signal(kind, run="sandbox-test"))
    (order,) = await thread.run(far.books.take, "default", [signal])
    lanes.dispatch([order])
    return order


async def closed(lanes: Lanes, thread: OwnedThread) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("order.lane.CLOSE_S", 0.1)
        await lanes.close()
    thread.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.01)
