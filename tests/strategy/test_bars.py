from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest

from shared.calendar import Calendar, at_ist
from shared.models import Bar
from strategy.bars import TIMEFRAMES, BarAggregator, bucket, session_grid

DAY = date(2021, 4, 12)
MINUTE = TIMEFRAMES["1m"]
grid = session_grid(Calendar.load())


def _minute(clock: str, price: float = 100.0, volume: int = 1, day: date = DAY) -> Bar:
    start = at_ist(day, clock)
    return Bar("TCS", "1m", start, start + MINUTE, price, price + 1, price - 1, price, volume)


def test_five_minutes_make_one_bar_at_once() -> None:
    larger = BarAggregator("5m", grid)
    done = [larger.update(_minute(f"09:{15 + i}", 100.0 + i, i)) for i in range(5)]
    assert done[:4] == [[], [], [], []]
    [bar] = done[4]
    assert (bar.start_us, bar.close_us) == (at_ist(DAY, "09:15"), at_ist(DAY, "09:20"))
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (100.0, 105.0, 99.0, 104.0, 10)


def test_missing_last_minute_closes_by_the_next_bar_or_the_clock() -> None:
    by_bar, by_clock = BarAggregator("5m", grid), BarAggregator("5m", grid)
    for larger in (by_bar, by_clock):
        assert larger.update(_minute("09:18")) == []
    [bar] = by_bar.update(_minute("09:22"))
    assert by_clock.flush(at_ist(DAY, "09:20") - 1) == []
    assert by_clock.flush(at_ist(DAY, "09:20")) == [bar]
    assert by_clock.flush(at_ist(DAY, "09:30")) == []


def test_last_bar_of_the_day_ends_with_the_session() -> None:
    assert bucket(at_ist(DAY, "15:29"), "1h", grid(at_ist(DAY, "15:29"))) == (
        at_ist(DAY, "15:15"),
        at_ist(DAY, "15:30"),
    )


def test_day_bar_is_the_session() -> None:
    assert bucket(at_ist(DAY, "11:00"), "1d", grid(at_ist(DAY, "11:00"))) == (
        at_ist(DAY, "09:15"),
        at_ist(DAY, "15:30"),
    )


def test_muhurat_bars_count_from_its_own_open() -> None:
    day = date(2021, 11, 4)
    at_us = at_ist(day, "18:22")
    assert bucket(at_us, "15m", grid(at_us)) == (at_ist(day, "18:15"), at_ist(day, "18:30"))


@pytest.mark.parametrize("timeframe", list(TIMEFRAMES))
def test_nothing_is_lost_between_sizes(timeframe: str) -> None:
    larger = BarAggregator(timeframe, grid)
    minutes = [_minute(f"{9 + m // 60:02}:{m % 60:02}", 100.0 + m % 13, m) for m in range(15, 375)]
    made = [bar for minute in minutes for bar in larger.update(minute)] + larger.flush(at_ist(DAY, "23:59"))
    assert sum(bar.volume for bar in made) == sum(minute.volume for minute in minutes)
    assert max(bar.high for bar in made) == max(minute.high for minute in minutes)
    assert made[0].open == minutes[0].open
    assert made[-1].close == minutes[-1].close
    assert all(one.close_us <= other.start_us for one, other in pairwise(made))
