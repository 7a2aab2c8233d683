from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from broker.base import Accepted, NotSent, Rejected, VenuePosition, VenueState
from order.breaker import LOST_IN_A_ROW
from order.lanes import Lanes
from shared.clock import DAY_US, IST_OFFSET_US
from shared.errors import ConfigurationError, LoginRefused
from shared.models import Product, Quote
from shared.store.thread import OwnedThread
from tests.order.switchboard import Switchboard, closed, put, renewable, until
from tests.order.venue import LOST, ScriptedVenue, carry_out, hold, price, row, send

if TYPE_CHECKING:
    from order.orders import Order
    from tests.order.conftest import Room


async def test_a_slow_account_delays_nobody(make_room: Callable[..., Room]) -> None:
    room, thread = make_room(venues={}), OwnedThread("test")
    slow, quick = (ScriptedVenue(now_us=room.clock.now_us) for _ in range(2))
    slow.go.clear()
    books = await thread.run(room.open)
    lanes = Lanes({"u1": slow, "u2": quick}, thread, books)
    for name in ("u1", "u2", "u3"):
        await lanes.connect(await thread.run(lambda name=name: room.user(name, broker="wire")))  # type: ignore[misc]
    assert [(state.user_id, state.armed) for state in await lanes.arm(())] == [
        ("u1", True), ("u2", True), ("u3", False)
    ]  # fmt: skip
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
        await lanes.disarm(["u3"])
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
    late = ScriptedVenue(now_us=far.clock.now_us)
    late.needs_code = True
    switchboard = Switchboard({"u2": late})
    thread = OwnedThread("test")
    books = await thread.run(far.open)
    lanes = Lanes({}, thread, books, switchboard)
    for name, broker in (("u2", "wire"), ("u3", "wire")):
        await thread.run(lambda name=name, broker=broker: far.user(name, broker=broker))  # type: ignore[misc]
    users = books.users
    assert all(await asyncio.gather(lanes.join(users["u2"]), lanes.join(users["u2"])))
    assert not await lanes.join(users["u3"])
    assert switchboard.dialled == ["u2", "u3"]
    states = {state.user_id: state for state in lanes.states()}
    assert {name: state.connected for name, state in states.items()} == {"u1": False, "u2": True, "u3": False}
    assert states["u2"].needs_code
    assert not (await lanes.log_in("u2", "123456")).needs_code
    assert late.codes == ["123456"]
    with pytest.raises(ConfigurationError, match="No account of u3"):
        await lanes.log_in("u3", "123456")
    assert [state.armed for state in await lanes.arm(["u2"])] == [True]
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


async def accepted(far: Room, lanes: Lanes, thread: OwnedThread) -> Order:
    """Return an entry that rests at the venue."""
    entry = await put(far, lanes, thread, "BUY")
    async with asyncio.timeout(3):
        while entry.state != "ACCEPTED":  # noqa: ASYNC110 - an order knows no event
            await asyncio.sleep(0.01)
    return entry


async def test_new_session_takes_over_and_an_answer_under_way_is_booked(
    far: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("order.lanes.WATCH_S", 0.01)
    lanes, switchboard, old, new, thread = await renewable(far)
    user = far.books.users["u1"]
    answered = asyncio.Event()

    async def slowly(*_: object) -> Accepted:
        old.posts.append(("", None))  # type: ignore[arg-type]
        await answered.wait()
        return Accepted("v1")

    monkeypatch.setattr(old, "place", slowly)
    entry = await put(far, lanes, thread, "BUY")
    async with asyncio.timeout(3):
        while not old.posts:  # noqa: ASYNC110 - the venue knows no event
            await asyncio.sleep(0.01)
        renewing = asyncio.create_task(lanes.renew(user))
        while lanes._lanes["u1"].venue is not new:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert switchboard.ended == [], "not while an answer is under way"
        answered.set()
        assert await renewing
        assert (entry.state, switchboard.ended) == ("ACCEPTED", [old])
    assert far.armed[user.user_no] is False, "the account is looked at before it takes entries again"
    new.orders = [row(entry.tag, VenueState.COMPLETE, filled=10)]
    new.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    await lanes.read()
    assert entry.state == "FILLED"
    await put(far, lanes, thread, "SELL")
    async with asyncio.timeout(3):
        while not new.posts:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(old.posts) == 1 and lanes._lanes["u1"].placed == lanes._lanes["u1"].claims == 2
    assert far.books.desk.views() == [], "no order went out that was not claimed"
    await closed(lanes, thread)


async def test_login_that_is_refused_leaves_the_old_session_as_it_is(far: Room) -> None:
    lanes, switchboard, old, _, thread = await renewable(far)
    switchboard.refusal = LoginRefused("no")
    with pytest.raises(LoginRefused):
        await lanes.renew(far.books.users["u1"])
    assert (lanes._lanes["u1"].venue, switchboard.ended, far.armed[1]) == (old, [], True)
    await closed(lanes, thread)


async def test_account_without_credentials_stays_for_exits_and_is_let_go_when_flat(far: Room) -> None:
    lanes, switchboard, old, _, thread = await renewable(far)
    user = far.books.users["u1"]
    entry = await accepted(far, lanes, thread)
    assert not await lanes.leave(user)
    assert (far.armed[1], switchboard.ended, lanes._lanes["u1"].venue) == (False, [], old)
    old.orders = [row(entry.tag, VenueState.CANCELLED)]
    await lanes.read()
    assert await lanes.leave(user)
    assert (switchboard.ended, 1 in far.armed) == ([old], False)
    assert [state.connected for state in lanes.states()] == [False]
    assert await lanes.leave(user), "nothing is left to be let go"
    await closed(lanes, thread)


async def test_account_whose_credentials_are_gone_cannot_be_armed(far: Room) -> None:
    lanes, switchboard, _, new, thread = await renewable(far)
    user = far.books.users["u1"]
    entry = await accepted(far, lanes, thread)
    assert not await lanes.leave(user)
    new.orders = [row(entry.tag)]
    (state,) = await lanes.arm(())
    assert not state.armed
    assert "they are removed: exits only" in [each.said for each in state.checks]
    assert await lanes.renew(user)
    (state,) = await lanes.arm(())
    assert (state.armed, len(switchboard.ended)) == (True, 1)
    await closed(lanes, thread)


async def test_exit_that_waits_for_an_account_goes_as_soon_as_that_is_connected(far: Room) -> None:
    hold(far)
    venue, thread = ScriptedVenue(now_us=far.clock.now_us), OwnedThread("test")
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    await thread.run(far.open)
    lanes = Lanes({}, thread, far.books, Switchboard({"u1": venue}))
    leaving = await put(far, lanes, thread, "SELL")
    (state,) = lanes.states()
    assert not state.connected and "holds RELIANCE 10 and nobody can sell it until then" in state.notes
    assert any(note.startswith("EXIT_WAITS: 10 RELIANCE") for note in state.notes)
    assert await lanes.join(far.books.users["u1"])
    await until(lambda: venue.posts)
    assert [tag for tag, _ in venue.posts] == [leaving.tag]
    await closed(lanes, thread)


async def test_entry_that_waits_for_an_account_does_not_go_before_somebody_arms_it(far: Room) -> None:
    venue, thread = ScriptedVenue(now_us=far.clock.now_us), OwnedThread("test")
    await thread.run(far.open)
    lanes = Lanes({}, thread, far.books, Switchboard({"u1": venue}))
    entry = await put(far, lanes, thread, "BUY")
    assert await lanes.join(far.books.users["u1"])
    await until(lambda: entry.state == "REFUSED")
    assert (entry.rule.split(":")[0], venue.posts) == ("not_armed", [])
    await closed(lanes, thread)


async def test_exit_that_could_not_leave_goes_as_soon_as_the_broker_answers_again(
    far: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("order.lane.READ_S", 0.01)
    monkeypatch.setattr("order.lane.CHASE_S", 0.01)
    hold(far)
    venue, thread = ScriptedVenue(NotSent("no session"), now_us=far.clock.now_us), OwnedThread("test")
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    venue.broken = True
    await thread.run(far.open)
    lanes = Lanes({"u1": venue}, thread, far.books)
    with monkeypatch.context() as patch:
        patch.setattr("order.lane.FIRST_COMPARE_S", 0.01)
        await lanes.connect(far.books.users["u1"])
        leaving = await put(far, lanes, thread, "SELL")
        await until(lambda: venue.posts and leaving.state == "NEW")
    (state,) = lanes.states()
    assert "holds RELIANCE 10 and nobody can sell it until then" in state.notes
    assert f"EXIT_WAITS: 10 RELIANCE, order {leaving.tag}: not sent, no session" in state.notes
    venue.answers, venue.broken = [Accepted("v1")], False
    # The clock stands still: its pause, a second at first, never ends by itself.
    await until(lambda: leaving.state == "ACCEPTED")
    await closed(lanes, thread)


async def test_disarming_is_in_the_journal(far: Room) -> None:
    lanes, _, _, _, thread = await renewable(far)
    assert [state.armed for state in await lanes.disarm(())] == [False]
    assert await thread.run(far.query, "SELECT count(*) FROM journal WHERE kind = 'disarmed'") == [(1,)]
    await closed(lanes, thread)


@pytest.mark.parametrize("when", ["at once", "while it is noted"])
async def test_account_that_is_closed_while_it_is_armed_stays_closed(
    far: Room, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    lanes, _, old, _, thread = await renewable(far)
    await lanes.disarm(())
    monkeypatch.setattr("order.lanes.WATCH_S", 0.01)
    noting, go, note = threading.Event(), threading.Event(), far.books.note_arming

    def noted(*given: Any) -> None:
        noting.set()
        go.wait(5)
        note(*given)

    monkeypatch.setattr(far.books, "note_arming", noted)
    arming = asyncio.ensure_future(lanes.arm(()))
    disarming: asyncio.Future[Any]
    if when == "at once":
        await asyncio.sleep(0)
        disarming = asyncio.ensure_future(lanes.disarm(()))
    else:
        await until(noting.is_set)
        old.needs_code = True  # the session is over
        disarming = asyncio.ensure_future(until(lambda: lanes._locked))
    await asyncio.wait([disarming], timeout=2)
    go.set()
    await asyncio.gather(arming, disarming)
    assert far.armed == {1: False}
    old.needs_code = False
    await closed(lanes, thread)


@pytest.mark.parametrize("part", ["steps", "report", "reconcile"])
async def test_defect_closes_an_account_for_entries_and_its_exits_are_followed_again(
    far: Room, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    for name in ("READ_S", "IDLE_READ_S", "CHASE_S", "COMPARE_S"):
        monkeypatch.setattr(f"order.lane.{name}", 0.02)
    lanes, _, _, _, thread = await renewable(far)
    with monkeypatch.context() as broken:
        broken.setattr(far.books, part, {}.__getitem__)
        await until(lambda: not far.armed[1])
    again, went = asyncio.Event(), getattr(far.books, part)
    loop = asyncio.get_running_loop()

    def noted(*given: Any, **more: Any) -> object:
        loop.call_soon_threadsafe(again.set)
        return went(*given, **more)

    monkeypatch.setattr(far.books, part, noted)
    async with asyncio.timeout(5):
        await again.wait()
    (state,) = await lanes.look(())
    assert any(note.startswith("a defect: ") for note in state.notes)
    assert any("a defect: " in check.said for check in state.checks)
    await closed(lanes, thread)


async def test_exit_whose_turn_ends_in_a_defect_goes_out_all_the_same(
    far: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(far)
    venue, thread = ScriptedVenue(now_us=far.clock.now_us), OwnedThread("test")
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    await thread.run(far.open)
    lanes = Lanes({"u1": venue}, thread, far.books)
    with monkeypatch.context() as broken:
        broken.setattr(venue, "slot", {}.__getitem__)
        await lanes.connect(far.books.users["u1"])
        leaving = await put(far, lanes, thread, "SELL")
        await until(lambda: any("a defect: " in note for note in lanes.states()[0].notes))
    await until(lambda: venue.posts)
    assert [tag for tag, _ in venue.posts] == [leaving.tag]
    await closed(lanes, thread)


async def test_whether_an_account_can_be_let_go_is_asked_where_nothing_changes_meanwhile(
    far: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes, _, _, _, thread = await renewable(far)
    here, asked, engaged = threading.get_ident(), [], far.books.desk.engaged

    def noted(user_no: int) -> bool:
        asked.append(threading.get_ident())
        return engaged(user_no)

    monkeypatch.setattr(far.books.desk, "engaged", noted)
    assert await lanes.leave(far.books.users["u1"])
    assert len(asked) == 1 and here not in asked
    await closed(lanes, thread)


async def test_disabled_user_without_an_account_is_told_while_something_is_held(far: Room) -> None:
    hold(far)
    other = far.user("u2", broker="wire")
    for user in (far.books.users["u1"], other):
        far.books.save_user(msgspec.structs.replace(user, enabled=False))
    lanes = Lanes({}, OwnedThread("test"), far.books, Switchboard({}))
    (state,) = lanes.states()
    assert (state.user_id, state.connected) == ("u1", False)
    assert any("holds RELIANCE 10" in note for note in state.notes)
