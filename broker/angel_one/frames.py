"""Frames of market feed 2.0, read: little-endian, one tick per message, prices as whole numbers.

Layout: Angel One's documentation of WebSocket streaming 2.0. Prices are paise, of currency pairs 1e-7
rupees. Longer frames are read up to their mode's length; a last price is 64 bits wide although the
documentation says "int32".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import msgspec

from shared.feed import MarketTick

LTP, QUOTE, SNAP_QUOTE, DEPTH_20 = 1, 2, 3, 4
LENGTHS = {LTP: 51, QUOTE: 123, SNAP_QUOTE: 379, DEPTH_20: 443}
CURRENCY = 13
CURRENCY_SCALE = 100_000
"""Raw currency prices are 1e-7 rupees; a paisa is 1e-2."""

_LTP = struct.Struct("<BB25sqqq")
_QUOTE = struct.Struct("<BB25sqqqqqqddqqqq")
_SNAP = struct.Struct("<BB25sqqqqqqddqqqqqqd" + "HqqH" * 10 + "qqqq")
_DEPTH = struct.Struct("<BB25sqq" + "iih" * 40)


class MalformedFrame(ValueError):
    """A frame that cannot be read; says why."""


Level = tuple[int, int, int, int]
"""Buy/sell flag, shares, price, number of orders."""


class LtpFrame(msgspec.Struct, frozen=True, gc=False):
    """Mode 1. *time_ms*: exchange time, milliseconds since the epoch."""

    mode: int
    exchange: int
    token: str
    sequence: int
    time_ms: int
    last: int


class QuoteFrame(LtpFrame, frozen=True, gc=False):
    """Mode 2: what mode 1 has, and the day. *close* is yesterday's."""

    quantity: int
    average: int
    volume: int
    bought: float
    sold: float
    opening: int
    high: int
    low: int
    close: int


class SnapFrame(QuoteFrame, frozen=True, gc=False):
    """Mode 3: what mode 2 has, and depth, circuits, the year. *oi_change* is garbage by the documents.

    Attributes:
        bids, asks: Buyers and sellers, best first, by flag; an empty level stays on the side of its place.
    """

    trade_time: int
    open_interest: int
    oi_change: float
    upper: int
    lower: int
    year_high: int
    year_low: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class DepthFrame(msgspec.Struct, frozen=True, gc=False):
    """Mode 4: twenty levels a side, flagged as in mode 3."""

    mode: int
    exchange: int
    token: str
    time_ms: int
    received_ms: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


Frame = LtpFrame | DepthFrame

_tokens: dict[bytes, str] = {}
"""The token's 25 bytes as text; a feed says the same few thousand over and over."""

KEPT_TOKENS = 50_000


def decode(frame: bytes) -> Frame:
    """Return all that *frame* says.

    Raises:
        MalformedFrame: It is too short, or of a mode that is not known.
    """
    try:
        mode = frame[0]
        if mode == SNAP_QUOTE:
            return _snap(frame)
        if mode == QUOTE:
            head, exchange, raw, *rest = _QUOTE.unpack_from(frame)
            return QuoteFrame(head, exchange, _tokens.get(raw) or _token(raw), *rest)
        if mode == LTP:
            head, exchange, raw, sequence, time_ms, last = _LTP.unpack_from(frame)
            return LtpFrame(head, exchange, _tokens.get(raw) or _token(raw), sequence, time_ms, last)
        if mode == DEPTH_20:
            return _depth(frame)
    except (struct.error, IndexError):
        raise MalformedFrame(f"{len(frame)} bytes are no frame of mode {frame[:1].hex() or '?'}") from None
    raise MalformedFrame(f"mode {mode} is not known")


def _snap(frame: bytes) -> SnapFrame:
    # Named one by one: a starred rest, or levels read by themselves, cost a third of the whole.
    (
        mode, exchange, raw, number, time_ms, last, quantity, average, volume, bought, sold, opening, high,
        low, close, traded, interest, change,
        b1, b1_shares, b1_price, b1_orders, b2, b2_shares, b2_price, b2_orders, b3, b3_shares, b3_price,
        b3_orders, b4, b4_shares, b4_price, b4_orders, b5, b5_shares, b5_price, b5_orders,
        s1, s1_shares, s1_price, s1_orders, s2, s2_shares, s2_price, s2_orders, s3, s3_shares, s3_price,
        s3_orders, s4, s4_shares, s4_price, s4_orders, s5, s5_shares, s5_price, s5_orders,
        upper, lower, year_high, year_low,
    ) = _SNAP.unpack_from(frame)  # fmt: skip
    bids: tuple[Level, ...] = (
        (b1, b1_shares, b1_price, b1_orders), (b2, b2_shares, b2_price, b2_orders),
        (b3, b3_shares, b3_price, b3_orders), (b4, b4_shares, b4_price, b4_orders),
        (b5, b5_shares, b5_price, b5_orders),
    )  # fmt: skip
    asks: tuple[Level, ...] = (
        (s1, s1_shares, s1_price, s1_orders), (s2, s2_shares, s2_price, s2_orders),
        (s3, s3_shares, s3_price, s3_orders), (s4, s4_shares, s4_price, s4_orders),
        (s5, s5_shares, s5_price, s5_orders),
    )  # fmt: skip
    if not (b1 and b2 and b3 and b4 and b5) or s1 or s2 or s3 or s4 or s5:
        bids, asks = _by_flag(*bids, *asks)  # not five buyers, then five sellers
    return SnapFrame(
        mode, exchange, _tokens.get(raw) or _token(raw), number, time_ms, last, quantity, average, volume,
        bought, sold, opening, high, low, close, traded, interest, change, upper, lower, year_high, year_low,
        bids, asks,
    )  # fmt: skip


def _by_flag(*levels: Level) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    sides: tuple[list[Level], list[Level]] = [], []
    for number, level in enumerate(levels):
        flag, quantity, price, _ = level
        bid = flag != 0 if quantity or price else number < 5
        sides[not bid].append(level)
    return tuple(sides[0]), tuple(sides[1])


def _depth(frame: bytes) -> DepthFrame:
    mode, exchange, raw, time_ms, received_ms, *flat = _DEPTH.unpack_from(frame)
    levels = [(int(at < 60), flat[at], flat[at + 1], flat[at + 2]) for at in range(0, 120, 3)]
    token = _tokens.get(raw) or _token(raw)
    return DepthFrame(mode, exchange, token, time_ms, received_ms, tuple(levels[:20]), tuple(levels[20:]))


def _token(raw: bytes) -> str:
    """Return the text up to the first NUL; what follows it is ignored."""
    text = raw.partition(b"\0")[0].decode("ascii", "replace")
    if len(_tokens) >= KEPT_TOKENS:
        _tokens.clear()
    _tokens[raw] = text
    return text


_TICK_HEAD = struct.Struct("<xB25sqqq")
_TICK_QUOTE = struct.Struct("<xB25sqqqqqq")
_TICK_TOUCH = struct.Struct("<Hqq")
_TICK_BANDS = struct.Struct("<qq")
BID_AT, ASK_AT, BANDS_AT = 147, 247, 347


def decode_tick(frame: bytes, symbols: Mapping[bytes, str], received_us: int) -> MarketTick | None:
    """Return what a strategy needs of *frame*, or None for an instrument that is not in *symbols*.

    Args:
        frame: Mode 1, 2 or 3.
        symbols: By exchange byte and the token's 25 bytes.
        received_us: Wall time.

    Raises:
        MalformedFrame: As `decode`, and mode 4.
    """
    size = len(frame)
    try:
        mode = frame[0]
        symbol = symbols.get(frame[1:27])
        if symbol is None:
            # What follows the token's first NUL is not always more of them.
            token = frame[2:27].partition(b"\0")[0]
            symbol = symbols.get(frame[1:2] + token.ljust(25, b"\0"))
        if symbol is None:
            if LENGTHS.get(mode, 1 << 30) > size:
                raise MalformedFrame(f"{size} bytes are no frame of mode {mode}")
            return None
        if mode == SNAP_QUOTE and size >= 379:
            _, _, number, time_ms, last, quantity, _, volume = _TICK_QUOTE.unpack_from(frame)
            buy, bids, bid = _TICK_TOUCH.unpack_from(frame, BID_AT)
            sell, asks, ask = _TICK_TOUCH.unpack_from(frame, ASK_AT)
            upper, lower = _TICK_BANDS.unpack_from(frame, BANDS_AT)
            return MarketTick(
                symbol, last, time_ms * 1000, received_us, volume, quantity,
                bid if buy and bids else 0, ask if not sell and asks else 0, lower, upper, number,
            )  # fmt: skip
        if mode == QUOTE and size >= 123:
            _, _, number, time_ms, last, quantity, _, volume = _TICK_QUOTE.unpack_from(frame)
            return MarketTick(symbol, last, time_ms * 1000, received_us, volume, quantity, sequence=number)
        if mode == LTP and size >= 51:
            _, _, number, time_ms, last = _TICK_HEAD.unpack_from(frame)
            return MarketTick(symbol, last, time_ms * 1000, received_us, sequence=number)
    except (struct.error, IndexError):
        pass
    raise MalformedFrame(f"{size} bytes are no frame of mode {frame[:1].hex() or '?'}")


def token_key(exchange: int, token: str) -> bytes:
    """Return exchange and token as they stand in a frame."""
    return bytes([exchange]) + token.encode("ascii").ljust(25, b"\0")


def to_paise(raw: int, exchange: int) -> float:
    """Return a raw price in paise."""
    return raw / CURRENCY_SCALE if exchange == CURRENCY else raw
