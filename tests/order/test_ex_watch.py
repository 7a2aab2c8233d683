"""RELIANCE gives one share for each on 2024-10-28: what a whole order room makes of that day."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from shared.clock import DAY_US, ist_day
from shared.models import Product
from tests.order.conftest import RUN, Room

FRIDAY_US = 1_729_830_600_000_000  # 2024-10-25 10:00 IST
EX_US = FRIDAY_US + 3 * DAY_US


@pytest.fixture
def held(room: Room) -> Room:
    """A room with 10 RELIANCE bought for DELIVERY on the Friday before."""
    room.later((FRIDAY_US - room.at_us) / 1e6)
    room.user(product=Product.DELIVERY)
    room.give("ENTER_LONG", price="2650")
    room.books.after_answer(idle=True)
    return room


def alarms(room: Room) -> list[str]:
    """Return what is told when nothing waits."""
    with capture_logs() as logs:
        room.books.after_answer(idle=True)
    return [entry["what"] for entry in logs if "ex-date" in entry["event"]]


def test_position_that_meets_an_ex_date_is_told_once(held: Room) -> None:
    assert alarms(held) == []
    held.later((EX_US - held.at_us) / 1e6)
    held.give("EXIT_LONG", "TCS", "3900")
    assert alarms(held) == ["bonus of RELIANCE on 2024-10-28, 2 for each share"]
    assert alarms(held) == []
    held.later(DAY_US / 1e6)
    held.give("EXIT_LONG", "TCS", "3900")
    assert alarms(held) == []


def test_ex_date_is_found_after_a_restart_and_over_a_holiday(held: Room) -> None:
    held.open()
    held.later((EX_US + 2 * DAY_US - held.at_us) / 1e6)
    held.give("EXIT_LONG", "TCS", "3900")
    assert len(alarms(held)) == 1


def test_live_market_is_looked_at_before_its_open(room: Room) -> None:
    room.later((FRIDAY_US - room.at_us) / 1e6)
    room.board.run = "live"
    room.user(product=Product.DELIVERY)
    room.give("ENTER_LONG", price="2650", run="live")
    assert room.held(run="live", product="DELIVERY") == 10
    assert alarms(room) == []
    room.later(2 * DAY_US / 1e6 + 15 * 3600)  # 01:00 on the day, and no price has come
    assert len(alarms(room)) == 1


def test_flat_book_meets_nothing(held: Room) -> None:
    held.later(60)
    held.give("EXIT_LONG", price="2650")
    held.later((EX_US - held.at_us) / 1e6)
    held.give("EXIT_LONG", "TCS", "3900")
    assert alarms(held) == []


def test_strategy_enters_nothing_on_the_day_and_leaves_what_it_has(held: Room) -> None:
    held.user("u2")
    held.later((EX_US - held.at_us) / 1e6)
    entry = held.give("ENTER_LONG", price="1335")[-1]
    assert (entry.state, entry.rule.partition(":")[0]) == ("REFUSED", "ex_date")
    held.later(60)
    exits = held.give("EXIT_LONG", price="1335")
    assert exits[0].purpose == "EXIT"
    assert exits[0].state != "REFUSED"
    other = held.give("ENTER_LONG", "TCS", "3900")[-1]
    assert other.state == "FILLED"


def test_look_names_the_books(held: Room) -> None:
    found = held.books._ex_watch.look(held.books.desk, RUN, ist_day(EX_US), held.clock.now_us())
    assert [(met.book.quantity, met.ex_date.kind) for met in found] == [(10, "bonus")]
