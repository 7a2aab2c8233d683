from __future__ import annotations

from datetime import date

import pytest

from shared.calendar import SECOND_US, at_ist, day_of
from shared.clock import ManualClock
from shared.errors import ConfigurationError
from strategy.sources.base import MarketBatch
from strategy.sources.simulated import FIRST_DAY, SimulatedSource, session_day

SYMBOLS = ("TCS", "RELIANCE")


def _take(source: SimulatedSource, seconds: int) -> list[MarketBatch]:
    taken: list[MarketBatch] = []
    while len(taken) < seconds and (batch := source.next_batch(10**18)) is not None:
        taken.append(batch)
    return taken


def _market(batches: list[MarketBatch]) -> list[object]:
    return [(b.at_us, [(q.symbol, q.price_paise, q.volume) for q in b.quotes], b.bars) for b in batches]


def test_session_days_are_weekdays_from_an_unreal_date() -> None:
    assert session_day(1) == FIRST_DAY == date(2000, 1, 3)
    assert [session_day(number).weekday() for number in range(1, 11)] == [0, 1, 2, 3, 4] * 2
    assert session_day(6) == date(2000, 1, 10)


def test_first_hour_is_due_at_once_and_then_the_clock_counts() -> None:
    clock = ManualClock()
    source = SimulatedSource(SYMBOLS, clock=clock, speed=2.0)
    opened = at_ist(FIRST_DAY, "09:15")
    assert source.now_us() == opened + 3600 * SECOND_US
    while source.next_batch(source.now_us()) is not None:
        pass
    assert source.due_in_s() == 0.5
    clock.advance(10.0)
    assert source.now_us() == opened + 3620 * SECOND_US


def test_market_is_the_same_whatever_the_speed_and_the_chunks() -> None:
    fast = SimulatedSource(SYMBOLS, speed=None)
    clock = ManualClock()
    slow = SimulatedSource(SYMBOLS, speed=7.0, clock=clock)
    batches: list[MarketBatch] = []
    while len(batches) < 4000:
        while (batch := slow.next_batch(slow.now_us())) is not None:
            batches.append(batch)
        clock.advance(3.3)
    assert _market(_take(fast, len(batches))) == _market(batches)


def test_bars_are_made_of_the_quotes_before_them() -> None:
    source = SimulatedSource(("TCS",))
    batches = _take(source, 60)
    prices = [quote.price_paise for batch in batches for quote in batch.quotes]
    [bar] = batches[-1].bars
    assert all(batch.bars == [] for batch in batches[:-1])
    assert (bar.open, bar.high, bar.low, bar.close) == tuple(
        paise / 100 for paise in (prices[0], max(prices), min(prices), prices[-1])
    )
    assert bar.volume == sum(quote.volume for batch in batches for quote in batch.quotes)
    assert bar.close_us == batches[-1].at_us


def test_next_session_follows_at_once_from_the_last_prices() -> None:
    source = SimulatedSource(("TCS",))
    batches = _take(source, 22_501)
    assert source.session == 2
    assert source.label == "SIMULATED market, seed 7, session 2"
    assert day_of(batches[-2].at_us - 1) == session_day(1)
    assert batches[-1].at_us == at_ist(session_day(2), "09:15") + SECOND_US
    last = batches[-2].quotes[-1].price_paise
    assert abs(batches[-1].quotes[-1].price_paise / last - 1) < 0.02


def test_start_prices_are_continued() -> None:
    source = SimulatedSource(("TCS",), session=5, start_prices={"TCS": 100_000})
    [quote] = [quote for batch in _take(source, 30) for quote in batch.quotes][:1]
    assert abs(quote.price_paise / 100_000 - 1) < 0.02


def test_history_ends_where_the_session_begins() -> None:
    source = SimulatedSource(("TCS",), session=6, start_prices={"TCS": 100_000})
    bars = source.history("TCS", "1m", 100)
    assert len(bars) == 100
    assert bars[-1].close == 1000.0
    assert bars[-1].close_us == at_ist(session_day(5), "15:30")
    _take(source, 5000)
    assert source.history("TCS", "1m", 100) == bars
    fives = source.history("TCS", "5m", 10)
    assert [bar.timeframe for bar in fives] == ["5m"] * 10
    assert fives[-1].close == bars[-1].close


def test_unknown_symbol_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="NOBODY"):
        SimulatedSource(("NOBODY",))


def test_session_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        SimulatedSource(SYMBOLS, session=0)
