"""Quotes over the bus: conflated, signed, lossy by nature. A lost quote costs an entry, never an exit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

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
_DECODER = msgspec.msgpack.Decoder(list[Quote])


def encode_quotes(quotes: Sequence[Quote], engine: str, key: SignalKey) -> bytes:
    """Return a signed batch; of several quotes of one symbol the last is kept."""
    payload = _ENCODER.encode(list({quote.symbol: quote for quote in quotes}.values()))
    return key.sign(b"quotes", engine.encode(), payload) + payload


def decode_quotes(message: bytes, engine: str, key: SignalKey) -> list[Quote] | None:
    """Return the quotes of a batch, or None where it is not ours or not whole."""
    signature, payload = message[:SIGNATURE_BYTES], message[SIGNATURE_BYTES:]
    if len(message) > MAX_BATCH_BYTES or not key.is_good(signature, b"quotes", engine.encode(), payload):
        return None
    try:
        quotes = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return [quote for quote in quotes if quote.price_paise > 0]


async def publish_quotes(bus: Bus, engine: str, key: SignalKey, quotes: Sequence[Quote]) -> None:
    """Publish a batch of quotes to whoever listens.

    Raises:
        BusUnavailable: Redis cannot be spoken to.
    """
    with bus.speaking():
        await bus.redis.publish(Names(engine).quotes, encode_quotes(quotes, engine, key))


async def listen_quotes(bus: Bus, engine: str, key: SignalKey, board: QuoteBoard) -> None:
    """Put what is published onto *board* until cancelled; a lost connection is made again.

    What is unsigned, broken or signed with another key is dropped without a word: quotes come many
    times a second, and one that is missing shows as its age.
    """

    def take(message: bytes) -> None:
        quotes = decode_quotes(message, engine, key)
        if quotes:
            board.update(quotes)

    while True:
        try:
            await bus.listen(Names(engine).quotes, take)
        except BusUnavailable:
            await asyncio.sleep(RECONNECT_S)
