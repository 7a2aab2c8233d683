"""Orders at a broker against readings of its books that lie, lag and lack."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.base import Accepted, NotSent, Rejected, Unknown, VenueBook, VenueState, VenueTrade
from order.switches import Level, TurnRequest
from shared.errors import StoreError
from shared.models import Quote, Side
from tests.order.venue import RUN, book, fills, hold, price, report, row, send, states

if TYPE_CHECKING:
    from tests.order.conftest import Room

LOST = Unknown("time-out")
DAY_S = 86_400.0


# -- claims --------------------------------------------------------------------------------------


def test_entry_of_an_account_that_is_not_armed_is_refused(far: Room) -> None:
    far.armed[1] = False
    assert far.take(far.received(far.signal("BUY", run=RUN))) == []
    assert far.rows()[0].rule.startswith("not_armed")


def test_entry_without_an_account_is_refused(far: Room) -> None:
    del far.armed[1]
    far.take(far.received(far.signal("BUY", run=RUN)))
    assert far.rows()[0].rule.startswith("no_account")


def test_entry_whose_account_was_disarmed_while_it_waited_is_refused(far: Room) -> None:
    (order,) = far.take(far.received(far.signal("BUY", run=RUN)))
    far.armed[1] = False
    assert not far.books.claim(order)
    assert far.rows()[0].rule.startswith("not_armed")
    assert far.books.desk.at_work == {}
    assert far.audit().clean


def test_entry_that_waited_too_long_for_its_turn_expires(far: Room) -> None:
    (order,) = far.take(far.received(far.signal("BUY", run=RUN)))
    far.later(61)
    price(far)
    assert not far.books.claim(order)
    assert states(far) == ["EXPIRED"]
    assert [each.entering for each in far.books.desk._books.values()] == [0]


def test_entry_without_a_fresh_price_at_its_turn_is_refused(far: Room) -> None:
    (order,) = far.take(far.received(far.signal("BUY", run=RUN)))
    far.later(4)
    assert not far.books.claim(order)
    assert far.rows()[0].rule.startswith("stale_quote")


def test_exit_needs_neither_arming_nor_a_price(far: Room) -> None:
    hold(far)
    far.armed[1] = False
    far.later(100)
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(order)


def test_order_is_claimed_once(far: Room) -> None:
    order = send(far)
    assert not far.books.claim(order)


def test_claim_that_could_not_be_written_is_no_claim(far: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    (order,) = far.take(far.received(far.signal("BUY", run=RUN)))
    monkeypatch.setattr(far.store, "commit", lambda _: (_ for _ in ()).throw(StoreError("full")))
    with pytest.raises(StoreError):
        far.books.claim(order)
    monkeypatch.undo()
    assert states(far) == ["NEW"]
    assert not far.books.claim(order)  # another object stands for it now, which the next price queues
    price(far)
    (again,) = far.books.quotes(RUN, [Quote("RELIANCE", 250_000, far.at_us, 1000, far.clock.now_us())])
    assert again.tag == order.tag
    assert far.books.claim(again)


def test_market_order_goes_out_as_a_limit_near_the_touch(far: Room) -> None:
    price(far, 250_000, bid=249_900, ask=250_100)
    terms = send(far).limit_terms()
    assert (terms.order_type, terms.price_paise, terms.quantity) == ("LIMIT", 250_225, 10)


def test_withdrawn_entry_that_waits_for_its_turn_never_goes_out(far: Room) -> None:
    (order,) = far.take(far.received(far.signal("BUY", run=RUN)))
    far.take(far.received(far.signal("SELL", run=RUN)))
    assert not far.books.claim(order)
    assert states(far)[0] == "CANCELLED"


# -- readings ------------------------------------------------------------------------------------


def test_fills_come_from_trades_and_only_once(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    first = VenueTrade("f1", 4, 250_000, far.at_us)
    second = VenueTrade("f2", 6, 250_100, far.at_us)
    partly = row(order.tag, filled=4, trades=(first,))
    whole = row(order.tag, VenueState.COMPLETE, filled=10, trades=(first, second))
    for reading in (partly, partly, whole, whole, partly):
        report(far, book(far.clock.now_us(), reading))
    assert fills(far) == [(4, 250_000), (6, 250_100)]
    assert states(far) == ["FILLED"]
    assert far.audit().clean


def test_fill_may_come_before_its_acceptance(far: Room) -> None:
    order = send(far)
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    far.books.answer(order, Accepted("v1"))
    assert states(far) == ["FILLED"]
    assert far.held(run=RUN) == 10


def test_end_waits_for_trades_that_the_trade_book_does_not_show_yet(far: Room) -> None:
    order = send(far)
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.CANCELLED, filled=4, trades=())))
    assert states(far) == ["ACCEPTED"]
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.CANCELLED, filled=4)))
    assert states(far) == ["CANCELLED"]
    assert far.held(run=RUN) == 4


def test_fill_after_a_cancellation_is_booked(far: Room) -> None:
    order = send(far)
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.CANCELLED)))
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    assert (states(far), far.held(run=RUN)) == (["FILLED"], 10)
    assert [each.entering for each in far.books.desk._books.values()] == [0]
    assert far.audit().clean


def test_restart_books_no_fill_twice(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    first = VenueTrade("f1", 4, 250_000, far.at_us)
    report(far, book(far.clock.now_us(), row(order.tag, filled=4, trades=(first,))))
    far.open()
    second = VenueTrade("f2", 6, 250_100, far.at_us)
    report(
        far,
        book(
            far.clock.now_us(),
            row(order.tag, VenueState.COMPLETE, filled=10, trades=(first, second)),
        ),
    )
    assert fills(far) == [(4, 250_000), (6, 250_100)]


def test_rejection_in_the_books_keeps_the_exchanges_words(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.REJECTED, reason="RMS: margin")))
    assert (states(far), far.rows()[0].rule) == (["REJECTED"], "RMS: margin")


def test_order_said_not_sent_and_at_the_broker_all_the_same_never_goes_out_again(far: Room) -> None:
    order = send(far)
    far.books.answer(order, NotSent("403"))
    report(far, book(far.clock.now_us(), row(order.tag, filled=4)))
    assert states(far) == ["PARTIALLY_FILLED"]
    far.later(10)
    price(far)
    quote = Quote("RELIANCE", 250_000, far.at_us, 1000, far.clock.now_us())
    assert far.books.quotes(RUN, [quote]) == []
    assert [each.entering for each in far.books.desk._books.values()] == [6]
    assert far.audit().clean


def test_two_orders_under_one_tag_close_the_account_for_entries(far: Room) -> None:
    order = send(far)
    report(far, book(far.clock.now_us(), row(order.tag), row(order.tag, order_id="v2")))
    assert far.armed[1] is False
    assert far.books.desk.line(1).doubled == {order.tag}


def test_orders_of_others_are_counted_and_left_alone(far: Room) -> None:
    send(far)
    report(far, book(far.clock.now_us(), row("", order_id="by-hand", filled=5)))
    assert far.books.desk.line(1).foreign == 1
    assert far.held(run=RUN) == 0


def test_order_that_waits_for_the_next_session_is_cancelled(far: Room) -> None:
    order = send(far)
    report(far, book(far.clock.now_us(), row(order.tag, after_market=True)))
    far.later(2)
    (step,), _, _ = far.books.steps(1)
    assert (step.cancel, step.venue_order_id) == (True, "v1")


# -- UNKNOWN -------------------------------------------------------------------------------------


def test_unknown_order_is_settled_by_its_tag(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    assert states(far) == ["UNKNOWN"]
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    assert (states(far), far.held(run=RUN)) == (["FILLED"], 10)
    assert far.audit().clean


def absent(room: Room, reads: int, *others: object, unread: tuple[str, ...] = ()) -> None:
    for _ in range(reads):
        report(room, VenueBook(room.clock.now_us(), tuple(others), unread))  # type: ignore[arg-type]
        room.later(1)


def test_unknown_entry_is_absent_after_three_good_readings_a_minute_later_and_never_resent(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    absent(far, 30)  # within the first minute nothing counts
    assert states(far) == ["UNKNOWN"]
    far.later(31)
    absent(far, 2)
    assert states(far) == ["UNKNOWN"]
    absent(far, 1)
    assert states(far) == ["ABSENT"]
    price(far)
    assert far.books.quotes(RUN, [Quote("RELIANCE", 250_000, far.at_us, 1000, far.clock.now_us())]) == []
    assert far.books.steps(1)[2] == []
    assert far.audit().clean


def test_reading_that_lacks_an_order_seen_before_proves_nothing(far: Room) -> None:
    first = send(far)
    report(far, book(far.clock.now_us(), row(first.tag, VenueState.COMPLETE, filled=10)))
    far.later(5)
    price(far)
    (leaving,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(leaving)
    far.books.answer(leaving, LOST)
    far.later(70)
    absent(far, 10)  # an empty book, although it has shown an order today
    assert states(far)[-1] == "UNKNOWN"
    absent(far, 10, row(first.tag, VenueState.COMPLETE, filled=10), unread=("a row that nobody understands",))
    assert states(far)[-1] == "UNKNOWN"


def test_books_of_another_day_are_no_evidence(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    far.later(DAY_S)
    absent(far, 1)
    assert states(far) == ["REVIEW"]
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    assert states(far) == ["FILLED"]


def test_restart_keeps_the_time_of_the_send(far: Room) -> None:
    send(far)
    far.later(DAY_S)
    far.open()
    assert states(far) == ["UNKNOWN"]
    absent(far, 1)
    assert states(far) == ["REVIEW"]


def test_order_that_seemed_absent_is_booked_when_it_shows(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    far.later(61)
    absent(far, 3)
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    assert (states(far), far.held(run=RUN)) == (["FILLED"], 10)
    assert [each.entering for each in far.books.desk._books.values()] == [0]
    assert far.audit().clean


# -- exits that the broker does not carry out ----------------------------------------------------


@pytest.mark.parametrize("how", ["answer", "rejected", "cancelled"])
def test_refused_exit_stays_latched_and_goes_out_again_after_a_pause(far: Room, how: str) -> None:
    hold(far)
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(order)
    if how == "answer":
        far.books.answer(order, Rejected("no"))
    else:
        ended = row(order.tag, VenueState(how.upper()), order_id="v2", side=Side.SELL)
        report(far, book(far.clock.now_us(), ended))
    assert far.books.steps(1)[2] == []
    far.later(1.1)
    (again,) = far.books.steps(1)[2]
    assert (again.tag != order.tag, again.quantity) == (True, 10)
    assert far.books.claim(again)
    far.books.answer(again, Accepted("v3"))
    done = row(again.tag, VenueState.COMPLETE, filled=10, order_id="v3", side=again.side)
    report(far, book(far.clock.now_us(), done))
    assert far.held(run=RUN) == 0
    assert far.audit().clean


def test_exit_that_was_not_sent_goes_out_again_without_a_price(far: Room) -> None:
    hold(far)
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(order)
    far.books.answer(order, NotSent("no route"))
    far.later(1.1)
    (again,) = far.books.steps(1)[2]
    assert again.tag == order.tag
    assert far.books.claim(again)


def test_large_exit_is_sliced_below_the_freeze_quantity(far: Room) -> None:
    freeze = far.books._instruments.get("BATAINDIA").freeze_quantity
    assert freeze is not None
    far.user(broker="wire", shares=freeze - 1)
    for _ in range(2):
        far.later(1)
        far.board.update([Quote("BATAINDIA", 2_500, far.at_us, 1000, far.clock.now_us())])
        (order,) = far.take(far.received(far.signal("ENTER_LONG", "BATAINDIA", "25", run=RUN, add=True)))
        assert far.books.claim(order)
        done = row(
            order.tag,
            VenueState.COMPLETE,
            filled=freeze - 1,
            quantity=freeze - 1,
            order_id=order.tag,
            price=2_500,
            symbol="BATAINDIA",
        )
        report(far, book(far.clock.now_us(), done))
    parts = far.take(far.received(far.signal("EXIT_LONG", "BATAINDIA", "25", run=RUN)))
    assert sorted(part.quantity for part in parts) == [freeze - 1, freeze - 1]
    assert len({part.tag for part in parts}) == 2


# -- whatever order the news comes in ------------------------------------------------------------

_NEWS = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.sampled_from([Accepted("v1"), LOST])),
        st.tuples(st.just("book"), st.integers(0, 3)),
        st.tuples(st.just("empty"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=12,
)


@pytest.fixture
def rooms(make_room: Callable[..., Room]) -> Callable[[], Room]:
    """Return a maker of rooms on one store, each with another user."""
    room = make_room(venues={})
    count = iter(range(1, 10_000))

    def make() -> Room:
        number = next(count)
        user = room.user(f"u{number}", broker="wire", strategy=f"s{number}", shares=12)
        room.armed[user.user_no] = True
        room.board.run = RUN
        room.books.turn(TurnRequest(Level.OFF))  # an answer and a book that name two ids killed the house
        price(room)
        return room

    return make


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_NEWS)
def test_news_in_any_order_ends_in_the_brokers_truth(
    rooms: Callable[[], Room], news: list[tuple[str, object]]
) -> None:
    room = rooms()
    user_no = max(room.books.desk.users)
    strategy = f"s{user_no}"
    (order,) = room.take(room.received(room.signal("BUY", run=RUN, strategy=strategy)))
    assert room.books.claim(order)
    trades = tuple(VenueTrade(f"f{n}", 3 + n, 250_000 + n, room.at_us) for n in range(3))  # 3 + 4 + 5

    def reading(done: int) -> VenueBook:
        state = VenueState.COMPLETE if done == 3 else VenueState.WORKING
        filled = sum(trade.quantity for trade in trades[:done])
        shown = row(order.tag, state, filled=filled, quantity=12, trades=trades[:done], order_id=order.tag)
        return book(room.clock.now_us(), shown)

    for kind, what in news:
        if kind == "answer":
            with contextlib.suppress(StoreError):  # after a restart a done order is not known any more
                room.books.answer(order, what)  # type: ignore[arg-type]
        elif kind == "book":
            room.books.report(user_no, reading(int(str(what))))
        elif kind == "empty":
            room.books.report(user_no, book(room.clock.now_us()))
        else:
            room.open()
        room.later(1)
    room.books.report(user_no, reading(3))
    assert room.held(strategy=strategy, user_no=user_no, run=RUN) == 12


def test_order_given_up_that_the_broker_shows_first_of_all_is_followed_after_a_restart(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Unknown("time-out"))
    far.later(61)
    for _ in range(3):
        report(far, book(far.clock.now_us()))
    assert states(far) == ["ABSENT"]
    far.open()
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    assert (states(far), far.held(run=RUN)) == (["FILLED"], 10)


def test_limit_entry_whose_price_has_gone_stale_while_it_waited_does_not_leave(far: Room) -> None:
    far.direct(order_type="LIMIT", price=2490)
    (order,) = far.books.desk.at_work[RUN, "RELIANCE"].values()
    far.later(3.5)
    assert not far.books.claim(order)
    assert order.rule.startswith("stale_quote: ")
