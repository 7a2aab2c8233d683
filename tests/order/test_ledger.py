from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal

from order.ledger import Ledger
from shared.clock import DAY_US
from shared.models import Product
from tests.order.conftest import RUN, Room


@contextmanager
def ledger(room: Room) -> Iterator[Ledger]:
    with closing(Ledger(room.home)) as opened:
        yield opened


def traded(room: Room) -> None:
    """A strategy buys 10 and sells 10 on Monday, another user buys 5; Tuesday comes."""
    room.user(shares=10)
    room.user("u2", shares=5)
    room.give("ENTER_LONG", price="1000")
    room.later(60)
    room.user("u2", subscriptions={})
    room.give("EXIT_LONG", price="1010")
    room.later(DAY_US / 1e6)
    room.give("EXIT_LONG", price="1010")
    room.books.after_answer(idle=True)


def test_net_and_profit_agree_with_the_books(room: Room) -> None:
    traded(room)
    with ledger(room) as opened:
        nets = list(opened.net_positions(run=RUN, marks={"RELIANCE": 101_000}))
        profits = list(opened.profits(run=RUN, marks={"RELIANCE": 101_000}))
        books = list(opened.positions(run=RUN, marks={"RELIANCE": 101_000}))
    assert [(net.user_id, net.quantity, net.parts) for net in nets] == [("u1", 0, {}), ("u2", 5, {"s": 5})]
    for net, profit in zip(nets, profits, strict=True):
        own = [book for book in books if book.user_id == net.user_id]
        assert profit.net == sum(book.net + (book.unrealised or 0) for book in own)
        assert net.net + (net.unrealised or 0) == profit.net
    assert [profit.open for profit in profits] == [0, 1]


def test_other_users_and_markets_are_left_out(room: Room) -> None:
    traded(room)
    with ledger(room) as opened:
        assert [net.user_id for net in opened.net_positions(user_id="u2")] == ["u2"]
        assert list(opened.net_positions(run="live")) == []
        assert [row.user_id for row in opened.profits(user_id="u1")] == ["u1"]
        assert {line.user_id for line in opened.day_charges(9, user_id="u2")} == {"u2"}
        assert list(opened.day_charges(9, run="live")) == []


def test_lines_of_a_day_add_up_and_name_the_rates(room: Room) -> None:
    traded(room)
    with ledger(room) as opened:
        lines = list(opened.day_charges(10))
        assert len(list(opened.day_charges(1))) == 1
        charges = {net.user_id: net.charges for net in opened.net_positions()}
        assert opened.charges_note(RUN) == "at 2026 charges"
        assert opened.charges_note("live") == ""
    assert [line.user_id for line in lines] == ["u1", "u2"]
    for line in lines:
        assert line.total == line.levies + line.stt + line.stamp + line.dp == charges[line.user_id]
        assert line.adjustment == line.total - line.estimated != 0
        assert line.note == "at 2026 charges"
        assert not line.provisional
        assert line.day.isoformat() == "2024-07-01"
    # What stays open overnight is delivered: its stamp duty is five times that of a day trade.
    assert lines[1].stamp == Decimal(1)


def test_shares_for_delivery_are_told_by_how_far_they_have_come(room: Room) -> None:
    room.user(product=Product.DELIVERY, shares=10)
    room.give("ENTER_LONG", price="1000")
    room.later(DAY_US / 1e6)
    room.give("ENTER_LONG", "TCS", "3900")
    room.user("u2", product=Product.INTRADAY, shares=5)
    room.give("ENTER_LONG", "TCS", "3900")
    with ledger(room) as opened:
        found = list(opened.holdings(room.clock.now_us(), run=RUN))
        assert list(opened.holdings(0, user_id="u2")) == list(opened.holdings(0, run="live")) == []
    assert [(row.symbol, row.t1, row.bought_today, row.sellable, row.quantity) for row in found] == [
        ("RELIANCE", 10, 0, 0, 10),
        ("TCS", 0, 10, 10, 10),
    ]
