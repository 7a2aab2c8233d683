from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pytest

from order.users import Limits, Sizing, SizingMethod, Terms
from shared.models import Disposition, Product, Quote

if TYPE_CHECKING:
    from tests.order.conftest import Room

LONG, FLAT, SHORT = 10, 0, -10


def stand(room: Room, position: int) -> None:
    """Bring the one user of *room* to a position."""
    room.user()
    if position:
        room.give("ENTER_LONG" if position > 0 else "ENTER_SHORT")
    assert room.held() == position
    room.later(60)


@pytest.mark.parametrize(
    ("before", "kind", "after", "ended"),
    [
        (FLAT, "BUY", LONG, Disposition.ORDERED),
        (FLAT, "SELL", SHORT, Disposition.ORDERED),
        (FLAT, "ENTER_LONG", LONG, Disposition.ORDERED),
        (FLAT, "ENTER_SHORT", SHORT, Disposition.ORDERED),
        (FLAT, "EXIT_LONG", FLAT, Disposition.NOTHING_TO_EXIT),
        (FLAT, "EXIT_SHORT", FLAT, Disposition.NOTHING_TO_EXIT),
        (FLAT, "REVERSE", FLAT, Disposition.NOTHING_TO_EXIT),
        (LONG, "BUY", LONG, Disposition.ALREADY_THERE),
        (LONG, "ENTER_LONG", LONG, Disposition.ALREADY_THERE),
        (LONG, "SELL", FLAT, Disposition.ORDERED),
        (LONG, "EXIT_LONG", FLAT, Disposition.ORDERED),
        (LONG, "EXIT_SHORT", LONG, Disposition.NOTHING_TO_EXIT),
        (LONG, "ENTER_SHORT", LONG, Disposition.REFUSED),
        (SHORT, "BUY", FLAT, Disposition.ORDERED),
        (SHORT, "SELL", SHORT, Disposition.ALREADY_THERE),
        (SHORT, "ENTER_SHORT", SHORT, Disposition.ALREADY_THERE),
        (SHORT, "EXIT_SHORT", FLAT, Disposition.ORDERED),
        (SHORT, "ENTER_LONG", SHORT, Disposition.REFUSED),
    ],
)
def test_signal_read_against_position_ends_as_the_semantics_say(
    room: Room, before: int, kind: str, after: int, ended: Disposition
) -> None:
    stand(room, before)
    (row,) = room.give(kind)
    assert (room.held(), row.ended) == (after, ended)
    assert room.audit().clean


@pytest.mark.parametrize("product", list(Product))
def test_sell_when_flat_without_leave_to_short_exits_nothing(room: Room, product: Product) -> None:
    room.user(allow_short=False, product=product)
    assert room.give("SELL")[0].ended is Disposition.NOTHING_TO_EXIT


@pytest.mark.parametrize("kind", ["ENTER_SHORT", "REVERSE"])
def test_short_entry_without_leave_to_short_is_refused(room: Room, kind: str) -> None:
    room.user(allow_short=False)
    room.give("BUY")
    if kind == "ENTER_SHORT":
        room.give("EXIT_LONG")
    row = room.give(kind)[-1]
    assert (row.ended, row.rule.split(":")[0]) == (Disposition.REFUSED, "short_not_allowed")
    assert room.held() == 0


def test_short_entry_in_delivery_is_refused(room: Room) -> None:
    room.user(product=Product.DELIVERY, allow_short=True)
    assert room.give("ENTER_SHORT")[0].ended is Disposition.REFUSED


def test_add_to_a_position_buys_more(room: Room) -> None:
    stand(room, LONG)
    (row,) = room.give("ENTER_LONG", add=True)
    assert (row.ended, room.held()) == (Disposition.ORDERED, 20)


def test_exit_after_add_sells_all(room: Room) -> None:
    stand(room, LONG)
    room.give("BUY", add=True)
    room.give("SELL")
    assert room.held() == 0


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


def test_exit_with_the_session_closed_is_latched_and_goes_out_in_session(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    (row,) = room.give("SELL", price="2400")
    assert (row.state, row.quantity, room.held()) == ("NEW", 10, 10)
    room.later(60)
    room.quote("2390")
    assert room.held() == 10
    room.later(17 * 3600 + 16 * 60)  # 09:17 of the next day
    room.quote("2380")
    assert room.held() == 0
    assert room.rows()[-1].state == "FILLED"
    assert room.audit().clean


def test_latched_exit_once_filled_meets_no_further_price(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    room.give("SELL", price="2400")
    room.later(17 * 3600 + 16 * 60)
    room.quote("2380")
    for _ in range(3):
        room.later(60)
        room.quote("2370")
    assert room.held() == 0
    assert not room.books.desk.at_work


def test_latched_exit_survives_a_restart(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    room.give("SELL", price="2400")
    room.open()
    room.later(17 * 3600 + 16 * 60)
    room.quote("2380")
    assert room.held() == 0


def test_second_exit_while_one_is_latched_is_already_there(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    room.give("SELL")
    assert room.give("SELL")[0].ended is Disposition.ALREADY_THERE
    room.later(17 * 3600 + 16 * 60)
    room.quote("2500")
    assert room.held() == 0


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


def test_orders_within_a_second_are_counted_over_all_symbols(room: Room) -> None:
    room.user(max_orders_second=2)
    assert room.give("BUY")[0].state == "FILLED"
    assert room.give("SELL")[0].state == "FILLED"
    assert room.give("BUY", "TCS", "3000")[0].rule.startswith("orders_second")
    room.later(1)
    assert room.give("BUY", "TCS", "3000")[0].state == "FILLED"


@pytest.mark.parametrize("restart", [False, True])
def test_entry_at_work_counts_in_the_gross_exposure_until_it_is_gone(
    make_room: Callable[..., Room], restart: bool
) -> None:
    room = make_room("realistic")
    room.user(capital_inr=Decimal(50_000), max_gross=Decimal(1))
    room.give("BUY")
    if restart:
        room.open()
    assert room.give("BUY", "TCS", "3000")[0].rule.startswith("gross_exposure")
    room.give("SELL")  # takes the entry back
    assert room.give("BUY", "TCS", "3000")[0].state == "ACCEPTED"


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


def test_reversals_entry_waits_for_a_slow_exit_and_is_checked_anew(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    room.quote("2500")
    room.later(1)
    room.give("REVERSE")
    room.later(1)
    room.quote("2500", volume=50)  # half of the exit
    assert (room.held(), room.rows()[-1].state) == (5, "NEW")
    room.later(1)
    room.quote("2500", volume=50)  # the rest; the entry goes out now and meets its price later
    assert (room.held(), room.rows()[-1].state) == (0, "ACCEPTED")
    room.later(1)
    room.quote("2500")
    assert room.held() == SHORT
    assert room.audit().clean


def test_reversals_entry_is_refused_when_the_price_ran_away_meanwhile(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    room.quote("2500")
    room.later(1)
    room.give("REVERSE")
    room.later(1)
    room.quote("2470")
    assert room.rows()[-1].rule.startswith("deviation")
    assert room.held() == 0


@pytest.mark.parametrize("restart", [False, True])
def test_reversals_entry_that_waited_too_long_is_expired(
    make_room: Callable[..., Room], restart: bool
) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    room.quote("2500")
    room.later(1)
    room.give("REVERSE")
    if restart:
        room.open()
    room.later(61)
    room.quote("2500")
    assert (room.rows()[-1].ended, room.held()) == (Disposition.EXPIRED, 0)


@pytest.mark.parametrize(("waited_s", "state"), [(59, "ACCEPTED"), (61, "EXPIRED")])
@pytest.mark.parametrize("restart", [False, True])
def test_reversals_entry_outside_a_replay_waits_by_the_wall(
    make_room: Callable[..., Room], restart: bool, waited_s: int, state: str
) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY", run="sim")
    room.later(1)
    room.quote("2500", run="sim")
    room.later(1)
    room.give("REVERSE", run="sim")
    if restart:
        room.open()
    room.later(waited_s)
    room.quote("2500", run="sim")
    assert (room.rows()[-1].state, room.held(run="sim")) == (state, 0)


def test_waiting_entry_filled_on_a_later_price_meets_no_further_one(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    room.give("SELL")  # latched, so that a reversal has to wait for it
    room.ist("10:30")
    room.give("REVERSE")
    assert room.rows()[-1].state == "NEW"
    room.later(5)
    room.quote("2500")
    assert room.held() == SHORT
    for _ in range(3):
        room.later(20)
        room.quote("2500")
    assert room.held() == SHORT
    assert not room.books.desk.at_work
    assert room.audit().clean


def test_exit_withdraws_the_entry_at_work_and_sells_what_it_bought(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    room.quote("2500", volume=40)
    assert room.held() == 4
    (row,) = room.give("SELL")
    entry = room.rows()[0]
    assert (entry.state, entry.filled, entry.rule) == ("CANCELLED", 4, "an exit came first")
    assert row.quantity == 4
    room.later(1)
    room.quote("2500")
    assert room.held() == 0
    assert room.audit().clean


def test_entry_at_work_counts_as_already_there(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    assert room.give("BUY")[0].ended is Disposition.ALREADY_THERE


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


def test_order_at_work_meets_prices_of_its_own_market_only(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY", run="replay-1")
    room.later(1)
    room.quote("2500", run="replay-2")
    assert room.held() == 0
    room.quote("2500", run="replay-1")
    assert room.held() == 10


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
