"""`order_call`: what our client adds to an order's round trip, beside a bare POST of the same order."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from app.bench.figures import Figure, percentile
from app.bench.paced import SYMBOLS, marketable, order_body
from app.bench.sandbox_side import PLACE, Bare, sandbox
from broker.base import Accepted, OrderTerms, RemoteVenue
from broker.registry import connection
from shared.clock import SystemClock
from shared.errors import VenueUnavailable
from shared.instruments import Instruments

ACCOUNTS = 12
"""Half for our client, half for the bare one: in turns, so that no account comes near its windows."""

OWN_LIMIT_MS = 0.6
WARM_UP = 30
PAUSE_S = 0.012


async def order_call(folder: Path, rounds: int) -> Figure:
    """Measure one call at a time, ours and bare in turns, against one sandbox at its own limits.

    Raises:
        VenueUnavailable: The sandbox does not start, or takes an order not.
    """
    instruments = Instruments.load()
    known = [instruments.get(symbol) for symbol in SYMBOLS]
    ours: list[float] = []
    bares: list[float] = []
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(sandbox(ACCOUNTS))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        venues: list[RemoteVenue] = []
        for account in served.accounts[: ACCOUNTS // 2]:
            line = connection("angel_one", account, home=folder, clock=SystemClock(), instruments=instruments)
            stack.push_async_callback(line.close)
            await line.open()
            venues.append(line.venue())
            stack.push_async_callback(venues[-1].close)
        others = [Bare(http, account) for account in served.accounts[ACCOUNTS // 2 :]]
        for each in others:
            await each.open()
        terms = await marketable(others[0], known)
        for turn in range(rounds + WARM_UP):
            pair = turn % len(venues)
            at = turn % len(known)
            body = order_body(known[at], terms[at].price_paise, f"bare{turn:013d}")
            if turn % 2:
                ours.append(await _ours(venues[pair], f"ours{turn:013d}", terms[at]))
                await asyncio.sleep(PAUSE_S)
                bares.append(await _bare(others[pair], body))
            else:
                bares.append(await _bare(others[pair], body))
                await asyncio.sleep(PAUSE_S)
                ours.append(await _ours(venues[pair], f"ours{turn:013d}", terms[at]))
            await asyncio.sleep(PAUSE_S)
    return figure(ours[WARM_UP:], bares[WARM_UP:], f"{rounds} calls each in turns, paced under the limits")


def figure(ours_ms: list[float], bares_ms: list[float], how: str) -> Figure:
    """Return the figure: our median may be so much above the bare one."""
    p50, floor = percentile(ours_ms, 0.5), percentile(bares_ms, 0.5)
    return Figure(
        name="order_call",
        unit="ms",
        p50=round(p50, 3),
        p99=round(percentile(ours_ms, 0.99), 3),
        floor=round(floor, 3),
        ratio=round(p50 / floor, 2),
        limit=f"p50 ≤ floor + {OWN_LIMIT_MS:g}",
        met=p50 - floor <= OWN_LIMIT_MS,
        note=f"our own {p50 - floor:.3f} ms; {how}; floor: a bare aiohttp POST of the same order",
    )


async def _ours(venue: RemoteVenue, tag: str, terms: OrderTerms) -> float:
    # The slot comes first, as in the product: a wait for it is no cost of the call.
    slot = await venue.slot(entry=False)
    start = time.perf_counter()
    outcome = await venue.place(tag, terms, slot)
    took = (time.perf_counter() - start) * 1000
    if not isinstance(outcome, Accepted):
        raise VenueUnavailable(f"The sandbox of the measurement does not take an order: {outcome}.")
    return took


async def _bare(bare: Bare, body: bytes) -> float:
    start = time.perf_counter()
    status, answer = await bare.post(PLACE, body)
    took = (time.perf_counter() - start) * 1000
    if status != 200 or b'"status":true' not in answer:
        raise VenueUnavailable(f"The sandbox of the measurement does not take an order: HTTP {status}.")
    return took
