"""The whole flow as a story, on real parts: the embedded server, SQLite, the paper broker.

Run it as a script (`python tests/test_complete_flow.py`) or under pytest. Five things are shown:
signals are generated, published to Redis, taken for every user, executed, and generated continuously.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

from order.manager import OrderManager
from order.reading import Reader
from order.subscriber import SignalSubscriber
from shared.bus.client import Bus
from shared.models import OrderState, Signal
from shared.settings import Settings
from strategy.engine import StrategyConfig, StrategyEngine, StrategyType
from strategy.sources.simulated import SimulatedSource

CHANNEL = "strategy_signals"
PATIENCE_S = 20.0
SPEED = 6000.0
"""Session seconds per second: a trading day in less than four seconds."""


def test_complete_flow(tmp_path: Path) -> None:
    asyncio.run(story(tmp_path))


async def story(home: Path) -> None:
    """Tell the story once in the state folder *home*."""
    settings = Settings.load(
        env_file=None, home=home, redis_url=None, database_url=None, paper_profile="instant"
    )

    async with watching(settings) as channel:
        say("1. Signal generation: a moving-average crossover on a simulated morning")
        engine = StrategyEngine(
            configs=[
                StrategyConfig(
                    strategy_id="ma_crossover",
                    strategy_type=StrategyType.MOVING_AVERAGE,
                    symbols=["RELIANCE", "TCS", "INFY"],
                    parameters={"short_window": 10, "long_window": 50, "min_confidence": 0.7},
                )
            ],
            market_data=SimulatedSource(["RELIANCE", "TCS", "INFY"], speed=SPEED),
            settings=settings,
        )
        await engine.initialize()
        signals = await engine.run_all_strategies()
        for signal in signals:
            say(f"     {signal.signal_type:<10} {signal.symbol:<9} at ₹{signal.price}  {signal.reason}")
        assert signals, "the first simulated hour has crossovers"
        assert all(signal.strategy_id == "ma_crossover" and signal.price > 0 for signal in signals)
        assert len({signal.signal_id for signal in signals}) == len(signals)

        say("2. Publishing to Redis: each signal was announced on the channel, once and in order")
        heard = [json.loads(await channel.get())["signal_id"] for _ in signals]
        assert heard == [signal.signal_id for signal in signals]

    say("3. Subscription and processing: every subscribed user gets their own order, exactly once")
    order_manager = OrderManager(paper_trading=True, settings=settings)
    await order_manager.initialize()
    subscriber = SignalSubscriber(settings=settings)
    await subscriber.initialize(order_manager)
    await subscriber.start_listening()
    await taken(subscriber, len(signals))
    users = [user.user_id for user in await order_manager.users()]
    check_every_user_answered(home, signals, users)

    say("     … and a second subscriber run over the same signals adds nothing")
    await subscriber.stop_listening()
    await subscriber.start_listening()
    check_every_user_answered(home, signals, users)

    say("4. Execution: a direct order is filled on paper; its repetition is recognised")
    order = {
        "user_id": "user_001",
        "symbol": "RELIANCE",
        "side": "BUY",
        "order_type": "MARKET",
        "quantity": 100,
        "price": 2500.0,
        "client_order_id": "story-1",
    }
    result = await order_manager.execute_order(order)
    again = await order_manager.execute_order(order)
    say(f"     {result.status}: {result.filled_quantity} at ₹{result.average_price} ({result.order_id})")
    assert result.status is OrderState.FILLED
    assert result.filled_quantity == 100
    assert abs(result.average_price - Decimal(2500)) < Decimal(5)
    assert again.order_id == result.order_id, "the same request is the same order"

    say("5. Continuous execution: the engine goes on by itself until it is told to stop")
    await engine.start_continuous_execution(interval_seconds=0.05)
    assert engine.running
    await taken(subscriber, len(signals) + 1)
    await engine.stop_continuous_execution()
    say(f"     {engine.signal_count - len(signals)} more signals")
    await taken(subscriber, engine.signal_count)

    await subscriber.close()
    await order_manager.close()
    await engine.close()
    show_books(home)


def check_every_user_answered(home: Path, signals: list[Signal], users: list[str]) -> None:
    """Each signal has one disposition for each user, and what was bought was filled."""
    with contextlib.closing(Reader(home)) as reader:
        rows = [row for row in reader.orders(10_000, all_intents=True) if row.market == "sim"]
    assert len(rows) == len(signals) * len(users)
    assert {row.user_id for row in rows} == set(users)
    ordered = [row for row in rows if row.disposition == "ORDERED"]
    assert ordered, "at least one signal was an entry"
    assert all(row.state == "FILLED" and row.filled == row.quantity for row in ordered)
    assert len({row.order_id for row in rows}) == len(rows)


def show_books(home: Path) -> None:
    """Prove the books and print where the users stand."""
    from app.verify import verify_home

    audit = verify_home(home).audit
    assert (audit.lost, audit.duplicate, audit.unexplained, audit.pending) == (0, 0, 0, 0), audit.findings
    with contextlib.closing(Reader(home)) as reader:
        for row in reader.positions():
            say(f"     {row.user_id} {row.strategy_id:<13} {row.symbol:<9} {row.quantity:>5}  net ₹{row.net}")
    say(f"The books add up: {audit.signals} signals, {audit.intents} intents, {audit.fills} fills.")


@contextlib.asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[asyncio.Queue[bytes]]:
    """Yield what is said on the channel, as any Redis client would hear it."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    bus = await Bus.open(settings.home, settings.redis_url)
    async with bus.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(CHANNEL)

        async def listen() -> None:
            while True:
                message = await pubsub.get_message(timeout=1.0)
                if message is not None:
                    heard.put_nowait(message["data"])

        listening = asyncio.create_task(listen())
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield heard
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
    await bus.close()


async def taken(subscriber: SignalSubscriber, count: int) -> None:
    """Wait until the subscriber has taken *count* signals."""
    done = asyncio.Event()
    subscriber.on_taken(lambda *_: done.set() if subscriber.taken >= count else None)
    if subscriber.taken < count:
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()


def say(line: str) -> None:
    """Tell a line of the story; pytest keeps it unless asked."""
    print(line, flush=True)


if __name__ == "__main__":
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory(prefix="trading-") as folder:
        asyncio.run(story(Path(folder)))
    sys.exit(os.EX_OK)
