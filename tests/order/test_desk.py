from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.base import VenueState
from order.policy import Policy
from order.users import Limits, Sizing, SizingMethod, Terms
from shared.errors import ConfigurationError
from shared.models import Disposition, Quote
from shared.quotes import QuoteBoard
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import book, report, row, send

if TYPE_CHECKING:
    from tests.order.conftest import Room

LONG, SHORT = 10, -10


def stand(room: Room, position: int) -> None:
    """Bring the one user of *room* to a position."""
    room.user()
    if position:
        room.give("ENTER_LONG" if position > 0 else "ENTER_SHORT")
    assert room.held() == position
    room.later(60)


def test_quantity_sized_to_nothing_is_too_small(room: Room) -> None:
    room.user(sizing=Sizing(SizingMethod.FIXED_VALUE, Decimal("2499.99")))
    (row,) = room.give("BUY", price="2500")
    assert (row.ended, row.quantity, row.state) == (Disposition.TOO_SMALL, 0, "REFUSED")


def test_late_entry_is_expired_and_changes_nothing(room: Room) -> None:
    room.user()
    late = room.received(room.signal("BUY"))
    room.clock.advance(61)
    room.take(late)
    assert room.rows()[0].ended is Disposition.EXPIRED
    assert room.held() == 0


def test_entry_at_the_end_of_its_validity_is_taken(room: Room) -> None:
    room.user()
    signal = room.received(room.signal("BUY"))
    room.clock.advance(60)
    room.take(signal)
    assert room.held() == 10


def test_late_exit_is_done_all_the_same(room: Room) -> None:
    stand(room, LONG)
    late = room.received(room.signal("SELL"))
    room.clock.advance(100_000)
    room.take(late)
    assert room.held() == 0


def test_late_reversal_exits_and_does_not_enter(room: Room) -> None:
    stand(room, LONG)
    late = room.received(room.signal("REVERSE"))
    room.clock.advance(61)
    room.take(late)
    exit_row, entry_row = room.rows()[-2:]
    assert (exit_row.ended, entry_row.ended, room.held()) == (Disposition.ORDERED, Disposition.EXPIRED, 0)


def test_entry_outside_the_entry_session_is_refused_by_session(room: Room) -> None:
    room.user()
    room.ist("14:45")
    (row,) = room.give("BUY")
    assert row.rule.startswith("session:")


@pytest.mark.parametrize("kind", ["SELL", "EXIT_LONG", "REVERSE"])
@pytest.mark.parametrize(
    "limits", [Limits(max_orders_second=1), Limits(max_entries_day=1), Limits(max_order_inr=Decimal(1))]
)
def test_exit_passes_by_rules_that_hold_back_entries(room: Room, kind: str, limits: Limits) -> None:
    stand(room, LONG)
    room.books.save_user(msgspec.structs.replace(room.books.users["u1"], limits=limits))
    room.give(kind)
    assert room.held() == 0


def test_exit_of_a_disabled_user_is_done(room: Room) -> None:
    stand(room, LONG)
    room.books.save_user(msgspec.structs.replace(room.books.users["u1"], enabled=False))
    assert room.give("BUY", symbol="TCS")[0].rule.startswith("user_disabled")
    room.give("SELL")
    assert room.held() == 0


def test_exit_never_touches_the_manual_book(room: Room) -> None:
    room.user()
    room.direct(quantity=30)
    assert room.held(strategy="manual", run="manual") == 30
    assert room.give("SELL", strategy="s")[0].ended is Disposition.ORDERED  # a short of its own
    room.give("EXIT_SHORT")
    assert room.held(strategy="manual", run="manual") == 30


def test_exit_is_sized_from_the_strategys_own_book(room: Room) -> None:
    terms = Terms(sizing=Sizing(SizingMethod.FIXED_QUANTITY, Decimal(10)))
    room.user(subscriptions={"s": terms, "other": terms})
    room.give("BUY", strategy="other", symbol="RELIANCE")
    (row,) = room.give("SELL", strategy="s", symbol="RELIANCE")
    assert row.ended is Disposition.NOTHING_TO_EXIT
    assert room.held(strategy="other") == 10


def test_second_strategy_in_an_owned_instrument_is_refused_with_the_owners_name(room: Room) -> None:
    room.user(subscriptions={"s": Terms(), "other": Terms()})
    room.give("BUY", strategy="other")
    (row,) = room.give("BUY", strategy="s")
    assert row.rule == "owner: other owns RELIANCE"
    room.give("SELL", strategy="other")
    room.give("BUY", strategy="s")
    assert room.held(strategy="s") == 1


def test_reversal_exits_then_enters_the_other_side(room: Room) -> None:
    stand(room, LONG)
    exit_row, entry_row = room.give("REVERSE")
    assert (exit_row.leg, exit_row.purpose, exit_row.side, exit_row.quantity) == (0, "EXIT", "SELL", 10)
    assert (entry_row.leg, entry_row.purpose, entry_row.side, entry_row.quantity) == (1, "ENTRY", "SELL", 10)
    assert room.held() == SHORT
    assert room.audit().clean


def test_reversal_whose_entry_is_refused_stays_flat(room: Room) -> None:
    stand(room, LONG)
    room.user(max_entries_day=1)
    _, entry_row = room.give("REVERSE")
    assert entry_row.rule.startswith("entries_day")
    assert room.held() == 0


def test_unknown_symbol_refuses_for_each_subscriber_and_loses_nothing(room: Room) -> None:
    room.user("u1")
    room.user("u2")
    rows = room.give("BUY", symbol="NOSUCH")
    assert [row.rule for row in rows] == ["unknown_symbol: NOSUCH"] * 2
    assert room.audit().clean


def test_index_is_not_tradable(room: Room) -> None:
    room.user()
    assert room.give("BUY", symbol="NIFTY50")[0].rule.startswith("not_tradable")


def test_other_spelling_of_a_symbol_is_the_same_book(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY", symbol="RELIANCE-EQ")
    room.open()
    room.later(1)
    room.quote("2500")
    assert room.held("RELIANCE") == 10
    assert room.give("BUY", symbol="RELIANCE")[0].ended is Disposition.ALREADY_THERE


def test_books_of_two_markets_do_not_mix(room: Room) -> None:
    room.user()
    room.give("BUY", run="replay-1")
    assert room.give("SELL", run="replay-2", strategy="s")[0].ended is Disposition.ORDERED
    assert (room.held(run="replay-1"), room.held(run="replay-2")) == (10, -10)
    room.quote("2500", run="replay-2")


def test_each_subscriber_gets_one_order_and_nobody_else(room: Room) -> None:
    room.user("u1", shares=1)
    room.user("u2", shares=2)
    room.user("u3", strategy="other")
    room.user("u4", group="elsewhere")
    rows = room.give("BUY")
    assert [(row.user_no, row.quantity, row.state) for row in rows] == [(1, 1, "FILLED"), (2, 2, "FILLED")]


def test_stale_price_opens_no_position_in_a_live_market_but_closes_one(room: Room) -> None:
    room.user()
    room.give("BUY", run="live")
    stale = room.received(room.signal("BUY", "TCS", "3000", run="live"))
    room.clock.advance(3.1)
    room.take(stale)
    assert room.rows()[-1].rule.startswith("stale_quote")
    late = room.received(room.signal("SELL", run="live"))
    room.clock.advance(30)
    room.take(late)
    assert room.held(run="live") == 0


def test_live_session_is_judged_by_the_wall(room: Room) -> None:
    room.user()
    room.clock.advance(6 * 3600)  # 16:00
    assert room.give("BUY", run="live")[0].rule.startswith("session")


def test_simulated_market_is_always_in_session(room: Room) -> None:
    room.user()
    room.ist("03:00")
    assert room.give("BUY", run="sim")[0].state == "FILLED"


def test_daily_bar_trades_at_its_close(room: Room) -> None:
    room.user()
    room.ist("15:30")
    assert room.give("BUY", timeframe="1d")[0].state == "FILLED"
    assert room.give("SELL", timeframe="1d")[0].state == "FILLED"


def test_direct_order_is_literal_and_has_a_book_of_its_own(room: Room) -> None:
    room.user(shares=1)
    bought = room.direct(quantity=7)
    assert (bought.state, bought.filled) == ("FILLED", 7)
    assert room.held(strategy="manual", run="manual") == 7
    assert room.held() == 0


def test_direct_sale_beyond_the_holding_is_refused_whole(room: Room) -> None:
    room.user()
    room.direct(quantity=7)
    sold = room.direct(side="SELL", quantity=8)
    assert (sold.state, sold.filled) == ("REFUSED", 0)
    assert room.direct(side="SELL", quantity=7).state == "FILLED"
    assert room.held(strategy="manual", run="manual") == 0


def test_direct_delivery_sale_of_nothing_is_refused(room: Room) -> None:
    room.user()
    assert room.direct(side="SELL", product="DELIVERY").state == "REFUSED"


def test_direct_exit_with_the_session_closed_waits_for_it(room: Room) -> None:
    room.user()
    room.board.run = "live"

    def price() -> None:
        room.board.update([Quote("RELIANCE", 250_000, room.at_us, 1000, room.clock.now_us())])

    price()
    room.direct(quantity=7)
    room.later(6 * 3600)  # 16:00
    price()
    assert room.direct(side="SELL", quantity=7).state == "NEW"
    room.later(17 * 3600 + 16 * 60)
    room.quote("2500", run="live")
    assert room.held(strategy="manual", run="live") == 0


def test_order_given_by_hand_in_a_rehearsal_has_the_time_of_its_market(room: Room) -> None:
    room.user(max_orders_second=2)
    room.at_us -= 24 * 365 * 86_400_000_000  # a rehearsal's market is years from the wall's clock
    room.board.run = FAR_RUN
    for _ in range(2):
        room.board.update([Quote("RELIANCE", 250_000, room.at_us, 10**6, room.clock.now_us())])
        room.direct(quantity=1)
        room.later(1)
    assert [row.placed_us for row in room.rows()] == [room.at_us - 2_000_000, room.at_us - 1_000_000]
    room.later(60)
    (entered,) = room.give("BUY", run=FAR_RUN)
    assert entered.rule == "", "nor does it count as sent just now for ever after"


def test_order_by_hand_at_a_broker_is_of_the_market_that_its_position_is_in(far: Room) -> None:
    order = send(far)
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    far.board = QuoteBoard(FAR_RUN)
    far.open()  # nobody has brought a price since
    with pytest.raises(ConfigurationError, match="no price of RELIANCE"):
        far.direct(side="SELL")
    assert len(far.rows()) == 1


def test_order_by_hand_in_the_live_market_needs_no_fresh_price_to_leave(far: Room) -> None:
    far.board.run = "live"
    far.direct(quantity=10)
    (tag,) = [order.tag for orders in far.books.desk.at_work.values() for order in orders.values()]
    assert far.books.claim(next(iter(far.books.desk.at_work["live", "RELIANCE"].values())))
    report(far, book(far.clock.now_us(), row(tag, VenueState.COMPLETE, filled=10)))
    assert far.held(strategy="manual", run="live") == 10
    far.board = QuoteBoard("live")
    far.open()
    far.direct(side="SELL", quantity=10)
    left = far.rows()[-1]
    assert (left.purpose, left.state) == ("EXIT", "NEW")


@pytest.mark.parametrize("run", ["replay-1", "sandbox-1", "sim", "manual"])
def test_real_money_follows_the_live_market_alone(room: Room, run: str) -> None:
    room.policy = Policy(live=True)
    room.open()
    room.armed[room.user(broker="wire").user_no] = True
    room.board = QuoteBoard(run)
    (entered,) = room.give("BUY", run=run)
    assert (entered.state, entered.rule) == (
        "REFUSED", f"not_live: real money follows the live market alone, not {run}",
    )  # fmt: skip
    room.user("on_paper")
    shown = room.give("BUY", symbol="TCS", run=run)
    assert [row.rule.startswith("not_live") for row in shown] == [True, False], "paper follows any"
