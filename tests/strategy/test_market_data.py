from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.clock import ManualClock
from shared.errors import ConfigurationError
from shared.models import Bar, Tick
from strategy.market_data import QUEUE_BARS, MarketDataProvider
from strategy.sources.replay import ReplaySource
from strategy.sources.simulated import SimulatedSource


def _replay(folder: Path, minutes: int) -> ReplaySource:
    path = folder / "TCS.csv"
    days = (12, 13, 15, 16, 19)
    clocks = [(days[m // 300], 555 + m % 300) for m in range(minutes)]
    rows = [f"2021-04-{day} {at // 60:02}:{at % 60:02}" for day, at in clocks]
    path.write_text("ts,open,high,low,close,volume\n" + "".join(f"{row},1,1,1,1,5\n" for row in rows))
    return ReplaySource([path])


async def test_default_provider_is_the_simulated_market_and_says_so() -> None:
    provider = MarketDataProvider(clock=ManualClock())
    await provider.initialize()
    assert provider.label.startswith("SIMULATED market")
    assert len(await provider.history("TCS", "1m", 20)) == 20
    latest = provider.latest("TCS")
    assert latest is not None
    assert latest.tick.symbol == "TCS" and 0.0 <= latest.age_s < 10.0
    await provider.close()


async def test_latest_grows_old_by_the_markets_clock() -> None:
    clock = ManualClock()
    provider = MarketDataProvider(SimulatedSource(("TCS",), clock=clock))
    provider.driven = True
    assert provider.latest("TCS") is None
    while provider.next_batch(provider.source.now_us()) is not None:
        pass
    before = provider.latest("TCS")
    clock.advance(30.0)
    after = provider.latest("TCS")
    assert before is not None and after is not None
    assert after.tick == before.tick
    assert after.age_s == before.age_s + 30.0


async def test_unknown_symbol_is_refused_with_what_there_is() -> None:
    provider = MarketDataProvider(SimulatedSource(("TCS",), clock=ManualClock()))
    with pytest.raises(ConfigurationError, match=r"'INFY'.*TCS"):
        provider.latest("INFY")
    with pytest.raises(ConfigurationError, match="'INFY'"):
        await provider.history("INFY", "1m", 5)


async def test_not_initialized_is_said() -> None:
    with pytest.raises(ConfigurationError, match="initialize"):
        MarketDataProvider().latest("TCS")


async def test_subscription_yields_every_bar_of_a_replay_and_ends(tmp_path: Path) -> None:
    provider = MarketDataProvider(_replay(tmp_path, 450))
    items = [item async for item in provider.subscribe(["TCS"])]
    bars = [item for item in items if isinstance(item, Bar)]
    assert len(bars) == 450
    assert any(isinstance(item, Tick) for item in items)


async def test_slow_subscriber_keeps_the_newest_tick_and_a_bounded_tail(tmp_path: Path) -> None:
    provider = MarketDataProvider(_replay(tmp_path, QUEUE_BARS + 200))
    provider.driven = True
    stream = provider.subscribe(["TCS"])
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    while provider.next_batch(10**18) is not None:
        pass
    first = await waiting
    rest = [item async for item in stream]
    items = [first, *rest]
    assert [type(item) for item in items[:2]] == [Tick, Bar]
    assert len(items) == 1 + QUEUE_BARS


async def test_close_ends_a_waiting_subscription() -> None:
    provider = MarketDataProvider(SimulatedSource(("TCS",), clock=ManualClock()))
    provider.driven = True
    stream = provider.subscribe(["TCS"])
    waiting = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(0)
    await provider.close()
    async with asyncio.timeout(1):
        assert await waiting is None
