from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date

import pytest

from shared.calendar import MINUTE_US, SECOND_US, at_ist
from shared.clock import ManualClock
from shared.errors import VenueUnavailable
from shared.feed import FeedHealth, History, MarketTick
from shared.models import Bar
from strategy.sources.live import HOLD_S, LiveSource

OPEN_US = at_ist(date(2021, 4, 12), "09:15")


class ScriptedMarket:
    """A market whose ticks, clock and candles a test says, one by one."""

    run = "live"
    label = "scripted"

    def __init__(self, now_us: int = OPEN_US) -> None:
        self.now_us = now_us
        self.ticks: list[MarketTick] = []
        self.candles: dict[int, tuple[float, float, float, float, int]] = {}
        self.reconnects = 0
        self.asked: list[tuple[str, str, int, int]] = []
        self.fails = 0
        self.gap = ""
        self.closed = False

    async def open(self, symbols: list[str]) -> None:
        self.symbols = symbols

    async def history(self, symbol: str, timeframe: str, start_us: int, end_us: int) -> History:
        self.asked.append((symbol, timeframe, start_us, end_us))
        if self.fails:
            self.fails -= 1
            raise VenueUnavailable("no answer")
        bars = [
            Bar(symbol, "1m", at, at + MINUTE_US, *candle)
            for at, candle in sorted(self.candles.items())
            if start_us <= at and at + MINUTE_US <= end_us
        ]
        return History(bars, [(start_us, end_us, self.gap)] if self.gap else [])

    def drain(self) -> list[MarketTick]:
        ticks, self.ticks = self.ticks, []
        return ticks

    async def wait(self, timeout_s: float) -> bool:
        return bool(self.ticks)

    def market_now_us(self) -> int:
        return self.now_us

    def health(self) -> FeedHealth:
        return FeedHealth(True, 0.0, 0, 0, 0, self.reconnects)

    async def close(self) -> None:
        self.closed = True

    def tick(self, second: float, price_paise: int, volume: int = 0, symbol: str = "TCS") -> None:
        at_us = OPEN_US + round(second * SECOND_US)
        self.now_us = max(self.now_us, at_us)
        self.ticks.append(MarketTick(symbol, price_paise, at_us, at_us, volume, 1))

    def flat_candles(self, minutes: range) -> None:
        for minute in minutes:
            self.candles[OPEN_US + minute * MINUTE_US] = (100.0, 101.0, 99.0, 100.0, 50)


async def opened(
    market: ScriptedMarket, clock: ManualClock | None = None, count: int = 0, decided_us: int = 0
) -> LiveSource:
    source = LiveSource(market, {("TCS", "1m"): count}, decided_us=decided_us, clock=clock or ManualClock(0))
    await source.open()
    return source


async def bars_until(source: LiveSource, ready: Callable[[list[Bar]], bool]) -> list[Bar]:
    """Poll as the engine does; candles come by tasks of their own."""
    found: list[Bar] = []
    async with asyncio.timeout(5):
        while not ready(found):
            batch = source.next_batch(0)
            found += batch.bars if batch else []
            await asyncio.sleep(0)
    return found


def starts(bars: list[Bar]) -> list[int]:
    return [(bar.start_us - OPEN_US) // MINUTE_US for bar in bars]


async def test_first_minute_seen_in_part_comes_by_candle_and_the_next_by_ticks() -> None:
    market = ScriptedMarket(OPEN_US + 30 * SECOND_US)
    market.flat_candles(range(1))
    source = await opened(market)
    for second, price, volume in ((31, 10_010, 100), (61, 10_020, 150), (90, 10_050, 170), (119, 9_990, 180)):
        market.tick(second, price, volume)
    market.now_us = OPEN_US + 2 * MINUTE_US + SECOND_US
    bars = await bars_until(source, lambda bars: len(bars) == 2)
    assert starts(bars) == [0, 1]
    assert (bars[0].high, bars[0].volume) == (101.0, 50)
    assert (bars[1].open, bars[1].high, bars[1].low, bars[1].close) == (100.2, 100.5, 99.9, 99.9)
    # Cumulative volume: 100 at the end of the first minute, 180 at the end of the second.
    assert bars[1].volume == 80
    await source.close()
    assert market.closed


async def test_minute_is_not_closed_before_its_grace_is_over() -> None:
    market = ScriptedMarket()
    market.flat_candles(range(1))
    source = await opened(market)
    market.tick(61, 10_000)
    market.tick(119.9, 10_010)
    market.now_us = OPEN_US + 2 * MINUTE_US + SECOND_US - 1
    await bars_until(source, lambda bars: starts(bars) == [0])
    market.tick(119.95, 10_030)  # late, within the grace
    market.now_us = OPEN_US + 2 * MINUTE_US + SECOND_US
    bars = await bars_until(source, lambda bars: bool(bars))
    assert (starts(bars), bars[0].close) == ([1], 100.3)
    market.tick(119.99, 10_090)
    batch = source.next_batch(0)
    assert batch is not None and not batch.bars
    assert source.late == 1
    await source.close()


async def test_reconnect_takes_the_missed_minutes_from_candles_in_order() -> None:
    market = ScriptedMarket()
    market.flat_candles(range(6))
    source = await opened(market)
    market.tick(61, 10_000)
    market.now_us = OPEN_US + 2 * MINUTE_US + SECOND_US
    assert starts(await bars_until(source, lambda bars: len(bars) == 2)) == [0, 1]
    # Away from minute 2 to the middle of minute 4; minute 5 is whole again.
    market.reconnects += 1
    market.tick(4.5 * 60, 10_400)
    market.tick(5.2 * 60, 10_500)
    market.now_us = OPEN_US + 6 * MINUTE_US + SECOND_US
    bars = await bars_until(source, lambda bars: len(bars) == 4)
    assert starts(bars) == [2, 3, 4, 5]
    assert [bar.close for bar in bars] == [100.0, 100.0, 100.0, 105.0]
    await source.close()


async def test_no_bar_is_handed_out_past_a_hole_until_its_candles_are_there() -> None:
    market = ScriptedMarket(OPEN_US + 30 * SECOND_US)
    market.flat_candles(range(1))
    source = await opened(market)
    market.fails = 1
    market.tick(61, 10_000)
    market.now_us = OPEN_US + 2 * MINUTE_US + SECOND_US
    source.next_batch(0)
    for _ in range(10):
        await asyncio.sleep(0)
        batch = source.next_batch(0)
        assert batch is None or not batch.bars
    assert starts(await bars_until(source, lambda bars: len(bars) == 2)) == [0, 1]
    await source.close()


async def test_candles_that_never_come_are_given_up_on_and_counted() -> None:
    market, clock = ScriptedMarket(OPEN_US + 30 * SECOND_US), ManualClock(0)
    source = await opened(market, clock)
    market.gap = "the broker does not answer"
    market.tick(61, 10_000)
    market.now_us = OPEN_US + 2 * MINUTE_US + SECOND_US
    assert source.next_batch(0) is not None
    clock.advance(HOLD_S - 0.5)
    batch = source.next_batch(0)
    assert batch is None or not batch.bars
    clock.advance(1.0)
    assert starts(await bars_until(source, lambda bars: bool(bars))) == [1]
    assert source.unfilled == 1
    await source.close()


async def test_bars_decided_on_before_a_restart_are_not_handed_out_again() -> None:
    market = ScriptedMarket(OPEN_US + 5 * MINUTE_US + 20 * SECOND_US)
    market.flat_candles(range(6))
    source = await opened(market, decided_us=OPEN_US + 3 * MINUTE_US)
    market.now_us = OPEN_US + 6 * MINUTE_US + SECOND_US
    bars = await bars_until(source, lambda bars: len(bars) == 3)
    assert starts(bars) == [3, 4, 5]
    await source.close()


async def test_history_begins_enough_sessions_back_and_is_cut_to_what_is_wanted() -> None:
    market = ScriptedMarket()
    first = at_ist(date(2021, 4, 9), "09:15")  # the Friday before
    for minute in range(375):
        market.candles[first + minute * MINUTE_US] = (100.0, 101.0, 99.0, 100.0 + minute, 50)
    source = await opened(market, count=50)
    history = source.history("TCS", "1m", 50)
    assert (len(history), history[-1].close) == (50, 474.0)
    assert market.asked[0][2] == at_ist(date(2021, 4, 9), "00:00")
    await source.close()


async def test_no_history_at_all_is_told_with_the_reason() -> None:
    market = ScriptedMarket()
    market.gap = "AB1004: Something Went Wrong"
    with pytest.raises(VenueUnavailable, match="AB1004"):
        await opened(market, count=10)


async def test_bar_that_differs_from_its_candle_is_counted_and_never_changed() -> None:
    market, clock = ScriptedMarket(), ManualClock(0)
    market.flat_candles(range(3))
    source = await opened(market, clock)
    market.tick(61, 10_300)
    market.now_us = OPEN_US + 2 * MINUTE_US + SECOND_US
    bars = await bars_until(source, lambda bars: len(bars) == 2)
    await bars_until(source, lambda _: source.checked == 1)
    clock.advance(100.0)
    market.tick(121, 10_300)
    market.now_us = OPEN_US + 3 * MINUTE_US + SECOND_US
    bars += await bars_until(source, lambda bars: bool(bars))
    await bars_until(source, lambda _: source.checked == 2)
    assert source.differing == 1
    assert bars[-1].close == 103.0
    await source.close()


async def test_two_symbols_of_one_minute_are_handed_out_together() -> None:
    market = ScriptedMarket()
    market.flat_candles(range(1))
    source = LiveSource(market, {("TCS", "1m"): 0, ("INFY", "1m"): 0}, clock=ManualClock(0))
    await source.open()
    market.tick(61, 10_000, symbol="TCS")
    market.tick(62, 5_000, symbol="INFY")
    market.tick(121, 10_000, symbol="TCS")  # ends TCS's minute; INFY's is still at work
    market.now_us = OPEN_US + 2 * MINUTE_US + SECOND_US - 1
    early = await bars_until(source, lambda bars: len(bars) == 2)
    assert starts(early) == [0, 0]
    market.now_us = OPEN_US + 2 * MINUTE_US + SECOND_US
    bars = await bars_until(source, lambda bars: len(bars) == 2)
    assert [bar.symbol for bar in bars] == ["INFY", "TCS"]
    await source.close()
