"""Stops of large positions: several for one book, each below the exchange's freeze quantity."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from broker.base import Accepted, PlaceOutcome, Rejected, VenueOrder, VenueState, VenueTrade
from order.orders import Purpose
from shared.models import OrderType, Quote, Side
from tests.order.venue import RUN, book, carry_out, price, report, row

if TYPE_CHECKING:
    from order.amend import Amendment
    from order.orders import Order
    from tests.order.conftest import Room

STOP: dict[str, Any] = {"stop": Decimal(2490), "target": Decimal(2520)}


def test_stops_of_a_large_position_are_sliced_below_the_freeze_quantity(far: Room) -> None:
    """Each slice is an order of its own, below the limit; an exit turns all of them, and nothing doubles."""
    most = 9
    far.books.desk._most = lambda guard: most  # type: ignore[method-assign]
    (entry,) = far.take(far.received(far.signal("BUY", run=RUN, **STOP)))
    assert far.books.claim(entry)
    far.books.answer(entry, Accepted("v1"))
    shown = {"v1": row(entry.tag, filled=4, price=250_125)}

    def read(**more: VenueOrder) -> list[Order]:
        shown.update(more)
        far.later(0.01)
        price(far)
        return report(far, book(far.clock.now_us(), *shown.values()))

    def resting(stop: Order, order_id: str, quantity: int, **more: Any) -> VenueOrder:
        made = row(stop.tag, side=Side.SELL, order_id=order_id, quantity=quantity, price=247_755, **more)
        return msgspec.structs.replace(made, trigger_paise=249_000)

    def due() -> list[Amendment]:
        far.later(1.5)
        price(far)
        return far.books.steps(1)[0]

    (first,) = read()
    assert far.books.claim(first)
    far.books.answer(first, Accepted("v2"))
    read(v2=resting(first, "v2", 4))
    trades = tuple(VenueTrade(f"v1-{n}", part, 250_125, 0) for n, part in enumerate((4, 6), 1))
    bought = row(entry.tag, VenueState.COMPLETE, filled=10, price=250_125, trades=trades)
    (second,) = read(v1=bought)
    assert (second.purpose, second.quantity, second.tag != first.tag) == (Purpose.STOP, 1, True)
    assert far.books.claim(second)
    far.books.answer(second, Accepted("v3"))
    read(v3=resting(second, "v3", 1))
    (grown,) = due()
    assert (grown.venue_order_id, grown.terms.quantity) == ("v2", 9)
    carry_out(far, grown)
    read(v2=resting(first, "v2", 9))
    assert due() == []
    far.open()
    far.books.desk._most = lambda guard: most  # type: ignore[method-assign]
    read()
    assert due() == [], "a restart knows both"
    at = Quote("RELIANCE", 252_000, far.at_us, 1000, far.clock.now_us())
    far.board.update([at])
    far.books.quotes(RUN, [at])
    leaving = {step.venue_order_id: (step.terms.order_type, step.terms.quantity) for step in due()}
    assert leaving == {"v2": (OrderType.LIMIT, 9), "v3": (OrderType.LIMIT, 1)}
    done = [
        row(
            stop.tag, VenueState.COMPLETE, filled=n, quantity=n, side=Side.SELL, order_id=order_id,
            price=251_900,
        )
        for stop, n, order_id in ((first, 9, "v2"), (second, 1, "v3"))
    ]  # fmt: skip
    assert read(v2=done[0], v3=done[1]) == []
    assert (far.held(run=RUN), due()) == (0, [])
    assert far.audit().clean


def test_slice_that_the_broker_never_takes_leaves_the_position(far: Room) -> None:
    far.books.desk._most = lambda guard: 6  # type: ignore[method-assign]
    (entry,) = far.take(far.received(far.signal("BUY", run=RUN, **STOP)))
    assert far.books.claim(entry)
    far.books.answer(entry, Accepted("v1"))
    bought = row(entry.tag, VenueState.COMPLETE, filled=10, price=250_125)
    stops = report(far, book(far.clock.now_us(), bought))
    assert [stop.quantity for stop in stops] == [6, 4]
    outcomes: tuple[PlaceOutcome, ...] = (Accepted("v2"), Rejected("out of range"))
    for stop, outcome in zip(stops, outcomes, strict=True):
        assert far.books.claim(stop)
        far.books.answer(stop, outcome)
    rests = msgspec.structs.replace(
        row(stops[0].tag, side=Side.SELL, order_id="v2", quantity=6, price=247_755), trigger_paise=249_000
    )
    for _ in range(8):
        far.later(1)
        price(far)
        report(far, book(far.clock.now_us(), bought, rests))
        for order in far.books.steps(1)[2]:
            if order.purpose is Purpose.STOP and far.books.claim(order):
                far.books.answer(order, Rejected("out of range"))
    assert [each.rule for each in far.rows() if each.purpose == "EXIT"] == ["no accepted stop within 5 s"]


def test_position_beyond_the_exchanges_freeze_quantity_has_its_stops_on_paper(room: Room) -> None:
    freeze = room.books._instruments.get("BATAINDIA").freeze_quantity
    assert freeze is not None
    room.user(shares=freeze - 1)
    for add in (False, True):
        room.give("ENTER_LONG", "BATAINDIA", "25", stop=Decimal(24), add=add)
        room.later(60)
    assert room.held("BATAINDIA") == 2 * (freeze - 1)
    found = [(each.state, each.quantity) for each in room.rows() if each.purpose == "STOP"]
    assert found == [("ACCEPTED", freeze - 1)] * 2
    room.quote("23.95", "BATAINDIA")
    assert room.held("BATAINDIA") == 0
    assert room.audit().clean
