from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from broker.account import Egress
from broker.angel_one import feed_socket, market_feed
from broker.angel_one.market_feed import MarketFeed
from shared.clock import Clock, ManualClock, SystemClock
from shared.errors import ConfigurationError, LoginRefused
from shared.instruments import Instrument
from tests.broker.angel_one.feed_peer import FeedPeer
from tests.broker.angel_one.frame_bytes import ltp
from tests.broker.angel_one.peer import Client, until

NOW_MS = 1_795_256_100_000
Make = Callable[..., MarketFeed]


def instrument(number: int) -> Instrument:
    return Instrument(f"S{number}", f"S{number}-EQ", str(number), 5, 1, None, "EQ", False, False, False)


INFY = Instrument("INFY", "INFY-EQ", "1594", 5, 1, None, "EQ", False, True, True)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_socket, "AGAIN_FIRST_S", 0.001)
    monkeypatch.setattr(feed_socket, "AGAIN_MOST_S", 0.01)
    monkeypatch.setattr(feed_socket, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(feed_socket, "GOODBYE_S", 0.1)


@pytest.fixture
async def far() -> AsyncIterator[FeedPeer]:
    async with FeedPeer() as serving:
        yield serving


@pytest.fixture
async def make(client: Client, far: FeedPeer) -> AsyncIterator[Make]:
    made: list[MarketFeed] = []

    def new(
        *, expected: Callable[[], bool] = lambda: False, live: bool = False, clock: Clock | None = None
    ) -> MarketFeed:
        clock = clock or SystemClock()
        made.append(MarketFeed(far.url, client.session, Egress(), clock, expected=expected, live=live))
        return made[-1]

    yield new
    for each in made:
        await each.close()
        await each.close()


async def opened(feed: MarketFeed, *instruments: Instrument) -> MarketFeed:
    feed.subscribe(instruments or [INFY])
    async with asyncio.timeout(5):
        await feed.wait_open()
    return feed


async def heard(feed: MarketFeed, far: FeedPeer, *frames: bytes | str) -> list[tuple[str, int, int]]:
    """Say *frames* and return symbol, price and sequence of the ticks that came of them."""
    before = feed.frames
    for frame in frames:
        await far.say(frame)
    await until(lambda: feed.frames == before + sum(isinstance(frame, bytes) for frame in frames))
    return [(tick.symbol, tick.price_paise, tick.sequence) for tick in feed.drain()]


# -- subscriptions --------------------------------------------------------------------------------


async def test_subscription_is_the_documented_message(far: FeedPeer, make: Make) -> None:
    await opened(make())
    await until(lambda: len(far.said[0]) == 1)
    assert far.asked(0) == [
        {
            "correlationID": "sub0000000",
            "action": 1,
            "params": {"mode": 3, "tokenList": [{"exchangeType": 1, "tokens": ["1594"]}]},
        }
    ]


def tokens_of(asked: list[Any]) -> list[str]:
    return [token for each in asked for group in each["params"]["tokenList"] for token in group["tokens"]]


async def test_many_are_spread_in_batches_over_three_connections(far: FeedPeer, make: Make) -> None:
    await opened(make(), *(instrument(number) for number in range(2_500)))
    await until(lambda: sum(map(len, far.said)) == 5)
    assert sorted(len(tokens_of(far.asked(number))) for number in range(3)) == [500, 1000, 1000]
    everything = [token for number in range(3) for token in tokens_of(far.asked(number))]
    assert sorted(map(int, everything)) == list(range(2_500))
    assert all(len(each["correlationID"]) == 10 for number in range(3) for each in far.asked(number))


async def test_more_than_the_connections_carry_is_refused(make: Make) -> None:
    feed = make()
    with pytest.raises(ConfigurationError, match=r"3001 instruments .* 3,000"):
        feed.subscribe([instrument(number) for number in range(3_001)])
    feed.subscribe([instrument(number) for number in range(3_000)])
    with pytest.raises(ConfigurationError, match="3001 instruments"):
        feed.subscribe([instrument(3_000)])


async def test_instrument_that_is_subscribed_twice_counts_once(far: FeedPeer, make: Make) -> None:
    feed = await opened(make(), INFY, INFY)
    feed.subscribe([INFY])
    assert await heard(feed, far, ltp("1594", 100, NOW_MS)) == [("INFY", 100, 0)]
    assert len(far.handshakes) == 1
    assert tokens_of(far.asked(0)) == ["1594"]


async def test_instrument_without_a_token_is_refused_by_name(make: Make) -> None:
    nameless = Instrument("NEW", "NEW-EQ", "", 5, 1, None, "EQ", False, False, False)
    with pytest.raises(ConfigurationError, match="NEW has no token"):
        make().subscribe([INFY, nameless])


async def test_everything_is_subscribed_again_after_a_break(far: FeedPeer, make: Make) -> None:
    feed = await opened(make(), *(instrument(number) for number in range(700)))
    await until(lambda: len(far.said[0]) == 2)
    await far.hang_up()
    await until(lambda: len(far.said) == 2 and len(far.said[1]) == 2)
    assert tokens_of(far.asked(1)) == tokens_of(far.asked(0))
    await until(lambda: feed.health().reconnects == 1 and feed.health().connected)
    assert await heard(feed, far, ltp("7", 500, NOW_MS)) == [("S7", 500, 0)]


async def test_refused_subscription_is_logged_and_not_fatal(
    far: FeedPeer, make: Make, client: Client
) -> None:
    feed = await opened(make())
    jwt = (await client.session.tokens()).jwt
    with capture_logs() as logged:
        error = f'{{"correlationID":"a","errorCode":"E1002","errorMessage":"limit of {jwt}"}}'
        assert await heard(feed, far, error, "gibberish", "[]", ltp("1594", 100, NOW_MS)) == [
            ("INFY", 100, 0)
        ]
    told = [(entry["code"], entry["why"]) for entry in logged if entry["log_level"] == "error"]
    assert told[0] == ("E1002", "limit of ***")
    assert len(told) == 3


# -- ticks ----------------------------------------------------------------------------------------


async def test_tick_keeps_its_sequence_its_time_and_when_it_came(far: FeedPeer, make: Make) -> None:
    clock = ManualClock(NOW_MS * 1000 + 250_000)
    feed = await opened(make(clock=clock))
    await far.say(ltp("1594", 190735, NOW_MS, 12))
    assert await feed.wait(5)
    (tick,) = feed.drain()
    assert (tick.sequence, tick.at_us, tick.received_us - tick.at_us) == (12, NOW_MS * 1000, 250_000)
    assert feed.newest_us == NOW_MS * 1000
    assert not await feed.wait(0.001)


async def test_malformed_frame_is_counted_and_not_fatal(far: FeedPeer, make: Make) -> None:
    feed = await opened(make())
    good = ltp("1594", 100, NOW_MS)
    bad = [b"", b"\x09", good[:-1], b"\x03" + good[1:], ltp("1594", 0, NOW_MS), ltp("1594", -5, NOW_MS)]
    bad.append(ltp("1594", 100, 0))
    with capture_logs() as logged:
        assert await heard(feed, far, *bad, good) == [("INFY", 100, 0)]
    health = feed.health()
    assert (health.malformed, health.frames, health.reconnects, health.connected) == (7, 8, 0, True)
    assert len(logged) == 1, "told once, then only counted"


async def test_tick_from_the_future_is_malformed_on_a_live_market_alone(far: FeedPeer, make: Make) -> None:
    ahead = ltp("1594", 100, NOW_MS + 60_001)
    live = await opened(make(live=True, clock=ManualClock(NOW_MS * 1000)))
    assert await heard(live, far, ahead, ltp("1594", 100, NOW_MS + 60_000)) == [("INFY", 100, 0)]
    assert live.health().malformed == 1
    await live.close()
    await until(lambda: far.open == [])
    rehearsal = await opened(make(clock=ManualClock(NOW_MS * 1000)))
    assert await heard(rehearsal, far, ahead) == [("INFY", 100, 0)]


async def test_what_goes_back_or_comes_twice_is_dropped_and_counted(far: FeedPeer, make: Make) -> None:
    feed = await opened(make())
    frames = [
        ltp("1594", 101, NOW_MS, 5), ltp("1594", 102, NOW_MS, 5), ltp("1594", 103, NOW_MS, 4),
        ltp("1594", 104, NOW_MS - 1, 6), ltp("1594", 105, NOW_MS, 6), ltp("1594", 106, NOW_MS + 1, 1),
    ]  # fmt: skip
    assert await heard(feed, far, *frames) == [("INFY", 101, 5), ("INFY", 105, 6), ("INFY", 106, 1)]
    assert (feed.repeated, feed.backward) == (1, 2)


async def test_index_without_sequence_is_never_a_repetition(far: FeedPeer, make: Make) -> None:
    feed = await opened(make())
    frames = [ltp("1594", 101, NOW_MS), ltp("1594", 102, NOW_MS)]
    assert await heard(feed, far, *frames) == [("INFY", 101, 0), ("INFY", 102, 0)]


async def test_frame_of_an_instrument_that_nobody_wants_is_ignored(far: FeedPeer, make: Make) -> None:
    feed = await opened(make())
    assert await heard(feed, far, ltp("2885", 1, NOW_MS), ltp("1594", 1, NOW_MS, exchange=3)) == []
    assert feed.health().malformed == 0


async def test_slow_reader_gets_the_newest_of_each(
    far: FeedPeer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_feed, "MOST_WAITING", 10)
    feed = await opened(make(), instrument(1), instrument(2))
    frames = [ltp(str(number % 2 + 1), 100 + number, NOW_MS + number) for number in range(11)]
    assert await heard(feed, far, *frames) == [("S1", 110, 0), ("S2", 109, 0)]
    assert feed.conflated == 9


# -- silence --------------------------------------------------------------------------------------


async def test_silence_while_the_market_is_open_ends_the_connection(
    far: FeedPeer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_feed, "SILENCE_S", 0.1)
    with capture_logs() as logged:
        feed = await opened(make(expected=lambda: True))
        await until(lambda: feed.health().reconnects >= 1)
    assert next(entry["why"] for entry in logged if "why" in entry).startswith("silent for")


async def test_silence_of_a_closed_market_is_borne(
    far: FeedPeer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_feed, "SILENCE_S", 0.02)
    feed = await opened(make(expected=lambda: False))
    await until(lambda: far.pings >= 5)
    assert feed.health().reconnects == 0
    assert feed.health().silent_s > 0.02


async def test_quiet_before_the_open_is_no_silence_of_the_session(client: Client, far: FeedPeer) -> None:
    clock, opening = ManualClock(), [False]
    feed = MarketFeed(far.url, client.session, Egress(), clock, expected=lambda: opening[0], live=True)
    clock.advance(3600)
    assert not feed.silent(3600)
    opening[0] = True
    for second in range(31):
        assert not feed.silent(3600 + second)
        clock.advance(1)
    assert feed.silent(3631)
    assert not feed.silent(5)


async def test_feed_that_a_refused_login_has_ended_begins_anew_with_the_next_session(
    make: Make, client: Client, far: FeedPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = await opened(make())
    with monkeypatch.context() as patch:
        patch.setattr(client.session, "_stopped", LoginRefused("A one-time code is needed."))
        patch.setattr(client.session, "_tokens", None)
        await far.hang_up()
        await until(lambda: "code is needed" in feed.health().trouble)
        assert not await feed.wait(0.05)
        assert len(far.handshakes) == 1, "nobody logs in again by themselves"
    await feed.wait(0.05)
    await until(lambda: feed.health().connected)
    assert await heard(feed, far, ltp("1594", 250_000, NOW_MS, 1)) == [("INFY", 250_000, 1)]
