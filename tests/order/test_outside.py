"""What happens to an account outside of us, in the books."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.base import Accepted, VenueOrder, VenuePosition, VenueState, VenueTrade
from order.reading import Reader
from order.reconcile import Reconciliation
from shared.calendar import at_ist, day_of
from shared.models import Product, Side
from tests.order.venue import LOST, RUN, book, fills, hold, price, report, row, send, states

if TYPE_CHECKING:
    from tests.order.conftest import Room


def compare(room: Room, held: int, *rows: VenueOrder, times: int = 1, when: str = "minute") -> Reconciliation:
    """Read the books, which hold our entry and *rows*, and compare; return how it went."""
    assert times > 0
    for _ in range(times):
        room.later(1)
        ours = [
            row(tag, VenueState.COMPLETE, filled=10)
            for tag, order in room.books.desk.line(1).orders.items()
            if order.filled == 10
        ]
        report(room, book(room.clock.now_us(), *ours, *rows))
        positions = [VenuePosition("RELIANCE", Product.INTRADAY, held)] if held else []
        room.books.reconcile(1, when, positions, {}, 5_000_000)
    found = room.books.desk.line(1).reconciled
    assert found is not None
    return found


def by_hand(room: Room, shares: int, side: Side = Side.SELL, reason: str = "") -> VenueOrder:
    trades = tuple(
        VenueTrade(f"t{n}", part, 249_000 + n, room.at_us) for n, part in enumerate((shares - 1, 1)) if part
    )
    return row(
        "", VenueState.COMPLETE, filled=shares, quantity=shares, side=side, order_id="x1", price=249_000,
        at_us=room.at_us, trades=trades, reason=reason,
    )  # fmt: skip


def test_agreement_is_clean_and_kept(far: Room) -> None:
    hold(far)
    found = compare(far, 10, when="start")
    assert (found.clean, found.when, found.cash_paise, found.orders) == (True, "start", 5_000_000, 1)
    ((value,),) = far.query("SELECT value FROM account_marks WHERE kind = 'reconciled'")
    assert '"clean":true' in str(value)


def test_final_books_of_a_day_are_compared_once_after_the_close(far: Room) -> None:
    far.board.run = "live"
    for clock, when in [("16:04", "minute"), ("16:05", "close"), ("16:06", "minute")]:
        far.later((at_ist(day_of(far.clock.now_us()), clock) - far.clock.now_us()) / 1e6)
        assert far.books.reconcile(1, "minute", [], {}, 12_345).when == when
    far.open()
    far.later(60)
    assert far.books.reconcile(1, "minute", [], {}, 12_345).when == "minute"
    reader = Reader(far.home)
    ((user, final),) = reader.reconciliations(final=True)
    assert (user, str(final)) == (
        "u1", "01 Jul 2024 16:05:00 IST (close): clean; 0 orders, ₹123.45 there",
    )  # fmt: skip
    ((_, last),) = reader.reconciliations()
    assert last.when == "minute"
    reader.close()


def test_books_of_a_rehearsal_are_never_final(far: Room) -> None:
    far.later((at_ist(day_of(far.clock.now_us()), "16:30") - far.clock.now_us()) / 1e6)
    assert far.books.reconcile(1, "minute", [], {}, 0).when == "minute"


def test_close_by_hand_shrinks_the_book_by_the_brokers_own_trades(far: Room) -> None:
    hold(far)
    sale = by_hand(far, 10)
    assert not compare(far, 0, sale).clean  # once may be an answer that lags
    assert far.held(run=RUN) == 10
    assert compare(far, 0, sale).clean
    assert far.held(run=RUN) == 0
    assert sorted(fills(far)[1:]) == [(1, 249_001), (9, 249_000)]
    assert far.rows()[-1].rule == "BY_HAND: order x1"
    assert compare(far, 0, sale, times=3).others == []
    assert len(fills(far)) == 3
    assert far.audit().clean


def test_close_by_hand_is_booked_once_over_a_restart(far: Room) -> None:
    hold(far)
    sale = by_hand(far, 10)
    compare(far, 0, sale, times=2)
    far.open()
    assert compare(far, 0, sale, times=3).clean
    assert len(fills(far)) == 3


def test_strategy_rests_in_that_symbol_for_the_day_and_others_do_not(far: Room) -> None:
    hold(far)
    compare(far, 0, by_hand(far, 10), times=2)
    price(far)
    far.take(far.received(far.signal("BUY", run=RUN)))
    assert far.rows()[-1].rule.startswith("paused")
    far.open()
    far.later(5)
    price(far)
    far.take(far.received(far.signal("BUY", run=RUN)))
    assert far.rows()[-1].rule.startswith("paused")
    assert far.direct(quantity=1).state == "NEW"
    far.later(86_400)
    price(far)
    far.take(far.received(far.signal("BUY", run=RUN)))
    assert far.rows()[-1].state == "NEW"


def test_square_off_by_the_broker_is_booked_as_such_and_pauses_nothing(far: Room) -> None:
    hold(far)
    assert compare(far, 0, by_hand(far, 10, reason="auto square off"), times=2).clean
    assert far.rows()[-1].rule == "BROKER_SQUAREOFF: order x1"
    far.later(5)
    price(far)
    far.take(far.received(far.signal("BUY", run=RUN)))
    assert far.rows()[-1].state == "NEW"


def test_exit_of_shares_that_are_gone_is_withdrawn_or_cancelled(far: Room) -> None:
    hold(far)
    (waits,) = far.take(far.received(far.signal("SELL", run=RUN)))
    compare(far, 0, by_hand(far, 10), times=2)
    assert waits.state == "CANCELLED"
    assert not far.books.claim(waits)
    assert [each.exiting for each in far.books.desk._books.values()] == [0]


def test_resting_exit_of_shares_that_are_gone_is_cancelled(far: Room) -> None:
    hold(far)
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(order)
    far.books.answer(order, Accepted("v2"))
    compare(far, 0, by_hand(far, 10), row(order.tag, order_id="v2", side=Side.SELL), times=2)
    far.later(2)
    asked = [(each.tag, each.cancel) for each in far.books.steps(1)[0]]
    assert asked == [(order.tag, True)]


def test_own_shares_of_the_user_stay_untouched_by_a_strategy_that_bought_ten(far: Room) -> None:
    before = by_hand(far, 500, Side.BUY)
    assert compare(far, 500, before).others == ["RELIANCE INTRADAY: +500 by others' orders"]
    hold(far)
    assert compare(far, 510, before).clean
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert order.quantity == 10
    assert far.held(run=RUN) == 10


def test_difference_changes_nothing_and_is_told(far: Room, capsys: pytest.CaptureFixture[str]) -> None:
    hold(far)
    found = compare(far, 15, times=3)
    assert (found.clean, found.notes) == (False, ["RELIANCE INTRADAY: 15 at the broker, 10 here"])
    assert far.held(run=RUN) == 10
    assert capsys.readouterr().out.count("a difference between the broker and our books") == 1


@pytest.mark.parametrize(("theirs", "goes"), [(0, 0), (-3, 0), (4, 4), (10, 10), (15, 10)])
def test_exit_sells_at_most_what_the_broker_shows_and_the_rest_stays_latched(
    far: Room, theirs: int, goes: int
) -> None:
    hold(far)
    compare(far, theirs)
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(order) is bool(goes)
    sold = by_hand(far, 1)
    if goes:
        assert order.quantity == goes
        far.books.answer(order, Accepted("v2"))
        sold = row(order.tag, VenueState.COMPLETE, filled=goes, quantity=goes, side=Side.SELL, order_id="v2")
        compare(far, theirs - goes, sold)
    if goes < 10:
        assert far.books.steps(1)[2] == []
        compare(far, 10 - goes, *((sold,) if goes else ()))
        far.later(6)
        price(far)
        (again,) = far.books.steps(1)[2]
        assert far.books.claim(again)
        assert again.quantity == 10 - goes
    assert far.audit().clean


def test_net_that_is_too_old_holds_up_no_exit(far: Room) -> None:
    hold(far)
    compare(far, 4)
    far.later(200)
    price(far)
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(order)
    assert order.quantity == 10


def test_own_shares_stay_whatever_exits_double_exits_and_hands_do(far: Room) -> None:
    """The user holds 500 of his own; the strategy bought 10, and no more than 10 are ever sold."""
    owner = by_hand(far, 500, Side.BUY)
    hold(far)
    assert compare(far, 510, owner).clean
    (first,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.take(far.received(far.signal("EXIT_LONG", run=RUN))) == [], "an exit is under way"
    assert far.books.claim(first)
    assert first.quantity == 10
    far.books.answer(first, Accepted("v2"))
    sold = row(first.tag, VenueState.COMPLETE, filled=10, side=Side.SELL, order_id="v2")
    assert compare(far, 500, owner, sold, times=2).clean
    assert far.take(far.received(far.signal("EXIT_LONG", run=RUN))) == [], "there is nothing left to exit"
    assert far.books.steps(1)[2] == []
    assert far.audit().clean


def test_close_by_hand_beside_own_shares_is_told_by_its_size_and_leaves_them(far: Room) -> None:
    owner = by_hand(far, 500, Side.BUY)
    hold(far)
    assert compare(far, 510, owner).clean
    sold = msgspec.structs.replace(by_hand(far, 10), venue_order_id="x2")
    compare(far, 500, owner, sold)
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert not far.books.claim(order), "it would sell the owner's"
    assert compare(far, 500, owner, sold).clean
    assert (far.held(run=RUN), states(far)[1]) == (0, "CANCELLED")
    far.later(6)
    price(far)
    assert far.books.steps(1)[2] == []


def test_owner_who_sells_some_of_his_own_closes_nothing_of_ours(far: Room) -> None:
    owner = by_hand(far, 500, Side.BUY)
    hold(far)
    assert compare(far, 510, owner).clean
    sold = msgspec.structs.replace(by_hand(far, 100), venue_order_id="x2")
    assert compare(far, 410, owner, sold, times=3).clean
    assert far.held(run=RUN) == 10


def test_close_by_hand_counts_for_an_exit_as_soon_as_the_orders_show_it(far: Room) -> None:
    hold(far)
    assert compare(far, 10).clean
    bought = row(next(iter(far.books.desk.line(1).orders)), VenueState.COMPLETE, filled=10)
    report(far, book(far.clock.now_us(), bought, by_hand(far, 10)))
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert not far.books.claim(order), "nobody has read the net since, and yet there is nothing to sell"
    compare(far, 0, by_hand(far, 10), times=2)
    assert states(far)[1] == "CANCELLED"
    assert far.held(run=RUN) == 0
    assert far.audit().clean


def test_own_purchase_of_before_closes_nothing_of_ours(far: Room) -> None:
    """A short of ours beside shares that the owner bought earlier: his order is no close of it."""
    owner = by_hand(far, 500, Side.BUY)
    assert compare(far, 500, owner).clean
    hold(far)
    (first,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(first)
    far.books.answer(first, Accepted("v2"))
    over = row(first.tag, VenueState.COMPLETE, filled=20, quantity=20, side=Side.SELL, order_id="v2")
    found = compare(far, 490, owner, over, times=3)
    assert far.held(run=RUN) == -10
    assert [each.kind for each in found.findings] == ["EXTERNAL"]
    far.open()
    compare(far, 490, owner, over, times=3)
    assert far.held(run=RUN) == -10


def test_exit_of_unknown_fate_beside_others_shares_needs_their_position_unchanged(far: Room) -> None:
    before = by_hand(far, 500, Side.BUY)
    hold(far)
    assert compare(far, 510, before).clean
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(order)
    far.books.answer(order, LOST)
    known = row(next(iter(far.books.desk.line(1).orders)), VenueState.COMPLETE, filled=10)
    far.later(21)
    for _ in range(3):
        report(far, book(far.clock.now_us(), known, before), 510)
    assert states(far)[-2:] == ["ABSENT", "NEW"]


def test_doubled_tag_is_not_clean(far: Room) -> None:
    order = send(far)
    report(far, book(far.clock.now_us(), row(order.tag), row(order.tag, order_id="v2")))
    assert not far.books.reconcile(1, "arm", [], {}, 0).clean


def test_how_an_account_stands_is_told_while_another_thread_changes_the_books(far: Room) -> None:
    order, desk = send(far), far.books.desk
    at_work, orders, books = desk.at_work[RUN, "RELIANCE"], desk.line(1).orders, desk._books
    ended = threading.Event()

    def change() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            at_work[-number] = orders[f"{number}"] = order
            books[1, 1, -number, "INTRADAY", 1] = order.book
            if number > 20:
                del at_work[20 - number], orders[f"{number - 20}"], books[1, 1, 20 - number, "INTRADAY", 1]

    changing, before = threading.Thread(target=change), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    changing.start()
    try:
        for _ in range(2_000):
            assert desk.doubts(1) == []
            assert not desk.engaged_at_broker(2, RUN)
            assert desk.stuck(1) == []
    finally:
        ended.set()
        changing.join()
        sys.setswitchinterval(before)
