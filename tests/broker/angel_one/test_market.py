from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime

import pytest

from broker.account import Egress
from broker.angel_one import feed_socket
from broker.angel_one.endpoints import CANDLES
from broker.angel_one.market import AngelOneMarket
from broker.angel_one.market_feed import MarketFeed
from shared.calendar import IST, Calendar
from shared.clock import ManualClock
from shared.errors import ConfigurationError, VenueUnavailable
from shared.instruments import Instrument, Instruments
from shared.models import microseconds
from tests.broker.angel_one.feed_peer import FeedPeer
from tests.broker.angel_one.frame_bytes import ltp
from tests.broker.angel_one.peer import Client, Peer, success

NOW_US = microseconds(datetime(2021, 4, 12, 10, 0, tzinfo=IST))
SBIN = Instrument("SBIN", "SBIN-EQ", "3045", 5, 1, None, "EQ", False, True, True)
Make = Callable[[str], AngelOneMarket]


@pytest.fixture
async def far() -> AsyncIterator[FeedPeer]:
    async with FeedPeer() as serving:
        yield serving


@pytest.fixture
async def make(client: Client, far: FeedPeer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    monkeypatch.setattr(feed_socket, "GOODBYE_S", 0.1)
    made: list[AngelOneMarket] = []

    def new(run: str) -> AngelOneMarket:
        clock = ManualClock(NOW_US)
        feed = MarketFeed(
            far.url, client.session, Egress(), clock, expected=lambda: False, live=run == "live"
        )
        made.append(
            AngelOneMarket(client.rest, feed, Instruments([SBIN]), Calendar.load(), clock, run, "here")
        )
        return made[-1]

    yield new
    for each in made:
        await each.close()
        await each.close()


async def test_live_market_is_open_with_its_feed_and_goes_by_the_wall(make: Make, far: FeedPeer) -> None:
    market = make("live")
    await market.open(["SBIN"])
    assert market.market_now_us() == NOW_US
    assert market.health().connected
    await far.say(ltp("3045", 100, NOW_US // 1000 - 5))
    assert await market.wait(5)
    assert [(tick.symbol, tick.price_paise) for tick in market.drain()] == [("SBIN", 100)]
    assert market.market_now_us() == NOW_US


async def test_rehearsal_is_open_once_its_clock_is_known(make: Make, far: FeedPeer) -> None:
    far.greeting = ltp("3045", 100, 1_000)
    market = make("sandbox-1")
    await market.open(["SBIN"])
    assert market.market_now_us() == 1_000_000


async def test_rehearsal_without_a_tick_does_not_open(
    make: Make, far: FeedPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.angel_one.market.OPEN_TIMEOUT_S", 0.3)
    with pytest.raises(VenueUnavailable, match="nothing came"):
        await make("sandbox-1").open(["SBIN"])
    assert len(far.handshakes) == 1


async def test_unknown_symbol_is_refused(make: Make, far: FeedPeer) -> None:
    with pytest.raises(ConfigurationError, match="NONE"):
        await make("live").open(["NONE"])
    assert far.handshakes == []


async def test_history_comes_by_candles(make: Make, peer: Peer) -> None:
    peer.on[CANDLES.path] = success([["2021-04-12T09:15:00+05:30", 100, 101, 99, 100.5, 7]])
    start = microseconds(datetime(2021, 4, 12, 9, 15, tzinfo=IST))
    found = await make("live").history("SBIN", "1m", start, NOW_US)
    assert [(bar.symbol, bar.close, bar.volume) for bar in found.bars] == [("SBIN", 100.5, 7)]
    assert peer.seen(CANDLES)[0].json["symboltoken"] == "3045"
