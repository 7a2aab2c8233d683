"""Composition: the engine's half and the order half, opened in order and closed in the reverse.

One process may hold both (`trading run`) or one of them (`trading engine`, `trading subscriber`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.connections import Connections
from app.marks import save_marks
from broker.base import RemoteVenue
from order.lanes import Dialer
from order.manager import OrderManager
from order.subscriber import SignalSubscriber
from shared.bus.client import Bus
from shared.bus.pointer import engine_of
from shared.bus.signing import load_signal_key
from shared.clock import SystemClock
from shared.errors import ConfigurationError, StoreError
from shared.feed import LiveMarket
from shared.instruments import Instruments
from shared.quotes import QuoteBoard
from shared.settings import Settings
from shared.store.lock import FileLock
from strategy.config import StrategyConfig, check, load_configs, wanted_bars
from strategy.engine import StrategyEngine
from strategy.outbox import Outbox
from strategy.relay import Relay
from strategy.sources.base import MarketDataSource
from strategy.sources.live import LiveSource

REPLAYS = "replays"
"""Under this the outbox counts repeated replays, so that each is a run of its own."""

SAVE_MARKS_EVERY_S = 5.0
READY_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Feed:
    """Where the market data of a run comes from.

    Attributes:
        replay: Recorded files; empty for a live market.
        again: Replay as a new run.
    """

    replay: Sequence[Path] = ()
    again: bool = False


@dataclass(slots=True)
class EngineSide:
    """Engine, outbox and relay, with their source."""

    engine: StrategyEngine
    outbox: Outbox
    relay: Relay
    source: MarketDataSource
    board: QuoteBoard


@dataclass(slots=True)
class OrderSide:
    """Order manager and subscriber."""

    manager: OrderManager
    subscriber: SignalSubscriber


@contextlib.asynccontextmanager
async def open_bus(settings: Settings) -> AsyncIterator[Bus]:
    """Open the bus of *settings* and close it at the end."""
    bus = await Bus.open(settings.home, settings.redis_url)
    try:
        yield bus
    finally:
        await bus.close()


@contextlib.asynccontextmanager
async def open_engine(
    settings: Settings, bus: Bus, feed: Feed, board: QuoteBoard, environment: str, lines: Connections
) -> AsyncIterator[EngineSide]:
    """Open the engine's half: outbox, source, relay, engine.

    Args:
        settings: As read.
        bus: Connected.
        feed: Recorded data, where there is any.
        board: Is shown every price.
        environment: What the store is marked with.
        lines: The live market, where there is one.

    Raises:
        LockHeld: Another engine works on this state.
        ConfigurationError: A strategy is configured wrongly.
        DataError: A replay file cannot be read.
    """
    secret = settings.signal_key
    key = load_signal_key(settings.home, secret.reveal() if secret else None)
    configs = load_configs(settings.strategies_file)
    outbox = await Outbox.open(settings.home, environment, SystemClock(), engine=engine_of(environment))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(outbox.close)
        # First of all: what was accepted goes on its way while the market's history is still being fetched.
        relay = await Relay.open(outbox, bus, key)
        stack.push_async_callback(relay.close)
        source: MarketDataSource | None = None
        if feed.replay:
            source = await _replay(outbox, feed)
        elif lines.market is not None:
            check(configs, Instruments.load())
            source = await _live(stack, outbox, lines.market, configs)
        engine = StrategyEngine(
            configs=configs,
            market_data=source,
            outbox=outbox,
            relay=relay,
            settings=settings,
            quotes=board,
        )
        try:
            await engine.initialize()
            saver = asyncio.create_task(_save_marks(outbox, board), name="marks")
            try:
                yield EngineSide(engine, outbox, relay, engine.source, board)
            finally:
                saver.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await saver
                await save_marks(outbox, board)
        finally:
            await engine.close()


@contextlib.asynccontextmanager
async def open_orders(
    settings: Settings,
    bus: Bus,
    board: QuoteBoard,
    environment: str,
    *,
    remotes: Mapping[str, RemoteVenue],
    dialer: Dialer | None = None,
    run: str = "",
    group: str | None = None,
    alone: bool = False,
) -> AsyncIterator[OrderSide]:
    """Open the order half: manager with the books, subscriber listening.

    Args:
        settings: As read.
        bus: Connected.
        board: Prices; fed in this process, or from the bus when *alone*.
        environment: What the store is marked with: `paper`, `sandbox`, `live` or `proof`.
        remotes: The account of each user that has one, by user id.
        run: The market that these accounts trade in: what they hold is ours before any price has come.
        group: One user group only.
        alone: No engine works in this process.

    Raises:
        LockHeld: Another process keeps the books.
        ConfigurationError: There is no such *group*.
    """
    strategies = [config.strategy_id for config in load_configs(settings.strategies_file)]
    if remotes or dialer is not None:
        board.run = run
    manager = OrderManager(
        paper_trading=settings.paper_trading,
        environment=environment,
        settings=settings,
        quotes=board,
        remotes=remotes,
        dialer=dialer,
        demo_strategies=strategies,
        group=group,
    )
    await manager.initialize()
    try:
        manager.require_lock()
        if group is not None and group not in manager.groups():
            known = ", ".join(manager.groups()) or "none"
            raise ConfigurationError(f"No user is in the group {group!r}.", remedy=f"Groups: {known}.")
        subscriber = SignalSubscriber(
            group=group, settings=settings, bus=bus, engine=engine_of(environment), quotes_from_bus=alone
        )
        try:
            await subscriber.initialize(manager)
            await subscriber.start_listening()
            yield OrderSide(manager, subscriber)
        finally:
            await subscriber.close()
    finally:
        await manager.close()


async def wait_ready(orders: OrderSide) -> None:
    """Return once the relay knows where the subscriber stands, so that a replay keeps in step with it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_TIMEOUT_S):
            await orders.subscriber.ready.wait()


def require_free(home: Path, *locks: str) -> None:
    """Make sure that nobody else works on *home* before anything is started for it.

    Raises:
        LockHeld: Somebody does; the message names them.
    """
    for name in locks:
        lock = FileLock(home / name)
        lock.acquire()
        lock.release()


async def _replay(outbox: Outbox, feed: Feed) -> MarketDataSource:
    # Imported here: a live market needs none of it.
    from strategy.sources.replay import ReplaySource

    again = 0
    if feed.again:
        again = int(await outbox.meta(REPLAYS) or 0) + 1
        await outbox.set_meta({REPLAYS: str(again)})
    return ReplaySource(list(feed.replay), again=again)


async def _live(
    stack: contextlib.AsyncExitStack, outbox: Outbox, market: LiveMarket, configs: Sequence[StrategyConfig]
) -> MarketDataSource:
    checkpoints = await outbox.checkpoints(market.run)
    source = LiveSource(
        market, wanted_bars(configs, LiveSource.timeframe), decided_us=min(checkpoints.values(), default=0)
    )
    stack.push_async_callback(source.close)
    await source.open()
    return source


async def _save_marks(outbox: Outbox, board: QuoteBoard) -> None:
    while True:
        await asyncio.sleep(SAVE_MARKS_EVERY_S)
        # Marks are for the listings: a full disk is told by who has signals to keep.
        with contextlib.suppress(StoreError):
            await save_marks(outbox, board)
