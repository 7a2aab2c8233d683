"""A rehearsal to be measured: sandbox, engine's side and order side, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

from app.bench.account_side import Cast, Login, Sent
from app.bench.hole import Hole
from app.bench.sandbox_side import Bare, Served, sandbox
from app.bench.scene import STRATEGY, environment
from broker.account import BrokerAccount
from shared.bus.client import Bus
from shared.bus.signing import load_signal_key
from shared.clock import SystemClock, utc_now
from shared.ids import signal_id
from shared.instruments import Instruments
from shared.models import Quote, Signal, SignalType, instant, rupees
from strategy.outbox import Outbox
from strategy.relay import Relay

QUOTES = "/rest/secure/angelbroking/market/v1/quote/"
THROUGH_PERCENT = 1
"""Signals name a price so much above the market's: entries fill at once."""

STOP_PERCENT = 4
QUOTES_EVERY_S = 0.5
START_TIMEOUT_S = 120.0
VALID = timedelta(seconds=60)


class _Quoted(msgspec.Struct):
    symbolToken: str
    ltp: float


class _Fetched(msgspec.Struct):
    fetched: list[_Quoted]


class _Answer(msgspec.Struct):
    data: _Fetched


class _Info(msgspec.Struct):
    market_time_us: int


@dataclass(slots=True)
class Rehearsed:
    """All sides, ready; every account takes entries.

    Attributes:
        hole: The way of the first accounts to the sandbox, where some have one of their own.
        prices: Paise, by symbol of all that can be traded.
        sent: What went out, as the order side noted it; filled at the end.
    """

    home: Path
    served: Served
    hole: Hole
    prices: dict[str, int]
    outbox: Outbox
    relay: Relay
    started_us: int
    started_s: float
    sent: list[Sent] = field(default_factory=list)

    @property
    def market_us(self) -> int:
        """Market time of now."""
        return self.started_us + round((time.monotonic() - self.started_s) * 1e6)

    def entry(self, symbol: str, *, protected: bool = False) -> Signal:
        """Return an entry of this moment, with a stop where it is *protected*."""
        now, at_us, run = utc_now(SystemClock()), self.market_us, self.served.market
        price = self.prices[symbol]
        stop = price * (100 - STOP_PERCENT) // 100 // 100 * 100
        return Signal(
            signal_id=signal_id(run, STRATEGY, symbol, "1m", at_us, 0),
            run=run,
            strategy_id=STRATEGY,
            symbol=symbol,
            timeframe="1m",
            signal_type=SignalType.BUY,
            price=rupees(price),
            bar_close=instant(at_us),
            accepted_at=now,
            valid_until=now + VALID,
            stop=rupees(stop) if protected else None,
            reason="bench",
            bar_volume=100_000,
        )

    async def give(self, signals: list[Signal]) -> int:
        """Accept signals; return when, ns of the machine's monotonic clock."""
        at_ns = time.monotonic_ns()
        await self.outbox.commit(self.served.market, signals, {})
        self.relay.wake()
        return at_ns

    async def quote_on(self) -> None:
        """Show prices as a feed does, for as long as this task lives."""
        while True:
            now_us, at_us = SystemClock().now_us(), self.market_us
            quotes = [Quote(symbol, paise, at_us, 10**6, now_us) for symbol, paise in self.prices.items()]
            await self.relay.publish_quotes(self.served.market, quotes)
            await asyncio.sleep(QUOTES_EVERY_S)


@contextlib.asynccontextmanager
async def rehearsed(home: Path, count: int, *, behind_hole: int = 0) -> AsyncIterator[Rehearsed]:
    """Open a rehearsal of *count* accounts in *home*, the first of them behind a hole that may swallow."""
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(sandbox(count + 1))
        port = urlsplit(served.accounts[0].base_url).port
        assert port is not None, "the sandbox tells its port"
        hole = await stack.enter_async_context(Hole(port))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        bare = Bare(http, served.accounts[count])
        await bare.open()
        prices = await _prices(bare)
        async with http.get(f"{served.accounts[0].base_url}/sandbox/info") as reply:
            started_us = msgspec.json.decode(await reply.read(), type=_Info).market_time_us
        bus = await Bus.open(home)
        stack.push_async_callback(bus.close)
        clock = SystemClock()
        outbox = await Outbox.open(home, "sandbox", clock)
        stack.push_async_callback(outbox.close)
        relay = await Relay.open(outbox, bus, load_signal_key(home), clock)
        stack.push_async_callback(relay.close)
        opened = Rehearsed(
            home, served, hole, prices, outbox, relay, started_us, time.monotonic()
        )
        quoting = asyncio.create_task(opened.quote_on(), name="quotes")
        stack.callback(quoting.cancel)
        logins = [_login(each, hole.port if at < behind_hole else port)
                  for at, each in enumerate(served.accounts[:count])]  # fmt: skip
        async with _order_side(home, Cast(served.market, logins), opened.sent):
            await asyncio.sleep(2 * QUOTES_EVERY_S)  # it listens from now on, and an entry wants a price
            yield opened


@contextlib.asynccontextmanager
async def _order_side(home: Path, cast_of: Cast, sent: list[Sent]) -> AsyncIterator[None]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.bench.account_side", str(home)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26,
        env=environment(home, paper=False),
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None, "asked for above"
    try:
        child.stdin.write(msgspec.json.encode(cast_of) + b"\n")
        await child.stdin.drain()
        async with asyncio.timeout(START_TIMEOUT_S):
            while (line := await child.stdout.readline()) and line != b"ready\n":
                pass  # what it logs before it is ready
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        said, _ = await child.communicate()
        last = said.splitlines()[-1] if said else b"[]"
        sent += msgspec.json.decode(last, type=list[Sent])


async def _prices(bare: Bare) -> dict[str, int]:
    known = {each.token: each for each in Instruments.load() if each.token and each.tradable}
    body = {"mode": "LTP", "exchangeTokens": {"NSE": list(known)}}
    _, answer = await bare.post(QUOTES, msgspec.json.encode(body))
    found = {}
    for row in msgspec.json.decode(answer, type=_Answer).data.fetched:
        each = known[row.symbolToken]
        paise = round(row.ltp * (100 + THROUGH_PERCENT))
        found[each.symbol] = paise // each.tick_paise * each.tick_paise
    return found


def _login(account: BrokerAccount, port: int) -> Login:
    secrets: Sequence[str] = [
        each.reveal()
        for each in (account.api_key, account.client_code, account.pin, account.totp_secret)
    ]
    urls = (account.base_url, account.feed_url, account.order_feed_url)
    return Login(*secrets, *(_through(url, port) for url in urls))


def _through(url: str, port: int) -> str:
    """Return *url* on another port of the same machine."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.hostname}:{port}"))
