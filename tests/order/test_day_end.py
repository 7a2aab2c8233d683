from __future__ import annotations

from decimal import Decimal

import pytest

from broker.base import Accepted, VenueState
from order.day_end import JOURNAL_KIND
from order.journal import decode
from order.users import Sizing, SizingMethod, Terms
from shared.clock import DAY_US, ist_day
from shared.models import Product
from tests.order.conftest import MONDAY_US, Room
from tests.order.venue import RUN as FAR
from tests.order.venue import book, report, row, send

MONDAY = ist_day(MONDAY_US)
DAY_S = DAY_US // 1_000_000


def booked(room: Room) -> list[tuple[int, ...]]:
    """Return the lines of all days: day, STT, stamp duty, depository's charge, estimated, provisional."""
    return room.query(
        "SELECT day, stt_paise, stamp_paise, dp_paise, estimated_paise, provisional FROM day_charges"
        " ORDER BY market_no, day, user_no, symbol_no"
    )


def charges_of_books(room: Room) -> int:
    return int(room.query("SELECT coalesce(sum(charges_paise), 0) FROM books")[0][0])


def told(room: Room) -> list[object]:
    return [
        decode(bytes(body))
        for (body,) in room.query("SELECT body FROM journal WHERE kind = ? ORDER BY no", JOURNAL_KIND)
    ]


def round_trip(room: Room, shares: int = 100) -> None:
    room.user(shares=shares)
    room.give("ENTER_LONG", price="1000")
    room.later(60)
    room.give("EXIT_LONG", price="1010")


def next_day(room: Room) -> None:
    """Bring the market to its next day by a signal that does nothing."""
    room.later(DAY_S)
    room.give("EXIT_LONG", price="1010")
    room.books.after_answer(idle=True)


def test_day_is_booked_once_the_market_has_come_to_the_next(room: Room) -> None:
    round_trip(room)
    estimated = charges_of_books(room)
    room.books.after_answer(idle=True)
    assert booked(room) == []
    next_day(room)
    assert len(booked(room)) == 1
    day, stt, stamp, dp, said, provisional = booked(room)[0]
    assert (day, dp, said, provisional) == (MONDAY, 0, estimated, 0)
    assert stt % 100 == stamp % 100 == 0
    (levies,) = room.query("SELECT levies_paise FROM day_charges")[0]
    assert charges_of_books(room) == levies + stt + stamp
    assert charges_of_books(room) != estimated
    assert room.audit().findings == []


def test_delivery_sold_the_same_day_is_booked_as_intraday(room: Room) -> None:
    room.user(product=Product.DELIVERY, shares=100)
    room.give("ENTER_LONG", price="1000")
    room.later(60)
    room.give("EXIT_LONG", price="1000")
    dear = charges_of_books(room)
    next_day(room)
    assert booked(room)[0][1:4] == (2500, 300, 0)
    assert dear - charges_of_books(room) > 17_000
    assert room.audit().findings == []


def test_booking_a_day_again_changes_nothing(room: Room) -> None:
    round_trip(room)
    next_day(room)
    before = booked(room), charges_of_books(room), len(told(room))
    room.books.close_days(final=True)
    room.open()
    room.books.close_days(final=True)
    room.books.after_answer(idle=True)
    assert (booked(room), charges_of_books(room), len(told(room))) == before


def test_day_that_goes_on_after_it_was_booked_is_booked_anew(room: Room) -> None:
    round_trip(room)
    room.books.close_days(final=True)
    first = booked(room)
    room.later(60)
    room.give("ENTER_LONG", price="1000")
    room.later(60)
    room.give("EXIT_LONG", price="1010")
    room.books.close_days(final=True)
    (line,) = booked(room)
    assert first[0][0] == line[0] == MONDAY
    assert line[1] == 5000  # on almost 2,02,000
    assert len(told(room)) == 2
    assert room.audit().findings == []


def test_restart_before_the_day_is_booked_books_it_all_the_same(room: Room) -> None:
    round_trip(room)
    room.later(DAY_S)
    room.give("EXIT_LONG", price="1010")
    room.open()
    room.give("ENTER_LONG", price="1000")
    room.books.after_answer(idle=False)
    assert [line[0] for line in booked(room)] == [MONDAY]


def test_failed_commit_of_a_day_is_made_good_later(room: Room) -> None:
    round_trip(room)
    room.later(DAY_S)
    room.give("EXIT_LONG", price="1010")
    room.query("CREATE TEMP TRIGGER no BEFORE INSERT ON day_closes BEGIN SELECT RAISE(ABORT, 'full'); END")
    before = charges_of_books(room)
    with pytest.raises(Exception, match="full"):
        room.books.close_days()
    assert (charges_of_books(room), booked(room)) == (before, [])
    room.query("DROP TRIGGER no")
    room.give("ENTER_LONG", price="1010")  # the memory is the store's again
    room.books.close_days()
    assert [line[0] for line in booked(room)] == [MONDAY]
    assert room.audit().findings == []


@pytest.mark.parametrize(("clock", "days"), [("16:04", 0), ("16:05", 1)])
def test_live_day_is_booked_when_its_books_are_final(room: Room, clock: str, days: int) -> None:
    room.user(shares=100)
    room.board.run = "live"
    room.give("ENTER_LONG", price="1000", run="live")
    hour, minute = map(int, clock.split(":"))
    room.later((hour - 10) * 3600 + minute * 60)
    room.books.after_answer(idle=True)
    assert len(booked(room)) == days


def test_manual_day_ends_at_midnight(room: Room) -> None:
    room.user()
    room.direct(quantity=100, price=1000.0)
    room.later(13.9 * 3600)
    room.books.after_answer(idle=True)
    assert booked(room) == []
    room.later(0.2 * 3600)
    room.books.after_answer(idle=True)
    assert [line[0] for line in booked(room)] == [MONDAY]


def test_books_of_two_strategies_bear_one_line(room: Room) -> None:
    both = {name: Terms(sizing=Sizing(SizingMethod.FIXED_QUANTITY, Decimal(100))) for name in ("s", "t")}
    room.user(subscriptions=both)
    for strategy in both:
        room.give("ENTER_LONG", price="1000", strategy=strategy)
        room.later(60)
        room.give("EXIT_LONG", price="1010", strategy=strategy)
    next_day(room)
    (line,) = booked(room)
    shares = room.query("SELECT charges_paise FROM adjustments")
    (levies,) = room.query("SELECT levies_paise FROM day_charges")[0]
    assert len(shares) == 2
    assert sum(share for (share,) in shares) == levies + sum(line[1:4]) - line[4]
    assert room.audit().findings == []


def test_fill_that_a_broker_tells_late_finds_its_day(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.CANCELLED)))
    monday_us = far.at_us
    for _ in range(2):
        # The market's own clock comes to the next day; what is told is of the day before.
        far.at_us += DAY_US
        far.give("SELL", run=FAR)
        far.books.after_answer(idle=True)
        late = row(order.tag, VenueState.CANCELLED, filled=10, at_us=monday_us)
        report(far, book(far.clock.now_us(), late))
    assert [(line[0], line[5]) for line in booked(far)] == [(MONDAY, 1)]
    assert far.audit().findings == []


def test_data_older_than_the_rates_says_so_in_the_journal(room: Room) -> None:
    round_trip(room)
    next_day(room)
    (entry,) = told(room)
    assert isinstance(entry, list)
    assert entry[1:3] == [MONDAY, "at 2026 charges"]  # 2024-07-01 is before the first rates


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE day_charges SET stt_paise = stt_paise + 100",
        "UPDATE adjustments SET charges_paise = charges_paise + 1",
        "DELETE FROM day_charges",
        "DELETE FROM adjustments",
    ],
)
def test_damage_to_what_was_booked_is_found(room: Room, damage: str) -> None:
    round_trip(room)
    next_day(room)
    assert room.audit().findings == []
    room.query(damage)
    assert room.audit().unexplained
