from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from broker.base import VenuePosition
from order.ledger import ProfitView
from order.schema import FILE_NAME
from order.statement import Statement
from order.statement_reading import LotView, StatementReader
from shared.calendar import at_ist, day_of
from shared.clock import DAY_US, ist_day
from shared.models import Product
from tests.order.conftest import RUN, Room

SINCE, UNTIL = date(2024, 4, 1), date(2025, 3, 31)


@pytest.fixture(params=["sqlite", "postgres"])
def room(request: pytest.FixtureRequest, tmp_path: Path, blank_store: Path) -> Iterator[Room]:
    """A room whose books lie in a file, or on PostgreSQL."""
    url = None
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres_url"))
    else:
        shutil.copy(blank_store, tmp_path / FILE_NAME)
    made = Room(tmp_path, url=url)
    yield made
    made.close()


@contextmanager
def reader(room: Room) -> Iterator[StatementReader]:
    with closing(StatementReader(room.home, room.url)) as opened:
        yield opened


def told(room: Room, user_id: str = "u1", day: int = 0, **marks: int) -> Statement:
    with reader(room) as opened:
        return opened.statement(user_id, RUN, day or ist_day(room.at_us), marks)


def profit(room: Room, user_id: str, **marks: int) -> ProfitView:
    with reader(room) as opened:
        (found,) = opened.profits(user_id=user_id, run=RUN, marks=marks)
    return found


def lots(room: Room, since: date = SINCE, until: date = UNTIL) -> tuple[list[LotView], int]:
    with reader(room) as opened:
        return opened.lots("u1", RUN, since, until)


def three_days(room: Room) -> list[int]:
    """Two users trade on three days, one stays in overnight; the first two days are booked."""
    room.user(shares=10)
    room.user("u2", shares=5)
    days = []
    for price in ("1000", "1010", "990"):
        days.append(ist_day(room.at_us))
        room.give("ENTER_LONG", price=price)
        room.later(60)
        if price != "1010":
            room.give("EXIT_LONG", price=str(int(price) + 7))
        room.later(DAY_US / 1e6)
        room.books.after_answer(idle=True)
    return days


def test_days_add_up_to_the_profit_and_each_to_its_charges(room: Room) -> None:
    days = three_days(room)
    for user_id in ("u1", "u2"):
        found = [told(room, user_id, day) for day in days]
        whole = profit(room, user_id)
        assert found[0].brought.net == 0
        for before, after in pairwise(found):
            assert after.brought == before.carried
        assert sum(each.of_day.realised for each in found) == found[-1].carried.realised == whole.realised
        assert sum(each.of_day.charges for each in found) == found[-1].carried.charges == whole.charges
        with reader(room) as opened:
            booked = {line.day: line.total for line in opened.day_charges(99, user_id=user_id)}
        assert len(booked) == 2
        for each in found:
            assert sum(each.charges.values()) == each.of_day.charges
            assert each.booked is (each.day in booked)
            if each.booked:
                assert each.of_day.charges == booked[each.day]
            fills = sum((line.charges for line in each.fills), each.adjustment)
            orders = sum((line.charges for line in each.orders), each.adjustment)
            assert fills == orders == each.of_day.charges


def test_open_position_is_valued_as_in_the_profit(room: Room) -> None:
    room.user(shares=10)
    room.give("ENTER_LONG", price="1000")
    found, whole = told(room, RELIANCE=101_000), profit(room, "u1", RELIANCE=101_000)
    assert found.unrealised == whole.unrealised > 0
    assert found.net == whole.net


def test_place_in_the_fan_out_and_why_nothing_went_out(room: Room) -> None:
    room.user("u0", subscriptions={}, shares=10)
    for user_id in ("u1", "u2", "u3"):
        room.user(user_id, shares=10, max_positions=0 if user_id == "u1" else 5)
    room.give("ENTER_LONG", price="1000")
    places = {user: told(room, user).orders for user in ("u0", "u1", "u2", "u3")}
    assert places["u0"] == ()
    assert [(line.place, line.of, line.disposition) for line in places["u1"]] == [(0, 0, "REFUSED")]
    sent = [(line.place, line.of) for user in ("u2", "u3") for line in places[user]]
    assert sorted(sent) == [(1, 2), (2, 2)]
    assert told(room, "u1").dispositions[0].reason == "positions"
    with reader(room) as opened:
        assert list(opened.orders(9, user_id="u1")) == []
        (refused,) = opened.orders(9, user_id="u1", refused=True)
    assert refused.rule.startswith("positions: ")


def test_reference_is_the_price_of_the_signal(room: Room) -> None:
    room.user(shares=10)
    room.give("ENTER_LONG", price="1000")
    (line,) = told(room).orders
    assert line.reference == Decimal("1000.00")
    assert line.average_price is not None
    assert line.slippage == (line.average_price - 1000) * 10 > 0


def test_reference_of_a_direct_order_is_its_own_price(room: Room) -> None:
    room.user(subscriptions={})
    room.quote("2500")
    room.direct()
    with reader(room) as opened:
        run = opened.latest_market()
        assert run is not None
        day = opened.newest_day(run)
        assert day is not None
        (line,) = opened.statement("u1", run, day, {}).orders
        assert opened.newest_day("nowhere") is None
    assert line.reference == Decimal("2500.00")


def test_lots_of_flat_books_add_up_to_realised_and_charges(room: Room) -> None:
    room.user(shares=10, product=Product.DELIVERY)
    room.give("ENTER_LONG", price="1000")
    room.later(3 * DAY_US / 1e6)
    room.give("EXIT_LONG", price="1010")
    room.give("ENTER_LONG", "TCS", price="3000")
    room.give("EXIT_LONG", "TCS", price="3010")
    room.later(DAY_US / 1e6)
    room.give("EXIT_LONG", "TCS", price="3010")
    room.books.after_answer(idle=True)
    (found, uncovered), whole = lots(room), profit(room, "u1")
    assert [(lot.symbol, lot.tax_class, (lot.sold - lot.bought).days) for lot in found] == [
        ("RELIANCE", "short_term", 3),
        ("TCS", "speculative", 0),
    ]
    assert sum(lot.profit for lot in found) == whole.realised
    assert sum(lot.charges for lot in found) == whole.charges
    assert uncovered == 0
    assert lots(room, SINCE, date(2024, 6, 30)) == ([], 0)


@pytest.mark.parametrize("there", [0, 4])
def test_live_day_that_is_over_says_how_the_brokers_final_books_stood(far: Room, there: int) -> None:
    far.board.run = "live"
    far.later((at_ist(day_of(far.clock.now_us()), "16:05") - far.clock.now_us()) / 1e6)
    day = ist_day(far.clock.now_us())
    for shares in (there, 7):  # the day after has books of its own
        held = [VenuePosition("RELIANCE", Product.INTRADAY, shares)] if shares else []
        far.books.reconcile(1, "minute", held, {}, 5_000_000)
        far.later(DAY_US / 1e6)
    with reader(far) as opened:
        final = opened.statement("u1", "live", day, {}).final
        assert final is not None
        assert (final.clean, final.orders, final.cash) == (not there, 0, Decimal(50_000))
        assert list(final.findings) == ["RELIANCE INTRADAY: 4 at the broker, 0 here"] * bool(there)
        assert final.at.isoformat() == "2024-07-01T10:35:00+00:00"
        assert opened.statement("u1", "live", day - 1, {}).final is None
        assert opened.statement("u1", RUN, day, {}).final is None
