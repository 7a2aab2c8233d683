"""Bars over an ex-date: a strategy that crosses one thinks on the new basis."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from shared.calendar import Calendar, at_ist
from shared.ex_dates import ExDate, ExDates
from shared.instruments import Instruments
from shared.models import Bar
from strategy.bars import session_grid
from strategy.basis import Basis
from strategy.config import StrategyConfig
from strategy.decider import Decider
from strategy.sources.base import MarketBatch

SPLIT = ExDate("RELIANCE", date(2024, 10, 28), "bonus", Decimal(2))
DEMERGER = ExDate("RELIANCE", date(2024, 10, 28), "demerger")
DAY = date(2024, 10, 21)


def bar(number: int, price: float) -> Bar:
    """Return the daily bar of the *number*th calendar day from the 21st on."""
    start = at_ist(DAY + timedelta(days=number), "09:15")
    return Bar("RELIANCE", "1d", start, start + 1, price, price + 2, price - 2, price, 1000)


def crossed(ex_date: ExDate, *prices: float) -> list[tuple[float, int]]:
    """Return close and volume of what is fed before the last price, which is on the ex-date."""
    basis = Basis([ex_date], 3)
    *before, last = prices
    for number, price in enumerate(before):
        basis.note(bar(number, price))
    first = bar(7, last)
    assert bar(6, last).start_us < basis.next_us <= first.start_us
    return [(each.close, each.volume) for each in basis.cross(first)]


def test_bars_before_a_bonus_are_brought_to_its_basis() -> None:
    assert crossed(SPLIT, 2000, 2010, 2020, 2030, 1016) == [(1005, 2000), (1010, 2000), (1015, 2000)]


def test_bars_that_are_adjusted_already_stay() -> None:
    assert crossed(SPLIT, 1005, 1010, 1015, 990) == [(1005, 1000), (1010, 1000), (1015, 1000)]


def test_nothing_before_a_demerger_is_of_use() -> None:
    assert crossed(DEMERGER, 2000, 2010, 1800) == []


def test_two_ex_dates_at_once_count_both() -> None:
    basis = Basis([ExDate("RELIANCE", date(2024, 10, 22), "split", Decimal(5)), SPLIT], 3)
    basis.note(bar(0, 2000))
    assert [each.close for each in basis.cross(bar(7, 201))] == [200]


def decisions(prices: list[float], ex_dates: ExDates) -> list[tuple[str, str]]:
    """Return kind and day of what a moving average says to daily bars of these closes."""
    config = StrategyConfig(
        "ma", "moving_average", ("RELIANCE",), {"short_window": 2, "long_window": 4, "min_confidence": 0.0}
    )
    decider = Decider(
        [config], run="replay-x", timeframe="1d", instruments=Instruments.load(),
        session_of=session_grid(Calendar.load()), ex_dates=ex_dates,
    )  # fmt: skip
    found = []
    for number, price in enumerate(prices):
        each = bar(number, price)
        found += decider.decide(MarketBatch(each.close_us, [], [each]), 0)
    return [(signal.signal_type.value, signal.bar_close.date().isoformat()) for signal in found]


def test_strategy_says_over_a_bonus_what_it_says_of_adjusted_prices() -> None:
    real = [2000.0, 1990, 1980, 1970, 1980, 2010, 2040, 1020, 1030, 1010, 980, 970, 990, 1020]
    adjusted = [price / 2 if number < 7 else price for number, price in enumerate(real)]
    told = decisions(real, ExDates([SPLIT]))
    assert told == decisions(adjusted, ExDates())
    assert told != decisions(real, ExDates()), "without it the drop is taken for a crash"
    assert len(told) > 1
