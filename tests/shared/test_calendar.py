from __future__ import annotations

import json
import os
import time as os_time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from shared.calendar import IST, Calendar, at_ist, day_of
from shared.errors import ConfigurationError
from shared.instruments import Instruments
from shared.models import instant, microseconds

DATA = Path(
    os.environ.get("TRADING_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "market-data"
)
OBSERVED = DATA / "nse_trading_days_observed.json"


@pytest.fixture(params=["UTC", "Pacific/Chatham"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        os_time.tzset()
        yield request.param
    os_time.tzset()


@pytest.fixture
def calendar() -> Calendar:
    return Calendar.load()


@pytest.mark.skipif(not OBSERVED.exists(), reason=f"recorded trading days are not at {OBSERVED}")
def test_trading_days_match_every_day_observed(calendar: Calendar, zone: str) -> None:
    observed = {date.fromisoformat(day) for day in json.loads(OBSERVED.read_text())["days"]}
    day, differing = date(2020, 1, 1), []
    while day <= max(observed):
        if calendar.is_trading_day(day) != (day in observed):
            differing.append(day)
        day += timedelta(days=1)
    assert differing == []


def test_day_of_turns_at_midnight_in_india(zone: str) -> None:
    midnight = microseconds(datetime(2021, 4, 12, 18, 30, tzinfo=UTC))
    assert day_of(midnight) == date(2021, 4, 13)
    assert day_of(midnight - 1) == date(2021, 4, 12)
    assert (
        instant(at_ist(date(2021, 4, 12), "09:15")).astimezone(IST).isoformat() == "2021-04-12T09:15:00+05:30"
    )


def test_session_regular_day_is_half_open(calendar: Calendar, zone: str) -> None:
    day = date(2021, 4, 12)
    assert calendar.is_open(at_ist(day, "09:15"))
    assert not calendar.is_open(at_ist(day, "09:15") - 1)
    assert calendar.is_open(at_ist(day, "15:30") - 1)
    assert not calendar.is_open(at_ist(day, "15:30"))


def test_session_closing_auction_begins_in_august_2026(calendar: Calendar) -> None:
    before, after = date(2026, 7, 31), date(2026, 8, 3)
    for day, end in ((before, "15:30"), (after, "15:15")):
        session = calendar.session(day, closing_auction=True)
        assert session is not None
        assert session.close_us == at_ist(day, end)
    plain = calendar.session(after)
    assert plain is not None
    assert plain.close_us == at_ist(after, "15:30")


def test_session_outage_has_two_windows(calendar: Calendar) -> None:
    day = date(2021, 2, 24)
    assert calendar.is_open(at_ist(day, "11:39"))
    assert not calendar.is_open(at_ist(day, "13:00"))
    assert calendar.is_open(at_ist(day, "16:59"))


@pytest.mark.parametrize("day", [date(2020, 11, 14), date(2024, 1, 20), date(2026, 2, 1)])
def test_weekend_session_is_a_trading_day(calendar: Calendar, day: date) -> None:
    assert day.weekday() >= 5
    assert calendar.is_trading_day(day)


@pytest.mark.parametrize(
    ("day", "clock", "is_open"),
    [
        (date(2021, 4, 12), "09:19", False),
        (date(2021, 4, 12), "09:20", True),
        (date(2021, 4, 12), "14:44", True),
        (date(2021, 4, 12), "14:45", False),
        (date(2021, 4, 14), "11:00", False),  # a holiday
        (date(2026, 2, 1), "14:44", True),  # budget Sunday with regular hours
        (date(2021, 11, 4), "18:19", False),  # Muhurat, 18:15 to 19:15
        (date(2021, 11, 4), "18:20", True),
        (date(2021, 11, 4), "18:30", False),
        (date(2021, 11, 4), "11:00", False),
        (date(2021, 2, 24), "12:30", False),  # the outage itself
        (date(2021, 2, 24), "16:10", True),
        (date(2021, 2, 24), "16:15", False),
        (date(2026, 8, 3), "14:44", True),
        (date(2026, 8, 3), "14:45", False),
    ],
)
def test_entry_open_follows_the_default_window(
    calendar: Calendar, day: date, clock: str, is_open: bool
) -> None:
    reliance = Instruments.load().get("RELIANCE")
    assert calendar.entry_open(at_ist(day, clock), reliance) is is_open


def test_next_open_skips_night_weekend_and_holiday(calendar: Calendar) -> None:
    friday = date(2021, 4, 9)
    assert calendar.next_open(at_ist(friday, "09:15")) == at_ist(friday, "09:15")
    assert calendar.next_open(at_ist(friday, "09:16")) == at_ist(date(2021, 4, 12), "09:15")
    assert calendar.next_open(at_ist(date(2021, 4, 13), "16:00")) == at_ist(date(2021, 4, 15), "09:15")


def test_known_is_false_for_a_year_without_data(calendar: Calendar) -> None:
    assert calendar.known(2026)
    assert not calendar.known(2019)
    assert not calendar.known(2027)


def test_load_missing_or_broken_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Cannot read"):
        Calendar.load(tmp_path / "none.json")
    broken = tmp_path / "calendar.json"
    broken.write_text('{"about": "x", "sessions": [], "holidays": {}, "special": 3}')
    with pytest.raises(ConfigurationError, match="not a trading calendar"):
        Calendar.load(broken)
