"""Quotes over the bus: signed, lossy by nature. A lost quote costs an entry, never an exit."""

from __future__ import annotations

import asyncio
import secrets
from typing import NoReturn

import msgspec

from shared.bus.client import Bus
from shared.bus.pointer import Names
from shared.bus.signing import SIGNATURE_BYTES, SignalKey
from shared.errors import BusUnavailable
from shared.models import Quote
from shared.quotes import QuoteBoard

MAX_BATCH_BYTES = 4_000_000
RECONNECT_S = 0.5
CATCH_UP_S = 0.5

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


class QuoteListener:
    """Puts what an engine publishes onto a board.

    What is unsigned, broken or signed with another key is dropped without a word: quotes come many
    times a second, and one that is missing shows as its age.
    """

    def __init__(self, bus: Bus, engine: str, key: SignalKey, board: QuoteBoard) -> None:
        self._bus = bus
        self._engine = engine
        self._key = key
        self._board = board
        self._marks: dict[bytes, asyncio.Event] = {}

    async def run(self) -> NoReturn:
        """Listen until cancelled; a lost connection is made again."""
        while True:
            try:
                await self._bus.listen(Names(self._engine).quotes, self._take)
            except BusUnavailable:
                await asyncio.sleep(RECONNECT_S)

    async def catch_up(self) -> None:
        """Return once what was published before is on the board, or after `CATCH_UP_S`.

        Signals and quotes come over two connections. A mark of our own, sent behind the quotes,
        comes back behind them.

        Raises:
            BusUnavailable: Redis cannot be spoken to.
        """
        mark = secrets.token_bytes(8)
        heard = self._marks[mark] = asyncio.Event()
        try:
            async with asyncio.timeout(CATCH_UP_S):
                with self._bus.speaking():
                    await self._bus.redis.publish(Names(self._engine).quotes, mark)
                await heard.wait()
        except TimeoutError:
            return
        finally:
            del self._marks[mark]

    def _take(self, message: bytes) -> None:
        if message in self._marks:
            self._marks[message].set()
            return
        prices = decode_quotes(message, self._engine, self._key)
        if prices is not None and prices.quotes:
            # Without its market a price is worth nothing: orders at work belong to one.
            self._board.run = prices.run
            self._board.update(prices.quotes)
