"""The engine's side of the latency bench: outbox and relay here, the order side in its own process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.bus.client import Bus
from shared.bus.signing import load_signal_key
from shared.clock import SystemClock, utc_now
from shared.ids import signal_id
from shared.models import Signal, SignalType, instant, microseconds
from strategy.outbox import Outbox
from strategy.relay import Relay

STRATEGY = "bench"
RUN = "replay-bench"
PING, PONG = "bench:ping", "bench:pong"
SYMBOL, PRICE = "RELIANCE", Decimal("1950.05")
FIRST_BAR = datetime.fromisoformat("2021-04-12T04:00:00+00:00")
START_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Scene:
    """Two processes, ready.

    Attributes:
        accepted: Time of acceptance by seq, ns of the machine's monotonic clock.
        durable: The same for the last order, as the order side noted it; filled at the end.
    """

    home: Path
    bus: Bus
    outbox: Outbox
    relay: Relay
    number: int = 0
    accepted: dict[int, int] = field(default_factory=dict)
    durable: dict[int, int] = field(default_factory=dict)

    def signals(self, count: int) -> list[Signal]:
        """Return the next *count* signals: entries and exits in turn, so that each makes orders."""
        made = []
        now = utc_now(SystemClock())
        for _ in range(count):
            self.number += 1
            close = FIRST_BAR + timedelta(seconds=self.number)
            made.append(
                Signal(
                    signal_id=signal_id(RUN, STRATEGY, SYMBOL, "1m", microseconds(close), 0),
                    run=RUN,
                    strategy_id=STRATEGY,
                    symbol=SYMBOL,
                    timeframe="1m",
                    signal_type=SignalType.BUY if self.number % 2 else SignalType.SELL,
                    price=PRICE,
                    bar_close=instant(microseconds(close)),
                    accepted_at=now,
                    valid_until=now + timedelta(seconds=60),
                    reason="bench",
                    bar_volume=100_000,
                )
            )
        return made

    async def publish(self, signals: list[Signal]) -> int:
        """Accept signals and return the number of the last."""
        at_ns = time.monotonic_ns()
        seqs = await self.outbox.commit(RUN, signals, {})
        self.relay.wake()
        for seq in seqs:
            self.accepted[seq] = at_ns
        return seqs[-1]

    def latencies_ms(self) -> list[float]:
        """Return acceptance to last durable order of every signal, in order."""
        noted = sorted(self.durable.items())
        found = []
        for seq, at_ns in sorted(self.accepted.items()):
            # A transaction may take several signals; the order side notes its last.
            done = next((when for last, when in noted if last >= seq), None)
            if done is not None:
                found.append((done - at_ns) / 1e6)
        return found


@contextlib.asynccontextmanager
async def scene(home: Path, users: int) -> AsyncIterator[Scene]:
    """Open both sides in *home* for so many users."""
    bus = await Bus.open(home)
    clock = SystemClock()
    outbox = await Outbox.open(home, "paper", clock)
    relay = await Relay.open(outbox, bus, load_signal_key(home), clock)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.bench.order_side", str(home), str(users), stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TRADING_HOME": str(home)},
    )  # fmt: skip
    assert child.stdout is not None
    opened = Scene(home, bus, outbox, relay)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while (line := await child.stdout.readline()) and line != b"ready\n":
                pass  # what it logs before it is ready
        yield opened
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        said, _ = await child.communicate()
        opened.durable.update(
            {int(seq): int(at) for seq, at in json.loads(said.splitlines()[-1] if said else "[]")}
        )
        await relay.close()
        await outbox.close()
        await bus.close()


async def hop_ms(bus: Bus, rounds: int) -> float:
    """Return the median of half a round trip over two streams between the two processes."""
    times = []
    last: str | bytes = "$"
    for _ in range(rounds):
        start = time.perf_counter()
        waiting = asyncio.create_task(_pong(bus, last))
        await asyncio.sleep(0)
        await bus.redis.xadd(PING, {b"x": b""})
        last = await waiting
        times.append((time.perf_counter() - start) * 500)
        await asyncio.sleep(0.002)
    return sorted(times)[len(times) // 2]


async def _pong(bus: Bus, last: str | bytes) -> bytes:
    reply: Any = await bus.redis.xread({PONG: last}, block=1000)
    entry: bytes = reply[PONG.encode()][0][-1][0]
    return entry


def fdatasync_ms(folder: Path, rounds: int, pause_s: float) -> float:
    """Return the median of one paced append of 4 KiB with fdatasync on the folder's disk."""
    path, times = folder / "floor", []
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for _ in range(rounds):
            start = time.perf_counter()
            os.write(fd, b"x" * 4096)
            os.fdatasync(fd)
            times.append((time.perf_counter() - start) * 1000)
            time.sleep(pause_s)
    finally:
        os.close(fd)
        path.unlink()
    return sorted(times)[len(times) // 2]
