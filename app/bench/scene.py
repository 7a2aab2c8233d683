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

from order.place import Place
from shared.bus.client import Bus
from shared.bus.signing import load_signal_key
from shared.clock import SystemClock, utc_now
from shared.ids import signal_id
from shared.models import Signal, SignalType, instant, microseconds
from shared.settings import Settings
from strategy.outbox import Outbox
from strategy.relay import Relay

STRATEGY = "bench"
RUN = "replay-bench"
PING, PONG = "bench:ping", "bench:pong"
SYMBOL, PRICE = "RELIANCE", Decimal("1950.05")
STOP = Decimal("1930.05")
HELD = ("TCS", "INFY")
FIRST_BAR = datetime.fromisoformat("2021-04-12T04:00:00+00:00")
PAIR_S = 62
"""From an entry to the next: more than the time for which an exit keeps entries of the same family off."""

START_TIMEOUT_S, TAKE_TIMEOUT_S = 60.0, 60.0
USERS_A_SECOND = 100
"""At least so many are stored while the order side starts."""


@dataclass(slots=True)
class Scene:
    """Two processes, ready.

    Attributes:
        pid: Of the order side.
        bare: Users without a family and positions beside, and with limits that nothing comes near.
        protected: Entries carry a stop, which is an order of its own.
        accepted: Time of acceptance by seq, ns of the machine's monotonic clock.
        durable: The same for the last order, as the order side noted it; filled at the end.
    """

    home: Path
    bus: Bus
    outbox: Outbox
    relay: Relay
    pid: int
    bare: bool
    protected: bool
    number: int = 0
    accepted: dict[int, int] = field(default_factory=dict)
    durable: dict[int, int] = field(default_factory=dict)

    def signals(self, count: int) -> list[Signal]:
        """Return the next *count* signals: entries and exits in turn, so that each makes orders."""
        made = []
        for _ in range(count):
            self.number += 1
            pairs, second = divmod(self.number - 1, 2)
            apart = timedelta(seconds=self.number if self.bare else pairs * PAIR_S + second)
            kind = SignalType.SELL if second else SignalType.BUY
            stop = STOP if self.protected and not second else None
            made.append(_signal(SYMBOL, kind, FIRST_BAR + apart, stop))
        return made

    async def hold(self) -> None:
        """Let every user hold positions beside, which the rules value with each entry."""
        stop = STOP if self.protected else None
        signals = [
            _signal(symbol, SignalType.BUY, FIRST_BAR - timedelta(seconds=PAIR_S * before), stop)
            for before, symbol in zip(range(len(HELD), 0, -1), HELD, strict=True)
        ]
        seqs = await self.outbox.commit(RUN, signals, {})
        self.relay.wake()
        await self.relay.wait_taken(seqs[-1], TAKE_TIMEOUT_S)

    async def publish(self, signals: list[Signal]) -> int:
        """Accept signals and return the number of the last."""
        at_ns = time.monotonic_ns()
        seqs = await self.outbox.commit(RUN, signals, {})
        self.relay.wake()
        for seq in seqs:
            self.accepted[seq] = at_ns
        return seqs[-1]

    def refused(self) -> int:
        """Return how many orders a rule refused: such a one costs less."""
        return self.number_of("SELECT count(*) FROM orders WHERE state = 'REFUSED'")

    def number_of(self, query: str) -> int:
        """Return the one number that *query* finds in the order store; 0 where it finds none."""
        with contextlib.closing(Place.of(Settings.load(env_file=None, home=self.home)).reader()) as reader:
            (found,) = next(iter(reader.database.connection.execute(query)))
            return int(found or 0)

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
async def scene(
    home: Path, users: int, *, bare: bool = False, protected: bool = False
) -> AsyncIterator[Scene]:
    """Open both sides in *home* for so many users; see `Scene` for the rest."""
    bus = await Bus.open(home)
    clock = SystemClock()
    outbox = await Outbox.open(home, "paper", clock)
    relay = await Relay.open(outbox, bus, load_signal_key(home), clock)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.bench.order_side", str(home), str(users), "bare" if bare else "whole"),
        stdout=asyncio.subprocess.PIPE, env=environment(home, paper=True),
    )  # fmt: skip
    assert child.stdout is not None
    opened = Scene(home, bus, outbox, relay, child.pid, bare, protected)
    try:
        async with asyncio.timeout(START_TIMEOUT_S + users / USERS_A_SECOND):
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


def environment(home: Path, *, paper: bool) -> dict[str, str]:
    """Return the environment of a child that works on *home*."""
    return {**os.environ, "TRADING_HOME": str(home), "PAPER_TRADING": "true" if paper else "false"}


def _signal(symbol: str, kind: SignalType, close: datetime, stop: Decimal | None = None) -> Signal:
    now = utc_now(SystemClock())
    return Signal(
        signal_id=signal_id(RUN, STRATEGY, symbol, "1m", microseconds(close), 0),
        run=RUN,
        strategy_id=STRATEGY,
        symbol=symbol,
        timeframe="1m",
        signal_type=kind,
        price=PRICE,
        bar_close=instant(microseconds(close)),
        accepted_at=now,
        valid_until=now + timedelta(seconds=60),
        stop=stop,
        reason="bench",
        bar_volume=100_000,
    )


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
