"""Requests about orders at a broker, in the books and over restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.base import Accepted, NotSent, Rejected, Unknown, VenueState, VenueTrade
from shared.models import Side
from tests.order.venue import RUN, amendments, book, carry_out, claim, hold, price, report, row, send, states

if TYPE_CHECKING:
    from order.amend import Amendment
    from order.orders import Order
    from tests.order.conftest import Room


def asked(room: Room) -> tuple[Order, Amendment]:
    """Bring an order to where its first modify is asked for."""
    order = send(room)
    room.books.answer(order, Accepted("v1"))
    room.later(2)
    price(room)
    ((step,), _, _) = room.books.steps(1)
    return order, step


def due(room: Room, seconds: float = 1) -> list[Amendment]:
    room.later(seconds)
    price(room)
    return room.books.steps(1)[0]


def test_claim_is_stored_before_the_send_and_is_unknown_after_a_kill(far: Room) -> None:
    _, step = asked(far)
    assert amendments(far) == ["MODIFY REQUESTED"]
    assert claim(far, step)
    assert amendments(far) == ["MODIFY SENT"]
    far.open()
    assert amendments(far) == ["MODIFY UNKNOWN"]
    assert due(far, 3) == [], "never sent again before a reading has shown what holds"
    assert far.audit().clean


def test_request_that_was_not_claimed_is_withdrawn_by_a_restart(far: Room) -> None:
    _, step = asked(far)
    far.open()
    assert amendments(far) == ["MODIFY WITHDRAWN"]
    assert not claim(far, step)


def test_unknown_modify_is_settled_by_the_books_after_a_restart(far: Room) -> None:
    order, step = asked(far)
    carry_out(far, step, Unknown("time-out"))
    far.open()
    report(far, book(far.clock.now_us(), row(order.tag, price=step.terms.price_paise)))
    assert amendments(far) == ["MODIFY DONE"]
    assert far.audit().clean


def test_unknown_modify_that_had_no_effect_is_asked_for_again_after_a_late_reading(far: Room) -> None:
    order, step = asked(far)
    carry_out(far, step, Unknown("time-out"))
    old = row(order.tag, price=250_125)
    for _ in range(4):
        assert due(far) == []
        report(far, book(far.clock.now_us(), old))
    far.later(1)
    report(far, book(far.clock.now_us(), old))
    (again,) = due(far)
    assert again.terms.price_paise > step.terms.price_paise
    assert amendments(far) == ["MODIFY LAPSED", "MODIFY REQUESTED"]


def test_refused_request_waits_for_a_reading(far: Room) -> None:
    order, step = asked(far)
    carry_out(far, step, Rejected("price out of range"))
    assert due(far) == []
    report(far, book(far.clock.now_us(), row(order.tag, price=250_125)))
    assert len(due(far)) == 1
    assert amendments(far) == ["MODIFY REFUSED", "MODIFY REQUESTED"]


def test_request_that_did_not_leave_us_is_asked_for_again(far: Room) -> None:
    _, step = asked(far)
    carry_out(far, step, NotSent("no route"))
    assert len(due(far)) == 1


def test_cancel_that_lost_against_the_last_fill_is_refused_and_the_order_filled(far: Room) -> None:
    order, step = asked(far)
    carry_out(far, step)
    report(far, book(far.clock.now_us(), row(order.tag, price=step.terms.price_paise)))
    (cancel,) = due(far, 9)
    assert cancel.cancel
    carry_out(far, cancel, Rejected("order is complete"))
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    assert amendments(far) == ["MODIFY DONE", "CANCEL REFUSED"]
    assert far.rows()[0].state == "FILLED"
    assert due(far, 5) == []


def test_fill_before_its_turn_withdraws_a_request(far: Room) -> None:
    order, step = asked(far)
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    assert amendments(far) == ["MODIFY WITHDRAWN"]
    assert not claim(far, step)


def test_cancel_takes_the_place_of_a_modify_that_waits(far: Room) -> None:
    _, step = asked(far)
    (cancel,) = due(far, 9)
    assert cancel.cancel
    assert amendments(far) == ["MODIFY WITHDRAWN", "CANCEL REQUESTED"]
    assert not claim(far, step)
    carry_out(far, cancel)


def test_price_of_a_modify_that_waited_is_the_one_wanted_when_its_turn_comes(far: Room) -> None:
    _, step = asked(far)
    first = step.terms.price_paise
    assert due(far, 2.1) == []
    carry_out(far, step)
    assert step.terms.price_paise > first


def test_quantity_is_the_broker_books_whatever_was_asked(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    shown = row(order.tag, VenueState.COMPLETE, filled=14, quantity=14)
    report(far, book(far.clock.now_us(), shown))
    assert (far.rows()[0].state, far.rows()[0].quantity, far.rows()[0].filled) == ("FILLED", 14, 14)
    assert far.audit().clean



# -- a quantity that the broker takes for something else -------------------------------------------


def leaving(room: Room) -> tuple[Order, Amendment]:
    """Bring an exit of ten, four of them filled, to where a modify of its price is asked for."""
    hold(room)
    order = send(room, "SELL")
    room.books.answer(order, Accepted("v2"))
    show(room, order, filled=4)
    (step,) = due(room, 2.5)
    assert (step.cancel, step.terms.quantity) == (False, 10)
    return order, step


def show(room: Room, order: Order, state: VenueState = VenueState.WORKING, **more: Any) -> list[Order]:
    entry = next(each for each in room.books.desk.line(1).orders.values() if each.side is Side.BUY)
    shown = row(order.tag, state, **{"side": Side.SELL, "order_id": "v2", "price": order.price_paise, **more})
    bought = row(entry.tag, VenueState.COMPLETE, filled=10)
    return report(room, book(room.clock.now_us(), bought, shown))


def test_modify_that_the_broker_takes_for_the_rest_is_cancelled_at_once_and_never_sells_more(
    far: Room,
) -> None:
    order, step = leaving(far)
    carry_out(far, step)
    show(far, order, filled=4, quantity=14, price=step.terms.price_paise)
    assert [each.exiting for each in far.books.desk.open_books(RUN)] == [10], "what may be sold is reserved"
    (cancel,) = due(far, 1.1)
    assert cancel.cancel
    carry_out(far, cancel)
    show(far, order, VenueState.CANCELLED, filled=5, quantity=14, trades=two_fills(4, 1))
    assert far.held(run=RUN) == 5
    (again,) = due_sends(far)
    assert (again.quantity, again.side) == (5, Side.SELL)
    assert far.audit().clean


def test_broker_that_took_a_quantity_for_the_rest_gets_no_such_modify_that_day(far: Room) -> None:
    order, step = leaving(far)
    carry_out(far, step)
    show(far, order, filled=4, quantity=14, price=step.terms.price_paise)
    show(far, order, VenueState.CANCELLED, filled=4, quantity=14)
    (again,) = due_sends(far)
    far.open()
    again = next(each for each in far.books.desk.line(1).orders.values() if each.key() == again.key())
    far.books.answer(again, Accepted("v3"))
    report(far, book(far.clock.now_us(), row(again.tag, side=Side.SELL, order_id="v3", quantity=6)))
    assert [each.cancel for each in due(far, 2.5)] == [True]


def test_exit_that_the_broker_made_smaller_sells_the_rest_as_well(far: Room) -> None:
    order, step = leaving(far)
    carry_out(far, step)
    show(far, order, VenueState.COMPLETE, filled=6, quantity=6, trades=two_fills(4, 2))
    assert far.held(run=RUN) == 4
    (again,) = due_sends(far)
    assert again.quantity == 4
    assert far.audit().clean


def test_exit_is_cancelled_and_sent_anew_where_a_modify_means_what_remains(far: Room) -> None:
    far.books.desk.modify_is_total = False
    hold(far)
    order = send(far, "SELL")
    far.books.answer(order, Accepted("v2"))
    show(far, order)
    (cancel,) = due(far, 2.5)
    assert cancel.cancel
    carry_out(far, cancel)
    show(far, order, VenueState.CANCELLED, filled=3)
    assert [each.quantity for each in due_sends(far)] == [7]
    assert states(far)[-2:] == ["CANCELLED", "SENDING"]


def two_fills(first: int, second: int) -> tuple[VenueTrade, ...]:
    return tuple(VenueTrade(f"v2-{n}", part, 249_900, 0) for n, part in enumerate((first, second), 1))


def due_sends(room: Room) -> list[Order]:
    """Return what goes out after a while; claimed."""
    room.later(2)
    price(room)
    sends = room.books.steps(1)[2]
    assert all(room.books.claim(order) for order in sends)
    return sends
