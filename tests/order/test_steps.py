"""What is done about orders that rest at a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.base import Accepted, VenueState
from shared.models import Quote
from tests.order.venue import RUN, amendments, book, carry_out, price, report, row, send

if TYPE_CHECKING:
    from tests.order.conftest import Room


def test_entry_is_repriced_then_cancelled(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    seen = []
    limit = 250_125
    for _ in range(14):
        far.later(1)
        steps, working, _ = far.books.steps(1)
        assert working == 1
        for step in steps:
            carry_out(far, step)
            seen.append("cancel" if step.cancel else step.terms.price_paise)
            limit = step.terms.price_paise
        report(far, book(far.clock.now_us(), row(order.tag, price=limit)))
    assert seen == [250_375, 250_750, 251_250, "cancel", "cancel"], "a cancel without effect is asked again"
    assert amendments(far) == ["MODIFY DONE"] * 3 + ["CANCEL LAPSED", "CANCEL TAKEN"]


def test_modify_that_the_books_do_not_show_is_asked_for_again(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    far.later(2)
    ((step,), _, _) = far.books.steps(1)
    carry_out(far, step)
    old = row(order.tag, price=250_125)
    report(far, book(far.clock.now_us(), old))
    far.later(1)
    assert far.books.steps(1)[0] == []
    far.later(1)
    report(far, book(far.clock.now_us(), old))
    far.later(1)
    assert far.books.steps(1)[0][0].terms.price_paise >= step.terms.price_paise


def test_exit_signal_cancels_an_entry_at_the_broker_first(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    far.later(1.5)
    far.take(far.received(far.signal("SELL", run=RUN)))
    (step,), _, _ = far.books.steps(1)
    assert step.cancel
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.CANCELLED, filled=4)))
    price(far)
    (leaving,) = far.books.steps(1)[2] or far.books.quotes(
        RUN, [Quote("RELIANCE", 250_000, far.at_us, 1000, far.clock.now_us())]
    )
    assert leaving.quantity == 4


def test_closing_takes_entries_off_and_leaves_exits(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    far.later(1.5)
    (step,), _, _ = far.books.steps(1, closing=True)
    assert step.cancel
