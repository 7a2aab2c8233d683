"""The broker's money against ours: what trades came to, and cash that moved without one."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from broker.base import Rejected, VenueOrder, VenuePosition, VenueState, VenueTrade
from order.cash import at_rest, money_of_positions, moved_paise, turnover_paise
from order.reconcile import Reconciliation
from order.review import How, Verdict
from shared.models import Product, Side
from tests.order.venue import LOST, RUN, book, hold, report, row, send

if TYPE_CHECKING:
    from tests.order.conftest import Room

BOUGHT = row("ours", VenueState.COMPLETE, filled=10, price=250_000)
SOLD = row("", VenueState.COMPLETE, filled=4, price=251_000, side=Side.SELL, order_id="x1")
DAY_US = 86_400_000_000


def position(
    quantity: int = 0, bought: int = 0, paid: int = 0, sold: int = 0, received: int = 0
) -> VenuePosition:
    return VenuePosition("RELIANCE", Product.INTRADAY, quantity, 0, bought, sold, paid, received)


def seen(at_us: int, cash: int, turnover: int = 0, rest: bool = True, moved: int = 0) -> Reconciliation:
    return Reconciliation(
        at_us=at_us, when="minute", clean=True, cash_paise=cash, at_rest=rest, turnover_paise=turnover,
        moved_paise=moved,
    )  # fmt: skip


def compare(room: Room, held: VenuePosition | None, cash: int, *rows: VenueOrder) -> Reconciliation:
    room.later(1)
    report(room, book(room.clock.now_us(), *rows))
    return room.books.reconcile(1, "minute", [held] if held else [], {}, cash)


def ours(room: Room, price: int) -> VenueOrder:
    """Return our entry as the broker has it by now, filled at *price*."""
    (order,) = room.books.desk.line(1).orders.values()
    return row(order.tag, VenueState.COMPLETE, filled=10, price=price)


@pytest.mark.parametrize(
    "told",
    [
        position(6, 10, 2_500_000, 4, 1_004_000),
        position(6, 10, 2_500_010, 4, 1_003_996),  # out of averages of two decimals
        position(6, 11, 9, 5, 9),  # a fill between two readings is a matter of shares
        position(6, 10, 0, 4, 0),  # sums are not told
        position(6),
    ],
)
def test_sums_that_agree_as_far_as_can_be_known_are_nothing_to_tell(told: VenuePosition) -> None:
    assert money_of_positions([BOUGHT, SOLD], [told]) == []


def test_sums_of_positions_that_trades_do_not_come_to_are_told_per_side() -> None:
    found = money_of_positions([BOUGHT, SOLD], [position(6, 10, 2_500_011, 4, 1_003_995)])
    assert [(each.kind.value, each.text) for each in found] == [
        (
            "MONEY",
            "RELIANCE INTRADAY: ₹25,000.11 paid for 10 by the broker's positions, ₹25,000.00 by its trades",
        ),
        (
            "MONEY",
            "RELIANCE INTRADAY: ₹10,039.95 received for 4 by the broker's positions, "
            "₹10,040.00 by its trades",
        ),
    ]


def test_nothing_is_blocked_where_nothing_is_open_and_nothing_works() -> None:
    assert at_rest([BOUGHT, SOLD], [position()])
    assert not at_rest([BOUGHT], [position(10)])
    assert not at_rest([BOUGHT, row("")], [position()])
    assert turnover_paise([BOUGHT, SOLD, row("")]) == 3_504_000


@pytest.mark.parametrize(
    ("before", "now", "moved"),
    [
        (None, seen(5, 100), 0),
        (seen(1, 100), seen(5, 100), 0),
        (seen(1, 100), seen(5, 160), 60),
        (seen(1, 100, moved=7), seen(5, 60), -33),
        (seen(1, 100, moved=7), seen(DAY_US, 60), 0),
        (seen(1, 100, rest=False, moved=7), seen(5, 60), 7),
        (seen(1, 100, moved=7), seen(5, 60, rest=False), 7),
        (seen(1, 100, moved=7), seen(5, 60, turnover=1), 7),
    ],
)
def test_cash_moves_without_a_trade_only_while_nothing_else_moves_it(
    before: Reconciliation | None, now: Reconciliation, moved: int
) -> None:
    assert moved_paise(before, now) == moved


def test_our_fills_and_the_brokers_trades_come_to_the_same_money(far: Room) -> None:
    hold(far)
    paid = far.books.desk.line(1).orders.copy().popitem()[1].value_paise // 10
    assert compare(far, position(10, 10, 10 * paid), 0, ours(far, paid)).clean
    found = compare(far, position(10, 10, 10 * paid), 0, ours(far, paid + 100))
    assert not found.clean  # a trade that the broker corrected: told, and not booked over
    assert "the broker's trades come to" in found.notes[0]
    assert "by its trades" in found.others[0]
    assert far.held(run=RUN) == 10
    assert far.audit().clean


def test_fills_without_all_of_their_trades_say_nothing_of_money(far: Room) -> None:
    hold(far)
    (order,) = far.books.desk.line(1).orders.values()
    part = (VenueTrade("t", 4, 1, 0),)
    assert compare(far, position(10), 0, row(order.tag, VenueState.COMPLETE, filled=10, trades=part)).clean


def test_price_that_a_human_gave_for_several_trades_is_told_and_keeps_nobody_from_entries(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    far.later(86_400)
    report(far, book(far.clock.now_us()), 0)
    far.books.settle(Verdict(order_id=order.tag, how=How.FILLED, quantity=10, price=Decimal("2500.1")))
    trades = (VenueTrade("a", 4, 250_000, 0), VenueTrade("b", 6, 250_010, 0))  # 2500.06 is no tick
    shown = row(order.tag, VenueState.COMPLETE, filled=10, trades=trades)
    found = compare(far, position(10), 0, shown)
    assert (found.clean, found.notes) == (True, [])
    assert "the broker's trades come to ₹25,000.60" in found.others[0]


def test_cash_that_an_order_blocks_which_the_books_did_not_show_yet_has_not_moved(far: Room) -> None:
    compare(far, None, 5_000_000)
    order = send(far)  # it leaves while the account is read
    assert not compare(far, None, 4_500_000).at_rest
    far.books.answer(order, Rejected("RMS: margin"))
    assert compare(far, None, 5_000_000).others == []


def test_cash_that_could_not_be_read_has_not_moved(far: Room) -> None:
    compare(far, None, 5_000_000)
    far.later(1)
    report(far, book(far.clock.now_us()))
    stale = far.books.reconcile(1, "minute", [], {}, 0, fresh_cash=False)
    assert not stale.at_rest
    assert compare(far, None, 5_000_000).others == []


def test_cash_that_moved_is_told_for_the_rest_of_the_day_and_over_a_restart(far: Room) -> None:
    assert compare(far, None, 5_000_000).others == []
    gone = "₹1,234.50 went out today without a trade: paid, or charged by the broker"
    found = compare(far, None, 4_876_550)
    assert (found.clean, found.others) == (True, [gone])
    assert str(found).endswith(f"₹48,765.50 there; {gone}")
    far.open()
    assert compare(far, None, 4_876_550).others == [gone]
    far.later(86_400)
    assert compare(far, None, 4_876_550).others == []
