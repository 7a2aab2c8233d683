from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared.calendar import Calendar
from shared.clock import ManualClock
from shared.errors import StoreError
from shared.instruments import Instruments
from shared.models import Bar, Quote
from strategy.bars import session_grid
from strategy.config import StrategyConfig
from strategy.decider import Decider
from strategy.publisher import CHECKPOINT_S, SIM_PATIENCE_S, Publisher
from strategy.sources.base import MarketBatch

Bars = Callable[..., list[Bar]]
MemoryOutbox = Any  # lives in conftest, which cannot be imported


class _Relay:
    """Takes its time: each wait costs what it was allowed."""

    def __init__(self, clock: ManualClock, taken: bool) -> None:
        self.clock, self.taken = clock, taken
        self.events: list[str] = []

    def wake(self) -> None:
        self.events.append("wake")

    async def wait_taken(self, seq: int, timeout_s: float) -> bool:
        self.events.append(f"wait {seq}")
        if not self.taken:
            self.clock.advance(timeout_s)
        return self.taken

    async def publish_quotes(self, run: str, quotes: Sequence[Quote]) -> None:
        self.events.append(f"quotes {len(quotes)}")


def _publisher(
    outbox: MemoryOutbox, *, run: str = "sim", taken: bool = True
) -> tuple[Publisher, Decider, _Relay, ManualClock]:
    clock = ManualClock()
    config = StrategyConfig("ma", "moving_average", ("TCS",), {"short_window": 1, "long_window": 2})
    grid = session_grid(Calendar.load())
    decider = Decider([config], run=run, timeframe="1m", instruments=Instruments.load(), session_of=grid)
    relay = _Relay(clock, taken)
    return Publisher(decider, outbox, relay, clock=clock, stop=asyncio.Event()), decider, relay, clock


def _decide(publisher: Publisher, decider: Decider, bars: list[Bar]) -> None:
    for bar in bars:
        publisher.waiting += decider.decide(MarketBatch(bar.close_us, [], [bar]), 10**15)


UP = [100.0] * 6 + [110.0]


async def test_quotes_go_first_then_the_signal_then_the_wait(outbox: MemoryOutbox, bars: Bars) -> None:
    publisher, decider, relay, _ = _publisher(outbox)
    _decide(publisher, decider, bars(UP, symbol="TCS"))
    publisher.show([Quote("TCS", 1, 1), Quote("TCS", 2, 2)])
    heard: list[int] = []
    assert len(await publisher.commit([lambda signal, seq: heard.append(seq)])) == 1
    assert relay.events == ["quotes 1", "wake", "wait 1"]
    assert (heard, publisher.count, publisher.waiting) == ([1], 1, [])


async def test_live_market_waits_for_nobody(outbox: MemoryOutbox, bars: Bars) -> None:
    publisher, decider, relay, _ = _publisher(outbox, run="live")
    _decide(publisher, decider, bars(UP, symbol="TCS"))
    await publisher.commit([])
    assert relay.events == ["wake"]


async def test_failed_commit_keeps_signals_and_checkpoints(outbox: MemoryOutbox, bars: Bars) -> None:
    publisher, decider, relay, _ = _publisher(outbox)
    _decide(publisher, decider, bars(UP, symbol="TCS"))
    outbox.error = StoreError("full")
    with pytest.raises(StoreError):
        await publisher.commit([])
    assert (len(publisher.waiting), len(decider.dirty), relay.events) == (1, 1, [])
    outbox.error = None
    await publisher.commit([])
    assert (publisher.waiting, decider.dirty, len(outbox.signals)) == ([], {}, 1)


async def test_signals_and_checkpoints_are_one_transaction(outbox: MemoryOutbox, bars: Bars) -> None:
    publisher, decider, _, _ = _publisher(outbox)
    seven = bars(UP, symbol="TCS")
    _decide(publisher, decider, seven)
    await publisher.commit([])
    assert outbox.commits == 1
    assert outbox.kept == {("sim", "ma", "TCS", "1m"): seven[-1].close_us}


async def test_checkpoints_alone_wait_for_company(outbox: MemoryOutbox, bars: Bars) -> None:
    publisher, decider, _, clock = _publisher(outbox)
    _decide(publisher, decider, bars([100.0] * 5, symbol="TCS"))
    await publisher.keep_up()
    assert outbox.commits == 0
    clock.advance(CHECKPOINT_S)
    await publisher.keep_up()
    await publisher.keep_up()
    assert outbox.commits == 1
    assert decider.dirty == {}


async def test_order_side_away_is_waited_for_once_then_probed(outbox: MemoryOutbox, bars: Bars) -> None:
    publisher, decider, relay, clock = _publisher(outbox, taken=False)
    wave = [100.0, 100.0, 100.0, 100.0, 110.0, 90.0, 120.0]
    _decide(publisher, decider, bars(wave, symbol="TCS"))
    signals, publisher.waiting = publisher.waiting, []
    assert len(signals) >= 2
    waits = []
    for signal in signals[:2]:
        before = clock.boot_s()
        publisher.waiting = [signal]
        await publisher.commit([])
        waits.append(clock.boot_s() - before)
    assert waits[0] == pytest.approx(SIM_PATIENCE_S)
    assert waits[1] < 0.1
    relay.taken = True
    publisher.waiting = [signals[0]]
    await publisher.commit([])
    relay.taken = False
    publisher.waiting = [signals[1]]
    before = clock.boot_s()
    await publisher.commit([])
    assert clock.boot_s() - before == pytest.approx(SIM_PATIENCE_S)


async def test_wait_ends_when_the_engine_stops(outbox: MemoryOutbox, bars: Bars) -> None:
    publisher, decider, relay, _ = _publisher(outbox, taken=False)
    _decide(publisher, decider, bars(UP, symbol="TCS"))
    publisher._stop.set()
    await publisher.commit([])
    assert relay.events == ["wake"]
