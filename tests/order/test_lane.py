from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest

from broker.base import Accepted, ChangeOutcome, NotSent, Unknown, VenuePosition, VenueState
from order.clerk import Clerk
from order.lane import Lane
from order.orders import Order
from order.switches import Level, TurnRequest
from shared.errors import RefusedBySafety, StoreError
from shared.models import OrderState, Product, Quote, Side
from shared.store.thread import OwnedThread
from tests.order.venue import ScriptedVenue, row

if TYPE_CHECKING:
    from tests.order.conftest import Room

RUN = "sandbox-test"


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    """A room whose one user trades at a broker, armed, with a fresh price."""
    room = make_room(venues={})
    room.armed[room.user(broker="wire").user_no] = True
    room.board.run = RUN
    room.board.update([Quote("RELIANCE", 250_000, room.at_us, 1000, room.clock.now_us())])
    return room


@pytest.fixture
def venue(room: Room) -> ScriptedVenue:
    return ScriptedVenue(now_us=room.clock.now_us)


@pytest.fixture
async def lane(room: Room, venue: ScriptedVenue, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lane]:
    """A lane at work, a hundred times as fast as in earnest; its store lives on this thread."""
    quick = {"READ_S": 0.02, "IDLE_READ_S": 0.02, "CHASE_S": 0.01, "STORE_PAUSE_S": 0.02, "CLOSE_S": 0.1,
             "COMPARE_S": 0.02, "COMPARE_AGAIN_S": 0.02, "FIRST_COMPARE_S": 0.3}  # fmt: skip
    for name, seconds in quick.items():
        monkeypatch.setattr(f"order.lane.{name}", seconds)

    class Here:
        async def run(self, function: Callable[..., object], *args: object, **more: object) -> object:
            return function(*args, **more)

    def dispatch(sends: list[Order]) -> None:
        for order in sends:
            made.put(order)

    thread: OwnedThread = Here()  # type: ignore[assignment]
    clerk = Clerk(thread, room.books, dispatch)  # type: ignore[arg-type]
    made = Lane("u1", 1, venue, clerk)
    made.start()
    yield made
    await made.close()


def queue(room: Room, lane: Lane, kind: str = "BUY") -> Order:
    (order,) = room.take(room.received(room.signal(kind, run=RUN)))
    lane.put(order)
    return order


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(3):
        while not true():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.005)


async def test_order_is_sent_once_as_a_limit_with_its_tag(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    order = queue(room, lane)
    await until(lambda: order.state is OrderState.ACCEPTED)
    ((tag, terms),) = venue.posts
    assert (tag, terms.order_type, terms.price_paise) == (order.tag, "LIMIT", 250_125)
    venue.orders = [row(tag, VenueState.COMPLETE, filled=10)]
    await until(lambda: order.state is OrderState.FILLED)
    assert room.held(run=RUN) == 10


async def test_place_within_the_limits_comes_before_the_claim(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    venue.go.clear()
    order = queue(room, lane)
    reads = venue.reads
    await until(lambda: venue.reads > reads + 1)
    assert (order.state, venue.posts) == (OrderState.NEW, [])
    venue.go.set()
    await until(lambda: venue.posts)


async def test_place_of_an_order_that_is_not_wanted_any_more_is_given_back(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    venue.go.clear()
    order = queue(room, lane)
    room.armed[1] = False
    venue.go.set()
    await until(lambda: venue.tickets and venue.tickets[0].freed)
    assert (order.state, venue.posts) == (OrderState.REFUSED, [])


async def test_order_that_did_not_leave_us_goes_out_again_with_the_same_tag(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    venue.answers = [NotSent("no route"), Accepted("v1")]
    order = queue(room, lane)
    await until(lambda: venue.posts)
    room.later(1.1)
    quote = Quote("RELIANCE", 250_000, room.at_us, 1000, room.clock.now_us())
    room.board.update([quote])
    for again in room.books.quotes(RUN, [quote]):
        lane.put(again)
    await until(lambda: order.state is OrderState.ACCEPTED)
    assert [tag for tag, _ in venue.posts] == [order.tag, order.tag]


async def test_lost_answer_is_settled_by_the_books(room: Room, lane: Lane, venue: ScriptedVenue) -> None:
    venue.answers = [Unknown("time-out")]
    order = queue(room, lane)
    await until(lambda: order.state is OrderState.UNKNOWN)
    venue.orders = [row(order.tag, VenueState.COMPLETE, filled=10)]
    await until(lambda: order.state is OrderState.FILLED)
    assert len(venue.posts) == 1


async def test_order_that_the_venue_refuses_to_send_did_not_leave_us(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    venue.answers = [RefusedBySafety("this connection only reads there")]
    order = queue(room, lane)
    await until(lambda: venue.posts and order.state is OrderState.NEW)
    assert venue.tickets[0].freed


async def test_send_that_ends_in_an_error_of_ours_is_of_unknown_fate(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    venue.answers = [ZeroDivisionError("a mistake")]
    order = queue(room, lane)
    await until(lambda: order.state is OrderState.UNKNOWN)
    assert "a mistake" in order.rule
    assert lane.state(ready=True).notes == [f"order {order.tag} is UNKNOWN: {order.rule}"]


@pytest.mark.parametrize("late_s", [1.9, 2.1])
async def test_claim_older_than_two_seconds_is_not_sent(
    room: Room, lane: Lane, venue: ScriptedVenue, monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    real = room.books.claim_all

    def claim(orders: list[Order]) -> list[bool]:
        claimed = real(orders)
        room.later(late_s)  # paused between the claim and the send
        return claimed

    monkeypatch.setattr(room.books, "claim_all", claim)
    order = queue(room, lane)
    await until(lambda: order.state is (OrderState.ACCEPTED if late_s < 2 else OrderState.NEW) and order.wire)
    assert len(venue.posts) == (late_s < 2)


async def test_entry_that_wakes_up_after_its_time_expires_unsent(
    room: Room, lane: Lane, venue: ScriptedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = room.books.claim_all

    def claim(orders: list[Order]) -> list[bool]:
        claimed = real(orders)
        room.later(61)
        return claimed

    monkeypatch.setattr(room.books, "claim_all", claim)
    order = queue(room, lane)
    await until(lambda: order.state is OrderState.EXPIRED)
    assert (venue.posts, venue.tickets[0].freed) == ([], True)


async def test_positions_are_read_while_the_fate_of_an_exit_is_open(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    entry = queue(room, lane)
    await until(lambda: entry.state is OrderState.ACCEPTED)
    venue.orders = [row(entry.tag, VenueState.COMPLETE, filled=10)]
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    await until(lambda: room.held(run=RUN) == 10)
    venue.answers = [Unknown("time-out")]
    order = queue(room, lane, "SELL")
    await until(lambda: order.state is OrderState.UNKNOWN)
    room.later(21)
    await until(lambda: order.state is OrderState.ABSENT)


async def test_answer_is_booked_once_the_store_takes_it(
    room: Room, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = room.books.answer_all
    failed: list[object] = []

    def answer(*of: object) -> object:
        if len(failed) < 3:
            failed.append(of)
            raise StoreError("the disk is full")
        return real(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(room.books, "answer_all", answer)
    order = queue(room, lane)
    await until(lambda: order.state is OrderState.ACCEPTED)


async def test_working_entry_is_chased_then_cancelled(room: Room, lane: Lane, venue: ScriptedVenue) -> None:
    order = queue(room, lane)
    await until(lambda: order.state is OrderState.ACCEPTED)
    room.later(2)
    await until(lambda: venue.changes)
    assert venue.changes[0][0] == "modify"
    room.later(9)
    await until(lambda: venue.changes[-1][0] == "cancel")


async def test_request_that_ends_in_a_defect_is_of_unknown_fate(
    room: Room, lane: Lane, venue: ScriptedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = queue(room, lane)
    await until(lambda: order.state is OrderState.ACCEPTED)

    async def broken(*_: object) -> ChangeOutcome:
        raise ValueError("a defect")

    monkeypatch.setattr(venue, "modify", broken)
    room.later(2)
    await until(lambda: room.query("SELECT state FROM amendments") == [("UNKNOWN",)])


async def test_hint_brings_a_reading_at_once(
    lane: Lane, venue: ScriptedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: venue.reads)
    monkeypatch.setattr("order.lane.READ_S", 60.0)
    monkeypatch.setattr("order.lane.IDLE_READ_S", 60.0)
    venue.hint()
    before = venue.reads
    await until(lambda: venue.reads > before)  # whoever read each 20 ms does so no more
    before = venue.reads
    venue.hint()
    await until(lambda: venue.reads > before)


async def test_check_holds_positions_against_ours(room: Room, lane: Lane, venue: ScriptedVenue) -> None:
    assert await lane.check() == (True, [])
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 5)]
    ready, notes = await lane.check()
    assert (ready, notes) == (False, ["RELIANCE INTRADAY: 5 at the broker, 0 here"])


async def test_account_without_anything_open_is_off_until_it_is_armed(room: Room, lane: Lane) -> None:
    room.armed[1] = False
    await until(lambda: lane.state(ready=True).compared_us)
    assert lane.state(ready=True).state == "OFF"
    room.armed[1] = True
    assert lane.state(ready=True).state == "ARMED"


async def test_open_position_that_agrees_is_exit_only_and_one_that_does_not_is_off(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    order = queue(room, lane)
    await until(lambda: order.state is OrderState.ACCEPTED)
    venue.orders = [row(order.tag, VenueState.COMPLETE, filled=10)]
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    room.armed[1] = False
    await until(lambda: lane.state(ready=True).state == "EXIT_ONLY")
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 4)]
    await until(lambda: lane.state(ready=True).state == "OFF")
    assert lane.state(ready=True).notes == ["RELIANCE INTRADAY: 4 at the broker, 10 here"]


async def test_exit_waits_for_the_first_comparison_and_not_for_ever(
    room: Room, lane: Lane, venue: ScriptedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = queue(room, lane)
    await until(lambda: first.state is OrderState.ACCEPTED)
    venue.orders = [row(first.tag, VenueState.COMPLETE, filled=10)]
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    await until(lambda: lane.state(ready=True).state == "ARMED" and lane.state(ready=True).notes == [])
    await until(lambda: room.held(run=RUN) == 10)
    venue.broken = True
    reads = venue.reads
    await until(lambda: venue.reads > reads + 1)  # no comparison is on its way any more
    lane._compared.clear()
    order = queue(room, lane, "SELL")
    reads = venue.reads
    await until(lambda: venue.reads > reads + 3)
    assert (order.state, len(venue.posts)) == (OrderState.NEW, 1)
    await until(lambda: len(venue.posts) == 2)


async def test_others_orders_bring_a_comparison_at_once(
    room: Room, lane: Lane, venue: ScriptedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: lane.state(ready=True).compared_us)
    monkeypatch.setattr("order.lane.COMPARE_S", 60.0)
    for _ in range(2):
        room.later(1)
        venue.hint()
        await until(lambda: lane.state(ready=True).compared_us == room.clock.now_us())
    venue.orders = [row("", VenueState.COMPLETE, filled=5, order_id="x1")]
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 5)]
    venue.hint()
    await until(lambda: lane.state(ready=True).others == ["RELIANCE INTRADAY: +5 by others' orders"])
    assert lane.state(ready=True).notes == []


async def test_trouble_that_comes_while_exits_are_woken_wakes_them_once_more(
    room: Room, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[int] = []

    def wake(user_no: int) -> list[Order]:
        woken.append(user_no)
        if len(woken) == 1:
            lane._say("away")
        return []

    monkeypatch.setattr(room.books, "wake_exits", wake)
    lane._say("away")
    await until(lambda: len(woken) == 2)


async def test_account_whose_cash_cannot_be_read_is_not_at_rest(lane: Lane, venue: ScriptedVenue) -> None:
    for venue.cash, rests in ((100, True), (-1, False)):
        found = await lane.reconcile("minute")
        assert found is not None and (found.at_rest, found.cash_paise) == (rests, 100)


async def test_check_of_a_broker_that_cannot_be_read_says_so(lane: Lane, venue: ScriptedVenue) -> None:
    venue.broken = True
    assert await lane.check() == (False, ["The book is torn."])
    assert lane.state(ready=False).working == 0


async def test_close_cancels_entries_and_reads_what_became_of_them(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    order = queue(room, lane)
    await until(lambda: order.state is OrderState.ACCEPTED)
    room.later(1.5)
    closing = asyncio.create_task(lane.close())
    await until(lambda: venue.changes and venue.changes[-1][0] == "cancel")
    venue.orders = [row(order.tag, VenueState.CANCELLED, filled=4)]
    await closing
    assert (order.state, room.held(run=RUN)) == (OrderState.CANCELLED, 4)


async def test_exit_without_a_fresh_price_asks_its_own_account_now_and_then(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    entry = queue(room, lane)
    await until(lambda: entry.state is OrderState.ACCEPTED)
    bought = row(entry.tag, VenueState.COMPLETE, filled=10)
    venue.orders, venue.held = [bought], [VenuePosition("RELIANCE", Product.INTRADAY, 10, 246_000)]
    await until(lambda: room.held(run=RUN) == 10)
    venue.answers = [Accepted("v2")]
    order = queue(room, lane, "SELL")
    await until(lambda: order.state is OrderState.ACCEPTED)
    assert venue.asked == [], "the feed tells"
    venue.orders = [bought, row(order.tag, side=Side.SELL, order_id="v2", price=249_750)]
    venue.broken_quotes = True
    room.later(8)
    await until(lambda: venue.changes)
    line = room.books.desk.line(1)
    await until(lambda: line.prices["RELIANCE"].price_paise == 246_000)  # the last price of the positions
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    asked = len(venue.asked)
    room.later(5)
    await until(lambda: len(venue.asked) == asked + 1)
    reads = lane.reads
    await until(lambda: lane.reads > reads + 3)
    assert (line.blind, len(venue.asked)) == ({"RELIANCE"}, asked + 1), "once in three seconds"
    venue.broken_quotes = False
    room.later(3)
    venue.quotes = [Quote("RELIANCE", 245_000, room.at_us, 0, room.clock.now_us(), 244_900, 245_100)]
    await until(lambda: line.prices["RELIANCE"].bid_paise == 244_900)
    assert set(map(tuple, venue.asked)) == {("RELIANCE",)}


async def test_entry_whose_switch_is_turned_after_its_claim_does_not_leave(
    room: Room, lane: Lane, venue: ScriptedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = room.books.claim_all

    def claim_then_kill(orders: list[Order]) -> list[bool]:
        claimed = claim(orders)
        room.books.turn(TurnRequest(Level.KILL, why="a test"))
        return claimed

    monkeypatch.setattr(room.books, "claim_all", claim_then_kill)
    order = queue(room, lane)
    await until(lambda: order.wire is not None and order.wire.held)
    assert venue.tickets[0].freed and venue.posts == []
    room.quote("2500", run=RUN)
    assert (order.state, order.rule) == (OrderState.CANCELLED, "taken off by a switch")


async def test_entries_wait_while_sends_have_no_answer_and_exits_are_tried(
    room: Room, lane: Lane, venue: ScriptedVenue
) -> None:
    symbols = ("INFY", "SBIN", "ITC", "TCS", "RELIANCE")
    quotes = [Quote(name, 250_000, room.at_us, 1000, room.clock.now_us()) for name in symbols]
    room.board.update(quotes)

    def entry(symbol: str) -> Order:
        (order,) = room.take(room.received(room.signal("BUY", symbol, run=RUN)))
        lane.put(order)
        return order

    held = queue(room, lane)
    await until(lambda: held.state is OrderState.ACCEPTED)
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    venue.orders = [row(held.tag, VenueState.COMPLETE, filled=10)]
    await until(lambda: held.state is OrderState.FILLED)
    venue.answers = [Unknown("time-out")]
    for count, symbol in enumerate(symbols[:3], start=2):
        entry(symbol)
        await until(lambda count=count: len(venue.posts) == count)  # type: ignore[misc]
    await until(lambda: "3 sends in a row had no answer; entries wait" in lane.state(ready=True).notes)
    freed = len([ticket for ticket in venue.tickets if ticket.freed])
    late = entry("TCS")
    await until(lambda: len([ticket for ticket in venue.tickets if ticket.freed]) > freed)
    assert (len(venue.posts), late.state) == (4, OrderState.NEW)
    venue.answers = [Accepted("v9")]
    (leaving,) = room.take(room.received(room.signal("EXIT_LONG", run=RUN)))
    lane.put(leaving)
    await until(lambda: len(venue.posts) == 5)
    assert venue.posts[-1][0] == leaving.tag
    await until(lambda: "entries wait" not in str(lane.state(ready=True).notes))
    room.later(2)
    room.board.update([Quote("TCS", 250_000, room.at_us, 1000, room.clock.now_us())])
    for order in room.books.quotes(RUN, [Quote("TCS", 250_000, room.at_us, 1000, room.clock.now_us())]):
        lane.put(order)
    await until(lambda: late.state is OrderState.ACCEPTED)
