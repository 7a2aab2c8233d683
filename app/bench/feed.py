"""`feed_ticks` and `feed_memory`: a flood of the sandbox's feed, from the socket to the strategies.

The whole live path is at work: login, market feed, ticks, one-minute bars, two strategies, outbox. What has
come through is counted where the engine shows prices, just before the strategies see the bars of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from app.bench.figures import Figure, percentile, single
from app.bench.sandbox_side import Bare, Served, Work, sandbox
from broker.registry import connection
from shared.clock import SystemClock
from shared.feed import FeedHealth
from shared.instruments import Instruments
from shared.models import Quote
from shared.quotes import QuoteBoard
from strategy.config import StrategyConfig, StrategyType, wanted_bars
from strategy.engine import StrategyEngine
from strategy.outbox import Outbox
from strategy.sources.live import LiveSource

SYMBOLS = ("RELIANCE", "TCS", "INFY", "SBIN", "HDFCBANK")
LIMIT = 20_000.0
MOST = 300_000
"""Frames a second that the sandbox is asked for where its most is wanted: more than it can send."""

STEADY = 25_000
SPEED = 60
"""Market seconds per second: every symbol closes a bar each second."""

SETTLE_S = 2.0
SAMPLE_S = 1.0
GROWTH = 1.02
"""The resident memory may be so much larger than after the first minute."""

NSE_CM, SNAP_QUOTE = 1, 3
PAGE_KB = os.sysconf("SC_PAGE_SIZE") / 1024


@dataclass(slots=True)
class Flood:
    """A live engine under a flood.

    Attributes:
        ticks: What has come through to the strategies' side.
    """

    served: Served
    source: LiveSource
    engine: StrategyEngine
    ticks: int = 0

    def count(self, quotes: Sequence[Quote]) -> None:
        """Take what the engine shows."""
        self.ticks += len(quotes)

    @property
    def health(self) -> FeedHealth:
        """How the feed does."""
        return self.source.health


async def feed_ticks(folder: Path, rounds: int, seconds: float) -> Figure:
    """Measure ticks per second through the live path, in turns with a bare client of the same flood."""
    rates: list[float] = []
    bares: list[float] = []
    shares: list[float] = []
    load = ""
    for turn in range(rounds):
        async with sandbox(2, "--flood", str(MOST), "--speed", str(SPEED)) as served:
            bares.append(await _bare_rate(served, seconds))
            async with flooded(folder, served, turn) as flood:
                await asyncio.sleep(min(SETTLE_S, seconds))
                ticks, frames, before = flood.ticks, flood.health.frames, Work.now(served.pid)
                await asyncio.sleep(seconds)
                after = Work.now(served.pid)
                rates.append((flood.ticks - ticks) / (after.at_s - before.at_s))
                shares.append((flood.ticks - ticks) / (flood.health.frames - frames))
                load = after.since(before)
    return single(
        "feed_ticks",
        "ticks/s",
        percentile(rates, 0.5),
        percentile(bares, 0.5),
        LIMIT,
        f"median of {rounds}, {min(shares) * 100:.1f} % of the frames came through; {load}; "
        "floor: a bare aiohttp client that counts the same flood",
        at_least=True,
    )


async def feed_memory(folder: Path, seconds: float, settled_s: float) -> Figure:
    """Measure resident memory after *settled_s* and at the end of a flood that lasts *seconds*."""
    samples: list[tuple[float, float]] = []
    async with (
        sandbox(1, "--flood", str(STEADY), "--speed", str(SPEED)) as served,
        flooded(folder, served, 0) as flood,
    ):
        ticks, before = flood.ticks, Work.now(served.pid)
        while (passed := time.monotonic() - before.at_s) < seconds:
            samples.append((passed, resident_mb()))
            await asyncio.sleep(SAMPLE_S)
        through, load = (flood.ticks - ticks) / passed, Work.now(served.pid).since(before)
        theirs = resident_mb(served.pid)
        bars, health = flood.engine.bars_decided, flood.health
    note = (
        f"{seconds:g} s at {through:,.0f} ticks/s, {bars:,} bars decided, {health.malformed} malformed, "
        f"{health.reconnects} reconnects; sandbox {theirs:.0f} MB at the end; {load}; "
        f"floor: after {settled_s:g} s"
    )
    return growth(samples, settled_s, note)


def growth(samples: Sequence[tuple[float, float]], settled_s: float, note: str) -> Figure:
    """Return the memory at the end beside that at *settled_s*: medians of a tenth of the time each.

    Args:
        samples: Seconds since the start and MB, in order.
        settled_s: From when on nothing may grow.
        note: How it was measured.
    """
    width = samples[-1][0] / 10
    first = percentile([mb for at, mb in samples if settled_s <= at < settled_s + width], 0.5)
    last = percentile([mb for at, mb in samples if at > samples[-1][0] - width], 0.5)
    made = single("feed_memory", "MB", last, first, GROWTH * first, note)
    return msgspec.structs.replace(made, limit=f"≤ {GROWTH:g} × floor")


def resident_mb(pid: int | str = "self") -> float:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB / 1024


@contextlib.asynccontextmanager
async def flooded(folder: Path, served: Served, number: int) -> AsyncIterator[Flood]:
    """Run the live path on the feed of *served* until the context ends."""
    home = folder / f"feed{number}"
    configs = [
        StrategyConfig("ma_crossover", StrategyType.MOVING_AVERAGE, SYMBOLS),
        StrategyConfig("rsi", StrategyType.RSI, SYMBOLS),
    ]
    async with contextlib.AsyncExitStack() as stack:
        outbox = await Outbox.open(home, "paper", SystemClock())
        stack.push_async_callback(outbox.close)
        line = connection(
            "angel_one",
            served.accounts[0],
            home=home,
            clock=SystemClock(),
            instruments=Instruments.load(),
        )
        stack.push_async_callback(line.close)
        await line.open()
        source = LiveSource(line.market(served.market, "flood"), wanted_bars(configs, LiveSource.timeframe))
        stack.push_async_callback(source.close)
        await source.open()
        board = QuoteBoard()
        engine = StrategyEngine(configs=configs, market_data=source, outbox=outbox, quotes=board)
        flood = Flood(served, source, engine)
        board.listen(flood.count)
        await engine.initialize()
        stack.push_async_callback(engine.close)
        running = asyncio.create_task(engine.run_source(speed=1.0, until_end=False), name="engine")
        try:
            yield flood
        finally:
            await engine.stop_continuous_execution()
            await running


async def _bare_rate(served: Served, seconds: float) -> float:
    """Return frames per second that a client gets who does nothing with them."""
    instruments = Instruments.load()
    tokens = [instruments.get(symbol).token for symbol in SYMBOLS]
    asked = {
        "correlationID": "bare000001",
        "action": 1,
        "params": {"mode": SNAP_QUOTE, "tokenList": [{"exchangeType": NSE_CM, "tokens": tokens}]},
    }
    async with aiohttp.ClientSession() as http:
        bare = Bare(http, served.accounts[1])
        await bare.open()
        async with http.ws_connect(served.accounts[1].feed_url, headers=bare.headers, compress=0) as feed:
            await feed.send_str(msgspec.json.encode(asked).decode())
            frames, start = 0, time.monotonic()
            async for _ in feed:
                frames += 1
                if (passed := time.monotonic() - start) >= seconds:
                    return frames / passed
    return 0.0
