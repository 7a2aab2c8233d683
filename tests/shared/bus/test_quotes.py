from __future__ import annotations

import asyncio

from shared.bus.client import Bus
from shared.bus.quotes import Prices, QuoteListener, decode_quotes, encode_quotes, publish_quotes
from shared.bus.signing import SignalKey
from shared.models import Quote
from shared.quotes import QuoteBoard

KEY = SignalKey(b"k" * 32)
TCS = Quote("TCS", 350_000, 1_000_000, 10)


def test_quotes_arrive_in_order_with_their_market() -> None:
    prices = Prices("replay-1", [TCS, Quote("TCS", 350_100, 2_000_000)])
    assert decode_quotes(encode_quotes(prices, "main", KEY), "main", KEY) == prices


def test_unsigned_foreign_and_broken_batches_are_dropped() -> None:
    good = encode_quotes(Prices("sim", [TCS]), "main", KEY)
    assert decode_quotes(good, "other", KEY) is None
    assert decode_quotes(good, "main", SignalKey(b"x")) is None
    assert decode_quotes(good[:-1], "main", KEY) is None
    assert decode_quotes(b"", "main", KEY) is None
    signed_nonsense = KEY.sign(b"quotes", b"main", b"\xc1") + b"\xc1"
    assert decode_quotes(signed_nonsense, "main", KEY) is None
    worthless = encode_quotes(Prices("sim", [Quote("TCS", 0, 1)]), "main", KEY)
    assert decode_quotes(worthless, "main", KEY) == Prices("sim", [])


async def test_published_quotes_reach_the_board(bus: Bus) -> None:
    board, arrived = QuoteBoard(), asyncio.Event()
    board.listen(lambda _batch: arrived.set())
    task = asyncio.create_task(QuoteListener(bus, "main", KEY, board).run())
    async with asyncio.timeout(5):
        while not arrived.is_set():
            await publish_quotes(bus, "main", KEY, Prices("sim", [TCS]))
            await asyncio.sleep(0.01)
    assert board.latest("TCS") == TCS
    assert board.run == "sim"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_catching_up_puts_all_that_was_published_before_on_the_board(bus: Bus) -> None:
    board, arrived = QuoteBoard(), asyncio.Event()
    board.listen(lambda _batch: arrived.set())
    listener = QuoteListener(bus, "main", KEY, board)
    task = asyncio.create_task(listener.run())
    async with asyncio.timeout(5):
        while not arrived.is_set():
            await publish_quotes(bus, "main", KEY, Prices("sim", [TCS]))
            await asyncio.sleep(0.01)
        for price in range(1, 50):
            await publish_quotes(bus, "main", KEY, Prices("sim", [Quote("TCS", price, price)]))
            await listener.catch_up()
            assert board.latest("TCS") == Quote("TCS", price, price)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
