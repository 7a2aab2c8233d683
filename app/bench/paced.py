"""`paced_accounts` and `paced_minute`: many accounts at the rate that their broker's windows allow.

Every account has more orders than there is room for. The rate of an account is that of a sender who fills
each window anew: a slot that is free late shows in it, whoever is to blame.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec

from app.bench.figures import Figure, percentile
from app.bench.sandbox_side import PLACE, Bare, Ledger, Served, Work, sandbox
from broker.base import Accepted, OrderTerms, RemoteVenue, Slot
from broker.registry import connection
from shared.clock import SystemClock
from shared.instruments import Instrument, Instruments
from shared.models import OrderType, Product, Side

IN_A_SECOND, IN_A_MINUTE = 9, 500
SHARE = 0.98
"""Of what the window allows."""

SYMBOLS = ("RELIANCE", "SBIN", "TCS", "INFY", "HDFCBANK")
THROUGH_PERCENT = 3
"""So far beyond the price a limit stands: most orders fill at once, none rests for long."""

PRICE_PAUSE_S = 0.12


@dataclass(slots=True)
class Client:
    """One account under demand, and what it was told.

    Attributes:
        sent_s: When each order left, boot time.
        took_s: How long each answer took, in the order of the answers.
        accepted: Tags of accepted orders.
        other: What became of all others, in words.
    """

    number: int
    sent_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    async def demand(self, venue: RemoteVenue, terms: OrderTerms, after_s: float, until_s: float) -> None:
        """Place an order wherever there is a slot, from *after_s* seconds on until boot time *until_s*."""
        await asyncio.sleep(after_s)
        async with asyncio.TaskGroup() as group:
            while (left_s := until_s - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(left_s):
                        slot = await venue.slot(entry=False)
                except TimeoutError:
                    return
                group.create_task(self._place(venue, terms, slot))
                # A task begins at the next turn of the loop: the order leaves before more are asked for.
                await asyncio.sleep(0)

    async def _place(self, venue: RemoteVenue, terms: OrderTerms, slot: Slot) -> None:
        tag = f"bench{self.number:03d}{len(self.sent_s):08d}"
        start_s = time.monotonic()
        self.sent_s.append(start_s)
        outcome = await venue.place(tag, terms, slot)
        self.took_s.append(time.monotonic() - start_s)
        if isinstance(outcome, Accepted):
            self.accepted.append(tag)
        else:
            self.other.append(f"{tag}: {outcome}")


async def paced_accounts(folder: Path, clients: int, seconds: float) -> Figure:
    """Measure accounts that want more than nine orders a second each."""
    return await _paced(folder, "paced_accounts", "orders/s", clients, seconds, IN_A_SECOND, 1.0)


async def paced_minute(folder: Path, clients: int, seconds: float) -> Figure:
    """Measure accounts for so long that the window of a minute binds; more than 60 seconds."""
    return await _paced(folder, "paced_minute", "orders/min", clients, seconds, IN_A_MINUTE, 60.0)


def rate(times_s: Sequence[float], window: int, length_s: float) -> float:
    """Return orders per *length_s* of a sender that fills each window with *window* orders.

    It comes from the mean time between an order and the one a window later, so that neither the first burst
    nor the moment of the end counts. 0 where there is none.
    """
    steps = len(times_s) - window
    if steps <= 0:
        return 0.0
    passed_s = sum(times_s[steps:]) - sum(times_s[:window])  # what lies in both cancels out
    return window * length_s * steps / passed_s


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of all orders.

    Attributes:
        accepted: Answers that said so.
        lost: Of these, not exactly once in the sandbox's ledger.
        limited: Requests that the sandbox turned away for their rate.
        other: Answers that said something else.
    """

    accepted: int
    lost: int
    limited: int
    other: int

    @property
    def clean(self) -> bool:
        """Whether nothing went wrong."""
        return bool(self.accepted) and not (self.lost or self.limited or self.other)


def settle(clients: Sequence[Client], ledger: Ledger) -> Settled:
    """Hold what the accounts were told against what the sandbox has."""
    tags = [tag for client in clients for tag in client.accepted]
    return Settled(
        len(tags),
        sum(len(ledger.by_tag.get(tag, ())) != 1 for tag in tags),
        sum(ledger.counts.rate_limited.values()),
        sum(len(client.other) for client in clients),
    )


# -- inside --------------------------------------------------------------------------------------


async def _paced(
    folder: Path, name: str, unit: str, count: int, seconds: float, window: int, length_s: float
) -> Figure:
    async with sandbox(count + 1) as served, aiohttp.ClientSession() as http:
        bare = Bare(http, served.accounts[count])
        await bare.open()
        instruments = [Instruments.load().get(symbol) for symbol in SYMBOLS]
        terms = await marketable(bare, instruments)
        clients = [Client(number) for number in range(count)]
        async with _opened(folder, served, count) as venues:
            before = Work.now(served.pid)
            until_s = time.monotonic() + seconds
            body = order_body(instruments[0], terms[0].price_paise)
            floor = asyncio.create_task(bare_pace(bare, body, until_s))
            # Not all in the same instant: nobody's accounts are.
            demands = [
                client.demand(venue, terms[at % len(terms)], at / count, until_s)
                for at, (client, venue) in enumerate(zip(clients, venues, strict=True))
            ]
            await asyncio.gather(*demands)
            load = Work.now(served.pid).since(before)
            sent = await floor
            settled = settle(clients, await served.ledger())
    rates = [rate(client.sent_s, window, length_s) for client in clients]
    took = [took_s * 1000 for client in clients for took_s in client.took_s]
    lowest, bare_rate = min(rates), rate(sent, window, length_s)
    return Figure(
        name=name,
        unit=unit,
        value=round(lowest, 3),
        floor=round(bare_rate, 3),
        ratio=round(lowest / bare_rate, 3) if bare_rate else 0.0,
        limit=f"≥ {SHARE * window:g}, none refused or lost",
        met=lowest >= SHARE * window and settled.clean,
        note=(
            f"slowest of {count} accounts (median {percentile(rates, 0.5):.3f}) in {seconds:g} s; "
            f"{settled.accepted} accepted, {settled.lost} lost, {settled.limited} over the limit, "
            f"{settled.other} other; answers p50 {percentile(took, 0.5):.1f} ms, mean "
            f"{sum(took) / max(len(took), 1):.1f} ms; {load}; floor: one bare account by the same rule"
        ),
    )


@contextlib.asynccontextmanager
async def _opened(home: Path, served: Served, count: int) -> AsyncIterator[list[RemoteVenue]]:
    instruments = Instruments.load()
    async with contextlib.AsyncExitStack() as stack:
        venues = []
        for account in served.accounts[:count]:
            line = connection("angel_one", account, home=home, clock=SystemClock(), instruments=instruments)
            stack.push_async_callback(line.close)
            await line.open()
            venues.append(line.venue())
            stack.push_async_callback(venues[-1].close)
        yield venues


async def marketable(bare: Bare, instruments: Sequence[Instrument]) -> list[OrderTerms]:
    """Return an order of one share of each instrument, at a limit that is good enough to fill."""
    made = []
    for each in instruments:
        price = await bare.price_paise(each.trading_symbol, each.token)
        price = price * (100 + THROUGH_PERCENT) // 100 // each.tick_paise * each.tick_paise
        terms = OrderTerms(
            Side.BUY, 1, OrderType.LIMIT, Product.INTRADAY, price, entry=False, placed_us=0,
            symbol=each.symbol, tick_paise=each.tick_paise, slippage_bps=0,
        )  # fmt: skip
        made.append(terms)
        await asyncio.sleep(PRICE_PAUSE_S)
    return made


def order_body(instrument: Instrument, price_paise: int, tag: str = "") -> bytes:
    """Return the bare request of the same order."""
    body = {
        "variety": "NORMAL",
        "tradingsymbol": instrument.trading_symbol,
        "symboltoken": instrument.token,
        "transactiontype": "BUY",
        "exchange": instrument.exchange,
        "ordertype": "LIMIT",
        "producttype": "INTRADAY",
        "duration": "DAY",
        "price": f"{price_paise // 100}.{price_paise % 100:02d}",
        "squareoff": "0",
        "stoploss": "0",
        "quantity": "1",
    }
    return msgspec.json.encode({**body, "ordertag": tag} if tag else body)


async def _until(boot_s: float) -> None:
    """Return when that moment of boot time has come: a timer alone is up to a millisecond early."""
    while (left_s := boot_s - time.monotonic()) > 0:  # noqa: ASYNC110 - time is no event
        await asyncio.sleep(left_s)


async def bare_pace(bare: Bare, body: bytes, until_s: float) -> list[float]:
    """Send by the same rule with nothing around it: a window after the answer the next may go.

    Returns:
        When each left, boot time, in order.
    """
    sent: list[float] = []
    done: list[float] = []

    async def lane() -> None:
        while True:
            at = len(sent)
            sent.append(0.0)
            if at >= IN_A_MINUTE:
                await _until(done[at - IN_A_MINUTE] + 60.0)
            sent[at] = time.monotonic()
            await bare.post(PLACE, body)
            done.append(time.monotonic())
            await _until(done[-1] + 1.0)

    lanes = [asyncio.create_task(lane()) for _ in range(IN_A_SECOND)]
    await asyncio.sleep(until_s - time.monotonic())
    for each in lanes:
        each.cancel()
    for result in await asyncio.gather(*lanes, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    return sorted(filter(None, sent))
