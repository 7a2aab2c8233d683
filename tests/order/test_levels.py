"""Levels that an ex-date makes void (RELIANCE, a bonus on 2024-10-28), and levels set by hand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from order.levels import Levels, parse_levels
from order.reading import Reader
from shared.clock import DAY_US, ist_day
from shared.errors import ConfigurationError
from shared.models import Product
from tests.order.conftest import RUN, Room
from tests.order.test_rerun import again

FRIDAY_US = 1_729_830_600_000_000  # 2024-10-25 10:00 IST
EX_US = FRIDAY_US + 3 * DAY_US
WHAT = "bonus of RELIANCE on 2024-10-28, 2 for each share"


def bought(room: Room, run: str = RUN, **levels: Any) -> Room:
    """Buy 10 RELIANCE for DELIVERY on the Friday before."""
    room.later((FRIDAY_US - room.at_us) / 1e6)
    room.user(product=Product.DELIVERY)
    room.give("ENTER_LONG", price="2650", run=run, **levels)
    assert room.held(run=run, product="DELIVERY") == 10
    return room


@pytest.fixture
def held(room: Room) -> Room:
    return bought(room, stop=Decimal(2600), target=Decimal(2800))


def alarms(room: Room, price: str | None = "1335") -> list[str]:
    """Bring a price of RELIANCE; return what is told of ex-dates."""
    with capture_logs() as logs:
        room.books.after_answer(idle=True)
        if price is not None:
            room.later(1)
            room.quote(price)
    return [entry["what"] for entry in logs if "ex-date" in entry["event"]]


def to_ex_date(room: Room, days: float = 0) -> None:
    room.later((EX_US - room.at_us) / 1e6 + days * DAY_US / 1e6)


def protection(room: Room, run: str = RUN) -> str:
    reader = Reader(room.home)
    (found,) = (each for each in reader.positions(run=run) if each.quantity)
    reader.close()
    return found.protection


# -- an ex-date -------------------------------------------------------------------------------------


def test_levels_of_before_do_nothing_on_the_day_and_wait_for_a_human(held: Room) -> None:
    assert alarms(held, "2650") == []
    to_ex_date(held)
    assert alarms(held) == [f"{WHAT}, stop was 2600.00, target was 2800.00"]
    assert held.held(product="DELIVERY") == 10, "a drop to the half is none"
    assert held.rows()[-1].state == "CANCELLED", "the stop that rested"
    assert "REVIEW: bonus of RELIANCE" in protection(held)
    assert alarms(held) == []
    assert held.audit().clean


def test_ex_date_is_met_once_over_restarts_and_over_a_holiday(held: Room) -> None:
    held.open()
    to_ex_date(held, 2)
    assert len(alarms(held)) == 1
    held.open()
    assert alarms(held) == []
    assert "REVIEW" in protection(held)


def test_position_without_levels_is_told_too(room: Room) -> None:
    bought(room)
    to_ex_date(room)
    assert alarms(room) == [WHAT]


def test_live_market_is_looked_at_before_its_open(room: Room) -> None:
    room.board.run = "live"
    bought(room, "live")
    assert alarms(room, None) == []
    room.later(2 * DAY_US / 1e6 + 15 * 3600)  # 01:00 on the day, and no price has come
    assert alarms(room, None) == [WHAT]
    assert alarms(room, None) == []


def test_shares_bought_on_the_day_have_met_nothing(room: Room) -> None:
    to_ex_date(room)
    room.user(product=Product.DELIVERY)
    room.direct(product="DELIVERY", price=1335.0)
    room.quote("1335", run="manual")
    assert alarms(room) == []


def test_market_of_a_rehearsal_knows_no_ex_dates(room: Room) -> None:
    room.board.run = "sim"
    bought(room, "sim")
    to_ex_date(room)
    with capture_logs() as logs:
        room.quote("1335", run="sim")
    assert not [entry for entry in logs if "ex-date" in entry["event"]]


def test_flat_book_meets_nothing(held: Room) -> None:
    held.later(60)
    held.give("EXIT_LONG", price="2650")
    to_ex_date(held)
    assert alarms(held) == []


def test_strategy_enters_nothing_on_the_day_and_leaves_what_it_has(room: Room) -> None:
    bought(room)
    room.user("u2")
    to_ex_date(room)
    entry = room.give("ENTER_LONG", price="1335")[-1]
    assert (entry.state, entry.rule.partition(":")[0]) == ("REFUSED", "ex_date")
    room.later(60)
    exits = room.give("EXIT_LONG", price="1335")
    assert exits[0].purpose == "EXIT"
    assert exits[0].state != "REFUSED"
    other = room.give("ENTER_LONG", "TCS", "3900")[-1]
    assert other.state == "FILLED"


# -- by hand ----------------------------------------------------------------------------------------


def test_levels_set_by_hand_end_the_review_and_work(held: Room) -> None:
    to_ex_date(held)
    alarms(held)
    told, _ = held.books.protect(parse_levels({"user_id": "u1", "symbol": "RELIANCE", "stop": "1300"}))
    assert told == "stop 1300.00"
    assert protection(held).startswith("stop 1300.00")
    assert "REVIEW" not in protection(held)
    held.open()
    assert alarms(held) == [], "it is met and seen to"
    held.later(2 * DAY_US / 1e6)
    held.quote("1335")
    held.later(60)
    held.quote("1299")
    assert held.held(product="DELIVERY") == 0
    assert held.audit().clean


def test_position_without_a_stop_gets_one_by_hand(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    room.books.protect(Levels("u1", "RELIANCE", "", 249_000, 252_000))
    assert protection(room) == "stop 2490.00, target 2520.00"
    assert (room.rows()[-1].purpose, room.rows()[-1].state) == ("STOP", "ACCEPTED")
    room.later(1)
    room.quote("2489")
    assert room.held() == 0
    assert room.audit().clean


def test_trailing_distance_begins_at_the_price_and_nothing_ends_it(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    room.quote("2500")
    assert room.books.protect(Levels("u1", "RELIANCE", "s", 0, 0, 100))[0] == "stop 2475.00, trailing 1 %"
    room.later(1)
    room.quote("2600")
    assert protection(room) == "stop 2574.00"
    assert room.books.protect(Levels("u1", "RELIANCE"))[0] == "no protection"
    room.later(1)
    room.quote("2400")
    assert room.held() == 10


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        (Levels("u1", "TCS", "", 1), "u1 holds TCS in no book"),
        (Levels("u1", "RELIANCE", "other", 1), "in no book"),
        (Levels("u1", "RELIANCE", "", 250_000), r"stop 2500\.00 is hit at 2500\.00"),
        (Levels("u1", "RELIANCE", "", 0, 249_000), r"target 2490\.00 is reached already"),
        (Levels("u1", "RELIANCE", "", 249_003), "off the tick of 5 paise"),
    ],
)
def test_level_that_makes_no_sense_is_refused_and_nothing_changes(
    room: Room, levels: Levels, said: str
) -> None:
    room.user()
    room.give("ENTER_LONG")
    room.quote("2500")
    rows = room.query("SELECT count(*) FROM inbox")
    with pytest.raises(ConfigurationError, match=said):
        room.books.protect(levels)
    assert protection(room) == ""
    assert room.query("SELECT count(*) FROM inbox") == rows


def test_two_books_in_a_share_have_to_be_told_apart(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    room.direct()
    with pytest.raises(ConfigurationError, match=r"u1 holds RELIANCE in 2 books: manual .*, s "):
        room.books.protect(Levels("u1", "RELIANCE", "", 249_000))


def test_every_mistake_in_the_words_is_told() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_levels({"stop": "x", "target": -1, "trail_percent": "0.005", "limit": 3})
    for part in ("limit: unknown field", "stop 'x'", "target -1", "trail_percent '0.005'"):
        assert part in caught.value.what


def test_day_with_both_is_decided_alike(held: Room, tmp_path: Path) -> None:
    to_ex_date(held)
    alarms(held)
    held.books.protect(Levels("u1", "RELIANCE", "", 130_000))
    held.later(1)
    held.quote("1335")
    found = again(held, tmp_path / "x", ist_day(EX_US))
    assert (found.first, found.differences) == ("", 0)
