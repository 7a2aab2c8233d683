from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from broker.base import Accepted, Rejected
from order.breaker import LOST_IN_A_ROW
from order.lanes import Lanes
from shared.clock import DAY_US, IST_OFFSET_US
from shared.errors import ConfigurationError
from shared.models import Quote
from shared.store.thread import OwnedThread
from tests.order.venue import LOST, ScriptedVenue, carry_out, price, send

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


async def test_an_account_that_swallows_orders_takes_no_more_of_them_and_delays_nobody(
    make_room: Callable[..., Room],
) -> None:
    room, thread = make_room(venues={}), OwnedThread("test")
    hole, quick = (ScriptedVenue(*said, now_us=room.clock.now_us) for said in ((LOST,), ()))
    books = await thread.run(room.open)
    lanes = Lanes({"u1": hole, "u2": quick}, thread, books)
    for name in ("u1", "u2"):
        await lanes.connect(await thread.run(lambda name=name: room.user(name, broker="wire")))  # type: ignore[misc]
    assert [state.armed for state in await lanes.arm(())] == [True, True]
    room.board.run = "sandbox-test"

    def taken() -> int:
        return len(hole.posts) + sum(ticket.freed for ticket in hole.tickets)

    for count, symbol in enumerate(("RELIANCE", "INFY", "SBIN", "ITC", "TCS"), start=1):
        room.board.update([Quote(symbol, 250_000, room.at_us, 1000, room.clock.now_us())])
        signal = room.received(room.signal("BUY", symbol, run="sandbox-test"))
        lanes.dispatch(await thread.run(books.take, "default", [signal]))
        async with asyncio.timeout(3):
            while len(quick.posts) < count or taken() < count:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)
    assert len(hole.posts) == LOST_IN_A_ROW
    notes = {state.user_id: state.notes for state in lanes.states()}
    assert any("entries wait" in note for note in notes["u1"])
    assert not any("entries wait" in note for note in notes["u2"])
    hole.broken = quick.broken = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("order.lane.CLOSE_S", 0.1)
        await lanes.close()
    thread.close()


async def test_order_calls_of_an_earlier_process_count_in_the_limits(far: Room) -> None:
    far.clock.advance(-7_200)
    old = send(far)
    far.books.answer(old, Rejected("RMS: margin"))
    far.clock.advance(7_200)
    price(far)
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    far.later(2)
    price(far)
    ((step,), _, _) = far.books.steps(1)
    carry_out(far, step)
    far.later(10)
    venue, thread = ScriptedVenue(now_us=far.clock.now_us), OwnedThread("test")
    books = await thread.run(far.open)
    lanes = Lanes({"u1": venue}, thread, books)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("order.lane.CLOSE_S", 0.1)
        await lanes.connect(books.users["u1"])
        await lanes.close()
    thread.close()
    assert sorted(venue.sends) == [(10.0, False), (12.0, True)]


async def test_more_orders_out_than_claimed_kill_the_house(
    make_room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("order.lanes.WATCH_S", 0.01)
    room, thread = make_room(venues={}), OwnedThread("test")
    venue = ScriptedVenue(now_us=room.clock.now_us)
    books = await thread.run(room.open)
    lanes = Lanes({"u1": venue}, thread, books)
    user = await thread.run(lambda: room.user(broker="wire"))
    await lanes.connect(user)
    await lanes.arm(())
    room.board.run = "sandbox-test"
    room.board.update([Quote("RELIANCE", 250_000, room.at_us, 1000, room.clock.now_us())])
    signal = room.received(room.signal("BUY", run="sandbox-test"))
    lanes.dispatch(await thread.run(books.take, "default", [signal]))
    async with asyncio.timeout(3):
        while not venue.posts:  # noqa: ASYNC110 - the venue knows no event
            await asyncio.sleep(0.01)
        assert (lanes._lanes["u1"].claims, books.desk.views()) == (1, [])
        venue.posts.append(venue.posts[0])
        while not books.desk.views():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    (view,) = books.desk.views()
    assert str(view) == (
        "KILL of the house until resumed: 1 more orders of u1 went out than were claimed"
    )
    assert room.armed[user.user_no] is False
    with monkeypatch.context() as patch:
        patch.setattr("order.lane.CLOSE_S", 0.1)
        await lanes.close()
    thread.close()


async def test_user_who_comes_later_is_dialled_once_and_takes_part(far: Room) -> None:
    dialled: list[str] = []
    late = ScriptedVenue(now_us=far.clock.now_us)
    late.needs_code = True

    async def dial(user_id: str) -> ScriptedVenue | None:
        dialled.append(user_id)
        await asyncio.sleep(0)
        return late if user_id == "u2" else None

    thread = OwnedThread("test")
    books = await thread.run(far.open)
    lanes = Lanes({}, thread, books, dial)
    for name, broker in (("u2", "wire"), ("u3", "wire")):
        await thread.run(lambda name=name, broker=broker: far.user(name, broker=broker))  # type: ignore[misc]
    users = books.users
    assert all(await asyncio.gather(lanes.join(users["u2"]), lanes.join(users["u2"])))
    assert not await lanes.join(users["u3"])
    assert dialled == ["u2", "u3"]
    (state,) = lanes.states()
    assert (state.user_id, state.needs_code) == ("u2", True)
    assert not (await lanes.log_in("u2", "123456")).needs_code
    assert late.codes == ["123456"]
    with pytest.raises(ConfigurationError, match="No account of u3"):
        await lanes.log_in("u3", "123456")
    assert [state.armed for state in await lanes.arm(())] == [True]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("order.lane.CLOSE_S", 0.1)
        await lanes.close()
    thread.close()


async def test_arming_is_for_one_day(make_room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("order.lanes.WATCH_S", 0.01)
    room, thread = make_room(venues={}), OwnedThread("test")
    books = await thread.run(room.open)
    lanes = Lanes({"u1": ScriptedVenue(now_us=room.clock.now_us)}, thread, books)
    user = await thread.run(lambda: room.user(broker="wire"))
    await lanes.connect(user)
    (state,) = await lanes.arm(())
    assert state.armed
    to_midnight_s = DAY_US // 1_000_000 - (room.clock.now_us() + IST_OFFSET_US) % DAY_US // 1_000_000
    room.clock.advance(to_midnight_s - 60)
    lanes._watch_day()
    assert room.armed[user.user_no] is True
    room.clock.advance(120)
    async with asyncio.timeout(3):
        while room.armed[user.user_no]:  # noqa: ASYNC110 - the lanes know no event
            await asyncio.sleep(0.01)
    (state,) = await lanes.arm(())
    lanes._watch_day()
    assert (state.armed, room.armed[user.user_no]) == (True, True)
    with monkeypatch.context() as patch:
        patch.setattr("order.lane.CLOSE_S", 0.1)
        await lanes.close()
    thread.close()
