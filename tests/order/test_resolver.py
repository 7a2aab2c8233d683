"""Orders whose fate is not known: what settles them, what does not, and what a human gets to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.base import Accepted, NotSent, Rejected, Unknown, VenueBook, VenueOrder, VenueState, VenueTrade
from order.orders import CORRECTION_LEG, Order
from shared.errors import ConfigurationError, StoreError
from shared.models import OrderState, OrderType, Quote, Side
from tests.order.venue import RUN, book, fills, hold, price, report, row, send, states

if TYPE_CHECKING:
    from tests.order.conftest import Room

LOST = Unknown("time-out")
DAY_S = 86_400.0


def read(room: Room, *orders: VenueOrder, times: int = 1, held: int | None = None) -> None:
    """Take readings a second apart."""
    for _ in range(times):
        report(room, book(room.clock.now_us(), *orders), held)
        room.later(1)


def leave(room: Room) -> Order:
    """Claim an exit of what is held."""
    price(room)
    (order,) = room.take(room.received(room.signal("SELL", run=RUN)))
    assert room.books.claim(order)
    return order


def held(room: Room) -> VenueOrder:
    """Hold ten shares; return the entry as the books show it."""
    hold(room)
    (tag,) = room.books.desk.line(1).orders
    return row(tag, VenueState.COMPLETE, filled=10)


def lost_exit(room: Room) -> tuple[VenueOrder, Order]:
    """Hold ten shares and lose the answer to their exit."""
    known = held(room)
    order = leave(room)
    room.books.answer(order, LOST)
    return known, order


def due(room: Room) -> list[Order]:
    """Return the exits that go out now."""
    price(room)
    return room.books.steps(1)[2]


def sold(
    order: Order, order_id: str, filled: int = 10, state: VenueState = VenueState.COMPLETE
) -> VenueOrder:
    return row(order.tag, state, filled=filled, order_id=order_id, side=Side.SELL)


# -- what a reading is worth ---------------------------------------------------------------------


def test_empty_morning_after_a_restart_is_no_evidence(far: Room) -> None:
    first = send(far)
    far.books.answer(first, Accepted("v1"))
    read(far, row(first.tag, VenueState.COMPLETE, filled=10))
    (second,) = far.take(far.received(far.signal("ENTER_LONG", run=RUN, add=True)))
    price(far)
    assert far.books.claim(second)
    far.books.answer(second, LOST)
    far.open()
    far.later(61)
    read(far, times=10)  # v1 is known from before the restart, and missing
    assert states(far)[-1] == "UNKNOWN"
    read(far, row(first.tag, VenueState.COMPLETE, filled=10), times=3)
    assert states(far)[-1] == "ABSENT"


def test_order_known_by_its_answer_only_must_be_in_a_good_reading(far: Room) -> None:
    first = send(far)
    far.books.answer(first, Accepted("v1"))
    (second,) = far.take(far.received(far.signal("ENTER_LONG", run=RUN, add=True)))
    assert far.books.claim(second)
    far.books.answer(second, LOST)
    far.later(61)
    read(far, times=5)
    assert states(far) == ["ACCEPTED", "UNKNOWN"]


def test_foreign_order_seen_before_a_restart_must_be_in_a_good_reading(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    by_hand = row("", order_id="by-hand")
    read(far, by_hand)
    far.open()
    far.later(61)
    read(far, times=5)
    assert states(far) == ["UNKNOWN"]
    read(far, by_hand, times=3)
    assert states(far) == ["ABSENT"]


def test_order_at_work_whose_day_is_over_goes_to_a_human(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    read(far, row(order.tag, filled=4))
    far.later(DAY_S)
    read(far)
    assert states(far) == ["REVIEW"]
    assert far.held(run=RUN) == 4
    assert far.audit().clean


def test_row_of_another_instrument_under_our_tag_is_nobody_of_ours(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    far.later(61)
    read(far, row(order.tag, VenueState.COMPLETE, filled=10, symbol="TCS"), times=5)
    assert (states(far), far.held(run=RUN), far.books.desk.line(1).foreign) == (["UNKNOWN"], 0, 1)


# -- exits ---------------------------------------------------------------------------------------


def test_absent_exit_goes_out_again_under_a_new_tag_twice_and_then_to_a_human(far: Room) -> None:
    known, order = lost_exit(far)
    tags = [order.tag]
    for _ in range(2):
        far.later(21)
        read(far, known, times=3, held=10)
        far.later(60)
        (order,) = due(far)
        assert far.books.claim(order)
        tags.append(order.tag)
        far.books.answer(order, LOST)
    far.later(21)
    read(far, known, times=3, held=10)
    far.later(60)
    assert due(far) == []
    assert len(set(tags)) == 3
    assert states(far)[1:] == ["ABSENT", "ABSENT", "REVIEW"]
    assert far.audit().clean


def test_number_of_absences_outlasts_a_restart(far: Room) -> None:
    known, _ = lost_exit(far)
    for _ in range(2):
        far.later(21)
        read(far, known, times=3, held=10)
        far.open()
        far.later(60)
        (order,) = due(far)
        assert far.books.claim(order)
        far.books.answer(order, LOST)
    far.later(21)
    read(far, known, times=3, held=10)
    assert states(far)[1:] == ["ABSENT", "ABSENT", "REVIEW"]


@pytest.mark.parametrize(("after_s", "state"), [(19.0, "UNKNOWN"), (20.0, "ABSENT")])
def test_exit_without_a_resting_stop_waits_twenty_seconds(far: Room, after_s: float, state: str) -> None:
    known, _ = lost_exit(far)
    far.later(after_s)
    for _ in range(3):
        report(far, book(far.clock.now_us(), known), 10)
    assert states(far)[1] == state


@pytest.mark.parametrize(("after_s", "state"), [(59.0, "UNKNOWN"), (60.0, "ABSENT")])
def test_exit_with_a_resting_stop_waits_a_minute(far: Room, after_s: float, state: str) -> None:
    known, order = lost_exit(far)
    stop = order.sibling(5, 0, 10)
    stop.order_type, stop.state = OrderType.SL_LIMIT, OrderState.ACCEPTED
    far.books.desk._keep(stop)
    far.later(after_s)
    for _ in range(3):
        report(far, book(far.clock.now_us(), known), 10)
    assert order.state == state


def test_exit_is_not_repeated_on_books_alone(far: Room) -> None:
    known, _ = lost_exit(far)
    far.later(21)
    read(far, known, times=10)
    assert states(far)[1:] == ["UNKNOWN"]
    assert far.books.needs_positions(1)


def test_exit_whose_position_has_moved_goes_to_a_human_and_not_out_again(far: Room) -> None:
    known, _ = lost_exit(far)
    far.later(21)
    read(far, known, times=3, held=0)
    far.later(60)
    assert (states(far)[1:], due(far)) == (["REVIEW"], [])


def test_late_double_of_an_exit_is_corrected_at_once_and_told(far: Room) -> None:
    known, order = lost_exit(far)
    far.later(21)
    read(far, known, times=3, held=10)
    far.later(2)
    (again,) = due(far)
    assert far.books.claim(again)
    far.books.answer(again, Accepted("v2"))
    read(far, known, sold(again, "v2"))
    assert far.held(run=RUN) == 0
    read(far, known, sold(again, "v2"), sold(order, "v3"))
    assert far.held(run=RUN) == -10
    (back,) = due(far)
    assert (back.side, back.quantity, back.leg) == (Side.BUY, 10, CORRECTION_LEG)
    assert far.books.claim(back)
    far.books.answer(back, Accepted("v4"))
    done = row(back.tag, VenueState.COMPLETE, filled=10, order_id="v4")
    read(far, known, sold(again, "v2"), sold(order, "v3"), done)
    assert far.held(run=RUN) == 0
    assert order.rule.startswith("over_exit: 10")
    found = far.audit()
    assert (found.over_exit, found.clean) == (1, True)


def test_late_double_is_known_after_a_restart(far: Room) -> None:
    known, order = lost_exit(far)
    far.later(21)
    read(far, known, times=3, held=10)
    far.later(2)
    (again,) = due(far)
    assert far.books.claim(again)
    far.books.answer(again, Accepted("v2"))
    read(far, known, sold(again, "v2"))
    far.open()
    read(far, known, sold(again, "v2"), sold(order, "v3"))
    assert (far.held(run=RUN), far.books.desk.line(1).foreign) == (-10, 0)
    far.open()  # also between the finding and the correction
    (back,) = due(far)
    assert (back.side, back.quantity) == (Side.BUY, 10)


def test_exit_that_shows_late_takes_the_place_of_one_that_has_not_gone_out(far: Room) -> None:
    known, order = lost_exit(far)
    far.later(21)
    read(far, known, times=3, held=10)
    assert states(far)[1:] == ["ABSENT", "NEW"]
    read(far, known, sold(order, "v3", 0, VenueState.WORKING))
    assert states(far)[1:] == ["ACCEPTED", "CANCELLED"]
    far.later(60)
    assert due(far) == []
    assert [each.exiting for each in far.books.desk._books.values()] == [10]
    read(far, known, sold(order, "v3"))
    assert far.held(run=RUN) == 0
    assert [each.exiting for each in far.books.desk._books.values()] == [0]


def test_exit_that_shows_late_beside_one_that_rests_is_cancelled(far: Room) -> None:
    known, order = lost_exit(far)
    far.later(21)
    read(far, known, times=3, held=10)
    far.later(2)
    (again,) = due(far)
    assert far.books.claim(again)
    far.books.answer(again, Accepted("v2"))
    resting = sold(again, "v2", 0, VenueState.WORKING)
    read(far, known, resting, sold(order, "v3", 0, VenueState.WORKING))
    far.later(2)
    asked = {step.tag for step in far.books.steps(1)[0] if step.cancel}
    assert asked == {order.tag}
    read(far, known, resting, sold(order, "v3", 0, VenueState.CANCELLED))
    assert states(far)[1:] == ["CANCELLED", "ACCEPTED"]
    assert [each.exiting for each in far.books.desk._books.values()] == [10]


def test_refused_exit_that_is_filled_all_the_same_is_booked_once_and_corrected(far: Room) -> None:
    known = held(far)
    order = leave(far)
    far.books.answer(order, Rejected("no"))
    far.later(2)
    (again,) = due(far)
    assert far.books.claim(again)
    far.books.answer(again, Accepted("v2"))
    read(far, known, sold(order, "v3"), sold(again, "v2"))
    assert far.held(run=RUN) == -10
    assert [each.quantity for each in due(far)] == [10]


def test_refusal_that_the_books_note_as_well_stays_one(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Rejected("no"))
    read(far, row(order.tag, VenueState.REJECTED, reason="no"))
    assert (states(far), far.audit().clean) == (["REJECTED"], True)


def test_attempt_takes_no_key_that_is_taken(far: Room) -> None:
    known, order = lost_exit(far)
    far.later(21)
    read(far, known, times=3, held=10)
    far.later(2)
    (again,) = due(far)
    assert far.books.claim(again)
    far.books.answer(again, Rejected("no"))  # a third one waits
    far.open()
    read(far, known, sold(order, "v3", 4, VenueState.CANCELLED))  # the first was there, and is cancelled
    keys = [order.key() for orders in far.books.desk.at_work.values() for order in orders.values()]
    assert sorted(key[4] for key in keys) == [3]
    assert far.audit().clean


def test_exit_that_waits_goes_out_after_a_restart_without_a_price(far: Room) -> None:
    held(far)
    order = leave(far)
    far.books.answer(order, NotSent("no route"))
    far.open()
    far.board.run = RUN
    assert [each.tag for each in far.books.steps(1)[2]] == [order.tag]


# -- what else is frozen, told, kept -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["UNKNOWN", "REVIEW"])
def test_symbol_of_unknown_fate_takes_no_entry_of_any_strategy(far: Room, kind: str) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    if kind == "REVIEW":
        far.later(DAY_S)
        read(far)
    price(far)
    assert states(far) == [kind]
    assert far.direct(quantity=1).rule.startswith(f"frozen: the fate of order {order.tag}")
    far.open()
    assert far.direct(quantity=2).rule.startswith("frozen")
    account = next(iter(far.books.desk._accounts.values()))
    assert sum(each.entering for each in account.open_books.values()) == 10


def test_entry_that_waits_while_its_symbol_freezes_never_goes_out(far: Room) -> None:
    order = send(far)
    (second,) = far.take(far.received(far.signal("ENTER_LONG", run=RUN, add=True)))
    far.books.answer(order, LOST)
    assert not far.books.claim(second)
    assert far.rows()[1].rule.startswith("frozen")


@pytest.mark.parametrize(("after_s", "alarms"), [(4.9, 0), (5.0, 1), (64.0, 1), (65.0, 2)])
def test_unknown_fate_is_alarmed_after_five_seconds_and_each_minute(
    far: Room, capsys: pytest.CaptureFixture[str], after_s: float, alarms: int
) -> None:
    far.books.answer(send(far), LOST)
    for seconds in (after_s,) if after_s < 10 else (5.0, after_s - 5.0):
        far.later(seconds)
        far.books.steps(1)
    assert capsys.readouterr().out.count("its symbol is frozen") == alarms


def test_time_from_send_to_certainty_is_measured_and_kept(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    far.open()
    far.later(7)
    read(far, row(order.tag))
    found = far.audit()
    assert (found.unknown, found.settled, found.certainty_max_s) == (0, 1, 7.0)


def test_two_orders_under_one_tag_are_a_duplicate_after_a_restart_too(far: Room) -> None:
    order = send(far)
    read(far, row(order.tag), row(order.tag, order_id="v2"))
    far.open()
    assert far.books.desk.line(1).doubled == {order.tag}
    assert (far.audit().duplicate, far.audit().clean) == (1, False)


def test_second_order_of_a_tag_in_another_reading_is_found(far: Room) -> None:
    order = send(far)
    read(far, row(order.tag))
    read(far, row(order.tag, order_id="v2", filled=10))
    assert (far.armed[1], far.books.desk.line(1).doubled) == (False, {order.tag})


def test_order_that_is_followed_stays_the_same_when_another_carries_its_tag(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    read(far, row(order.tag, order_id="v2", filled=10), row(order.tag, filled=4))
    assert far.held(run=RUN) == 4


def test_not_sent_entry_past_its_time_expires_at_once(far: Room) -> None:
    order = send(far)
    far.later(61)
    far.books.answer(order, NotSent("its claim was 61 s old"))
    assert states(far) == ["EXPIRED"]
    assert [each.entering for each in far.books.desk._books.values()] == [0]


def test_ids_of_old_orders_stay_when_their_user_goes_to_another_broker(far: Room) -> None:
    order = send(far)
    tag = order.tag
    far.books.answer(order, Rejected("no"))
    far.user(broker="paper")
    assert far.books.users["u1"].tag(order.signal_id) == tag
    far.open()
    assert far.books.users["u1"].tag(order.signal_id) == tag


def test_user_with_an_open_position_stays_with_their_broker(far: Room) -> None:
    held(far)
    with pytest.raises(ConfigurationError, match="open positions"):
        far.user(broker="paper")


def test_fills_at_different_prices_are_booked_once_over_a_restart_in_any_order(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    trades = [VenueTrade(f"f{n}", 2, 250_000 + n, far.at_us) for n in range(5)]
    read(far, row(order.tag, filled=4, trades=(trades[3], trades[1])))
    far.open()
    read(far, row(order.tag, filled=6, trades=(trades[0],)))  # the trade book is cut off
    read(far, row(order.tag, VenueState.COMPLETE, filled=10, trades=tuple(trades)))
    assert sorted(fills(far)) == [(2, 250_000 + n) for n in range(5)]
    assert far.audit().clean


def test_answer_to_an_order_that_has_ended_meanwhile_is_dropped(far: Room) -> None:
    order = send(far)
    read(far, row(order.tag, VenueState.COMPLETE, filled=10))
    far.open()
    assert far.books.answer(order, Accepted("v1")) == []
    order.signal_id = "0" * 32
    with pytest.raises(StoreError, match="not known"):
        far.books.answer(order, Accepted("v1"))


def test_reading_of_another_day_forgets_no_order_that_is_not_done(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    far.later(DAY_S)
    report(far, VenueBook(far.clock.now_us(), ()))
    price(far)
    assert order.tag in far.books.desk.line(1).orders
    quote = Quote("RELIANCE", 250_000, far.at_us, 1000, far.clock.now_us())
    assert far.books.quotes(RUN, [quote]) == []
