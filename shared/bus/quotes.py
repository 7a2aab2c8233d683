"""Quotes over the bus: signed, lossy by nature. A lost quote costs an entry, never an exit."""

from __future__ import annotations

import asyncio

import msgspec

from shared.bus.client import Bus
from shared.bus.pointer import Names
from shared.bus.signing import SIGNATURE_BYTES, SignalKey
from shared.errors import BusUnavailable
from shared.models import Quote
from shared.quotes import QuoteBoard

MAX_BATCH_BYTES = 4_000_000
RECONNECT_S = 0.5

_ENCODER = msgspec.msgpack.Encoder()


class Prices(msgspec.Struct, frozen=True, array_like=True):
    """A batch of quotes, oldest first, with the market (`live`, `sim`, `replay-…`) that they are of."""

    run: str
    quotes: list[Quote]


_DECODER = msgspec.msgpack.Decoder(Prices)


def encode_quotes(prices: Prices, engine: str, key: SignalKey) -> bytes:
    """Return a signed batch."""
    payload = _ENCODER.encode(prices)
    return key.sign(b"quotes", engine.encode(), payload) + payload


def decode_quotes(message: bytes, engine: str, key: SignalKey) -> Prices | None:
    """Return a batch, or None where it is not ours or not whole."""
    signature, payload = message[:SIGNATURE_BYTES], message[SIGNATURE_BYTES:]
    if len(message) > MAX_BATCH_BYTES or not key.is_good(signature, b"quotes", engine.encode(), payload):
        return None
    try:
        prices = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Prices(prices.run, [quote for quote in prices.quotes if quote.price_paise > 0])


async def publish_quotes(bus: Bus, engine: str, key: SignalKey, prices: Prices) -> None:
    """Publish a batch to whoever listens.

    Raises:
        BusUnavailable: Redis cannot be spoken to.
    """
    with bus.speaking():
        await bus.redis.publish(Names(engine).quotes, encode_quotes(prices, engine, key))


async def listen_quotes(bus: Bus, engine: str, key: SignalKey, board: QuoteBoard) -> None:
    """Put what is published onto *board* until cancelled; a lost connection is made again.

    What is unsigned, broken or signed with another key is dropped without a word: quotes come many
    times a second, and one that is missing shows as its age.
    """

    def take(message: bytes) -> None:
        prices = decode_quotes(message, engine, key)
        if prices is not None and prices.quotes:
            # Without its market a price is worth nothing: orders at work belong to one.
            board.run = prices.run
            board.update(prices.quotes)

    while True:
        try:
            await bus.listen(Names(engine).quotes, take)
        except BusUnavailable:
            await asyncio.sleep(RECONNECT_S)
