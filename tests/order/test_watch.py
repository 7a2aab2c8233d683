"""When silence is silence: by the clock that is given, in the session only, and for a store that is down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from order import watch as module
from order.watch import LIVE, Watch
from shared.calendar import at_ist, day_of
from shared.models import Quote
from shared.store.thread import OwnedThread
from tests.order.conftest import MONDAY_US, Room
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import amendments, price, rest

SILENCE_S = 30.0


class Scene:
    """A room with one user at a broker, its books on their thread, and the watch."""

    def __init__(self, room: Room, thread: OwnedThread) -> None:
        self.room = room
        self.thread = thread
        self.watch = Watch(room.board, thread, room.books, SILENCE_S)

    async def silent(self, later_s: float = 0.0) -> bool:
        """Look after so many seconds; return whether the market counts as silent."""
        self.room.later(later_s)
        await self.watch.look()
        return bool(self.room.books.desk.silent)

    async def rest(self) -> None:
        """Let an entry rest at the broker."""

        await self.thread.run(rest, self.room)

    async def writable(self, yes: bool) -> None:
        def switch() -> None:
            self.room.store.database.connection.execute(f"PRAGMA query_only = {int(not yes)}")

        await self.thread.run(switch)

    async def steps(self) -> list[str]:
        await self.thread.run(self.room.books.steps, 1)
        return await self.thread.run(amendments, self.room)


@pytest.fixture
async def scene(make_room: Callable[..., Room]) -> AsyncIterator[Scene]:
    room, thread = make_room(venues={}), OwnedThread("test")
    await thread.run(room.open)
    user = await thread.run(lambda: room.user(broker="wire"))
    room.armed[user.user_no] = True
    room.board.run = FAR_RUN
    made = Scene(room, thread)
    price(room)
    yield made
    await thread.run(room.close)
    thread.close()


async def test_so_long_without_a_price_and_no_longer(scene: Scene) -> None:
    assert not await scene.silent(SILENCE_S - 0.1)
    assert await scene.silent(0.1)
    assert scene.room.books.desk.silent == {FAR_RUN: MONDAY_US}


async def test_any_price_starts_the_count_anew(scene: Scene) -> None:
    await scene.silent(SILENCE_S - 1)
    scene.room.board.update([Quote("INFY", 150_000, scene.room.at_us)])
    assert not await scene.silent(SILENCE_S - 1)
    assert await scene.silent(1)


async def test_nobody_who_has_ever_spoken_is_missed_as_well(scene: Scene) -> None:
    scene.room.board._latest.clear()
    assert await scene.silent(SILENCE_S)


@pytest.mark.parametrize("run", ["replay-1", "", "manual"])
async def test_market_without_a_present_is_never_silent(scene: Scene, run: str) -> None:
    scene.room.board.run = run
    assert not await scene.silent(3600)


@pytest.mark.parametrize(
    ("clock", "later_s", "silent"),
    [
        ("09:10", 60, False),  # before the open
        ("09:14", 89, False),  # 29 s after it
        ("09:14", 90, True),
        ("12:00", 29, False),
        ("12:00", 30, True),
        ("15:40", 3600, False),
    ],
)
async def test_live_market_is_missed_in_its_session_only(
    scene: Scene, clock: str, later_s: float, silent: bool
) -> None:
    room = scene.room
    room.clock.advance((at_ist(day_of(MONDAY_US), clock) - MONDAY_US) / 1e6 + 86_400)
    room.board.run = LIVE
    price(room)
    assert await scene.silent(later_s) is silent


async def test_dead_man_of_a_store_tells_at_once_and_takes_off_what_nobody_followed(scene: Scene) -> None:
    await scene.rest()
    await scene.writable(False)
    with capture_logs() as logs:
        assert not await scene.silent(1)
        assert not await scene.silent(1)
    assert [each["event"] for each in logs] == ["the books cannot be written: nothing is sent"]
    scene.room.later(SILENCE_S)
    price(scene.room)
    await scene.writable(True)
    with capture_logs() as logs:
        await scene.silent()
    assert [each["event"] for each in logs] == ["the books can be written again"]
    assert scene.room.books.down_us == 0
    price(scene.room)
    assert await scene.steps() == ["CANCEL REQUESTED"]


async def test_short_outage_of_a_store_leaves_entries(scene: Scene) -> None:
    await scene.rest()
    await scene.writable(False)
    await scene.silent(1)
    await scene.writable(True)
    await scene.silent(SILENCE_S - 2)
    price(scene.room)
    assert await scene.steps() == []
    assert await scene.thread.run(lambda: scene.room.query("SELECT count(*) FROM account_marks")) == [(1,)]


async def test_store_is_not_tried_while_nothing_rests_at_a_broker(scene: Scene) -> None:
    await scene.writable(False)
    with capture_logs() as logs:
        await scene.silent(1)
    assert logs == []


async def test_watch_goes_on_while_the_store_is_down(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_S", 0.001)
    await scene.rest()
    await scene.writable(False)
    running = asyncio.create_task(scene.watch.run())
    async with asyncio.timeout(5):
        while not scene.room.books.down_us:  # noqa: ASYNC110 - no event is set
            await asyncio.sleep(0.001)
        await scene.writable(True)
        while scene.room.books.down_us:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait([running])
