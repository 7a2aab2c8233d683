from __future__ import annotations

import pytest

from sandbox.tape import BAND, MINUTES, STEP_S, STEPS, Tape, is_weekday, next_day, previous_day, trading_index
from shared.instruments import Instruments

INSTRUMENTS = Instruments.load()
RELIANCE = INSTRUMENTS.get("RELIANCE")
NIFTY = INSTRUMENTS.get("NIFTY50")
MONDAY = 18_729


def test_same_seed_is_the_same_market_in_any_order_of_asking() -> None:
    first, second = Tape(7), Tape(7)
    seconds = [0, 22_499, 7_001, 60, 59]
    forwards = [first.step(RELIANCE, MONDAY, second_) for second_ in seconds]
    backwards = [second.step(RELIANCE, MONDAY, second_) for second_ in reversed(seconds)]
    assert forwards == backwards[::-1]
    assert forwards != [Tape(8).step(RELIANCE, MONDAY, second_) for second_ in seconds]


@pytest.mark.parametrize("symbol", ["RELIANCE", "TCS", "NIFTYBEES", "NIFTY50"])
def test_day_agrees_with_its_minutes_and_its_steps(symbol: str) -> None:
    instrument, tape = INSTRUMENTS.get(symbol), Tape(7)
    day = tape.day(instrument, MONDAY)
    minutes = [tape.minute(instrument, MONDAY, minute) for minute in range(MINUTES)]
    prices = [price for minute in minutes for price in minute.prices]
    assert prices[0] == day.opening
    assert (min(prices), max(prices)) == (day.low, day.high)
    assert tuple(minute.prices[-1] for minute in minutes) == day.minutes
    assert tuple(sum(minute.volumes) for minute in minutes) == day.volumes
    assert all(price > 0 and price % instrument.tick_paise == 0 for price in prices)
    assert all(volume >= 0 for minute in minutes for volume in minute.volumes)
    assert (day.volume == 0) is (instrument.kind == "INDEX")
    assert all(len(minute.prices) == len(minute.volumes) == STEPS for minute in minutes)


def test_yesterdays_close_is_todays_reference_and_the_band_holds() -> None:
    tape, day = Tape(3), MONDAY
    for _ in range(30):
        after = next_day(day)
        today, tomorrow = tape.day(RELIANCE, day), tape.day(RELIANCE, after)
        assert today.minutes[-1] == tomorrow.previous
        assert today.previous * (1 - BAND) < today.low <= today.high < today.previous * (1 + BAND)
        day = after


def test_volume_grows_by_what_each_step_traded() -> None:
    tape = Tape(7)
    for second in (0, 1, 2, 59, 60, 61, 22_499):
        steps = range(0, second + 1, STEP_S)
        traded = sum(tape.step(RELIANCE, MONDAY, each)[1] for each in steps)
        assert tape.volume_until(RELIANCE, MONDAY, second) == traded


def test_weekdays_are_counted_without_weekends() -> None:
    friday = MONDAY - 3
    assert (next_day(friday), previous_day(MONDAY)) == (MONDAY, friday)
    assert [is_weekday(MONDAY + n) for n in range(7)] == [True] * 5 + [False] * 2
    assert trading_index(MONDAY) == trading_index(friday) + 1
    assert trading_index(friday + 1) == trading_index(friday + 2) == trading_index(friday)
