from __future__ import annotations

from datetime import timedelta

import pytest

from order.risk import Market, check_market, exit_open, quote_age_us
from shared.calendar import Calendar, at_ist, day_of
from shared.instruments import Instruments
from shared.models import Quote, instant
from shared.scrips import Listed, Scrips

CALENDAR = Calendar.load()
INSTRUMENTS = Instruments.load()
AT_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST, a trading day
MARKET_NO = 1
PRICE = 250_000


def market(**changes: object) -> Market:
    at_us = int(str(changes.pop("at_us", AT_US)))
    quote = changes.pop("quote", Quote("RELIANCE", PRICE, at_us, 1000, at_us))
    assert quote is None or isinstance(quote, Quote)
    return Market(
        run=str(changes.pop("run", "replay-1")),
        daily=bool(changes.pop("daily", False)),
        instrument=INSTRUMENTS.get(str(changes.pop("symbol", "RELIANCE"))),
        quote=quote,
        reference_paise=int(str(changes.pop("reference", PRICE))),
        at_us=at_us,
        now_us=int(str(changes.pop("now_us", at_us))),
        day=(at_us + 19_800_000_000) // 86_400_000_000,
    )


def refusal(**changes: object) -> str | None:
    found = check_market(market(**changes), CALENDAR)
    return None if found is None else found.rule


def test_index_is_refused_everywhere() -> None:
    assert refusal(symbol="NIFTY50") == "not_tradable"
    assert refusal(symbol="NIFTY50", run="manual") == "not_tradable"


def test_no_price_is_refused_but_in_the_manual_market() -> None:
    assert refusal(quote=None) == "no_quote"
    assert refusal(quote=None, run="manual") is None


@pytest.mark.parametrize(
    ("run", "age_us", "refused"),
    [
        ("live", 3_000_000, None),
        ("live", 3_000_001, "stale_quote"),
        ("sim", 3_000_001, "stale_quote"),
        ("replay-1", 10**9, None),
    ],
)
def test_old_price_is_refused_where_the_wall_counts(run: str, age_us: int, refused: str | None) -> None:
    assert refusal(run=run, now_us=AT_US + age_us) == refused


@pytest.mark.parametrize(
    ("run", "received_us", "refused"),
    [
        ("live", 0, "clock"),
        ("live", -4_000_000, "clock"),
        ("sim", 0, "clock"),
        ("sim", -4_000_000, None),
        ("replay-1", 0, None),
    ],
)
def test_price_from_the_future_tells_of_a_clock_that_stepped_back(
    run: str, received_us: int, refused: str | None
) -> None:
    quote = Quote("RELIANCE", PRICE, AT_US, 1, AT_US + received_us)
    assert refusal(run=run, now_us=AT_US - 3_000_001, quote=quote) == refused


@pytest.mark.parametrize(
    ("clock", "refused"),
    [
        ("09:19", "session"),
        ("09:20", None),
        ("14:44", None),
        ("14:45", "session"),
        ("15:29", "session"),
        ("03:00", "session"),
    ],
)
@pytest.mark.parametrize("run", ["live", "replay-1"])
def test_entry_outside_its_session_is_refused(run: str, clock: str, refused: str | None) -> None:
    assert refusal(run=run, at_us=at_ist(day_of(AT_US), clock)) == refused


def test_session_is_judged_by_the_data_in_a_replay_and_by_the_wall_live() -> None:
    night = at_ist(day_of(AT_US), "03:00")
    assert refusal(run="replay-1", now_us=night) is None
    assert refusal(run="live", now_us=night, quote=Quote("RELIANCE", PRICE, night, 1, night)) == "session"


def test_weekend_is_closed() -> None:
    saturday = AT_US + 5 * 86_400_000_000
    assert instant(saturday).weekday() == 5
    assert refusal(at_us=saturday) == "session"


def test_simulated_market_and_daily_bars_know_no_session() -> None:
    night = at_ist(day_of(AT_US), "03:00")
    assert refusal(run="sim", at_us=night) is None
    assert refusal(daily=True, at_us=night) is None


@pytest.mark.parametrize(
    ("run", "clock", "daily", "is_open"),
    [
        ("live", "09:15", False, True),
        ("live", "15:29", False, True),
        ("live", "15:30", False, False),
        ("replay-1", "09:14", False, False),
        ("replay-1", "15:30", True, True),
        ("sim", "03:00", False, True),
        ("manual", "03:00", False, True),
    ],
)
def test_exit_goes_out_while_its_market_is_open(run: str, clock: str, daily: bool, is_open: bool) -> None:
    at_us = at_ist(day_of(AT_US), clock)
    assert exit_open(run, at_us, daily, INSTRUMENTS.get("RELIANCE"), CALENDAR) is is_open


@pytest.mark.parametrize(("run", "age_us"), [("live", 300_000_000), ("sandbox-x", 1_000_000)])
def test_price_of_a_lagging_feed_is_as_old_as_the_exchange_says(run: str, age_us: int) -> None:
    quote = Quote("TCS", 345_000, 0, 1, 299_000_000)
    assert quote_age_us(run, quote, 300_000_000) == age_us


@pytest.mark.parametrize("kind", ["banned", "cautionary"])
@pytest.mark.parametrize(("since", "until", "refused"), [(0, 0, True), (1, 9, False), (-9, -1, False)])
def test_listed_share_is_refused_while_it_is_listed(kind: str, since: int, until: int, refused: bool) -> None:
    day = day_of(AT_US)
    calendar = Calendar.load()
    listed = Listed("RELIANCE", kind, day + timedelta(since), day + timedelta(until), "a test")
    calendar.scrips = Scrips([listed])
    found = check_market(market(), calendar)
    assert (found is not None and found.rule == kind) is refused
    assert check_market(market(symbol="TCS"), calendar) is None
