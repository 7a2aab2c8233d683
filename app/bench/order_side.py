"""The order side of the latency bench, its own process: `python -m app.bench.order_side HOME USERS KIND`.

It takes signals as `trading subscriber` does and notes when each transaction was durable. It also
answers pings on a stream, which measures the bare hop. On SIGTERM it prints its notes as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.bench.scene import PING, PONG, STRATEGY
from order.manager import OrderManager
from order.subscriber import SignalSubscriber
from order.users import Limits, Sizing, SizingMethod, Terms
from shared.bus.client import Bus
from shared.errors import BusUnavailable
from shared.settings import Settings

ROOM = Decimal(10) ** 9
MANY = 1_000_000

BARE = Limits(
    capital_inr=ROOM,
    max_order_inr=ROOM,
    max_positions=MANY,
    max_entries_day=MANY,
    max_entries_symbol_day=MANY,
    max_orders_second=10_000,
    max_orders_minute=100_000,
)
"""Nothing comes near them."""

WHOLE = Limits(capital_inr=Decimal(1_000_000), max_entries_day=MANY, max_entries_symbol_day=MANY)
"""A new user's, but for what hundreds of entries a day use up: their number, and their cost."""

FAMILY = 2
SHARES = Decimal(5)


async def main(home: Path, users: int, *, bare: bool) -> None:
    """Take signals for so many users until told to stop, then print what was noted."""
    settings = Settings.load(env_file=None, home=home, paper_profile="instant")
    bus = await Bus.open(home, settings.redis_url)
    manager = OrderManager(settings=settings, demo_strategies=())
    await manager.initialize()
    terms = {STRATEGY: Terms(sizing=Sizing(SizingMethod.FIXED_QUANTITY, SHARES))}
    for number in range(users):
        family = "" if bare else f"family_{number // FAMILY}"
        limits = BARE if bare else WHOLE
        await manager.add_user(f"bench_{number:05d}", limits=limits, subscriptions=terms, family=family)
    subscriber = SignalSubscriber(settings=settings, bus=bus, quotes_from_bus=False)
    durable: dict[int, int] = {}

    def note(_: str, seq: int) -> None:
        durable.setdefault(seq, time.monotonic_ns())

    subscriber.on_taken(note)
    await subscriber.initialize(manager)
    await subscriber.start_listening()
    echo = asyncio.create_task(_echo(bus))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await subscriber.ready.wait()
    print("ready", flush=True)
    await stop.wait()
    echo.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await echo
    await subscriber.close()
    await manager.close()
    await bus.close()
    print(json.dumps(sorted(durable.items())), flush=True)


async def _echo(bus: Bus) -> None:
    last: str | bytes = "$"
    while True:
        with contextlib.suppress(BusUnavailable), bus.speaking():
            reply: Any = await bus.redis.xread({PING: last}, block=1000)
            for batch in (reply or {}).get(PING.encode(), []):
                for entry_id, _ in batch:
                    last = entry_id
                    await bus.redis.xadd(PONG, {b"x": b""})


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), bare=sys.argv[3] == "bare"))
