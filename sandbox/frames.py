"""Frames of the market feed, written: little-endian, one tick per message, prices in paise."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sandbox.book import Depth, Level

LTP, QUOTE, SNAP_QUOTE, DEPTH_20 = 1, 2, 3, 4
NSE_CM = 1

_HEAD = struct.Struct("<BB25sqqq")
_QUOTE = struct.Struct("<qqqddqqqq")
_SNAP = struct.Struct("<qqd")
_LEVEL = struct.Struct("<Hqqh")
_TAIL = struct.Struct("<qqqq")
_DEPTH_HEAD = struct.Struct("<BB25sqq")
_DEPTH_LEVEL = struct.Struct("<iih")

LTP_AT = 43
"""Where the last price stands; the time is eight bytes before it, the number sixteen."""

PATCH = struct.Struct("<qqq")
PATCH_AT = 27
"""Number, time (ms) and last price stand side by side: what a flood of frames changes."""

NOBODY = Level(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a frame can say of an instrument; paise, shares, milliseconds."""

    token: bytes
    sequence: int
    time_ms: int
    last: int
    quantity: int
    average: int
    volume: int
    bought: float
    sold: float
    opening: int
    high: int
    low: int
    close: int
    trade_time: int
    depth: Depth
    upper: int
    lower: int
    year_high: int
    year_low: int


def encode(snapshot: Snapshot, mode: int) -> bytes:
    """Return the frame of *mode*: 51, 123, 379 or 443 bytes."""
    s = snapshot
    if mode == DEPTH_20:
        return _encode_depth(s)
    head = _HEAD.pack(mode, NSE_CM, s.token, s.sequence, s.time_ms, s.last)
    if mode == LTP:
        return head
    quote = _QUOTE.pack(s.quantity, s.average, s.volume, s.bought, s.sold, s.opening, s.high, s.low, s.close)
    if mode == QUOTE:
        return head + quote
    levels = [
        _LEVEL.pack(flag, level.quantity, level.price, level.orders)
        for flag, side in ((1, s.depth.bids), (0, s.depth.asks))
        for level in _filled(side, 5)
    ]
    tail = _TAIL.pack(s.upper, s.lower, s.year_high, s.year_low)
    return b"".join((head, quote, _SNAP.pack(s.trade_time, 0, 0.0), *levels, tail))


def _encode_depth(s: Snapshot) -> bytes:
    head = _DEPTH_HEAD.pack(DEPTH_20, NSE_CM, s.token, s.time_ms, 0)
    levels = [
        _DEPTH_LEVEL.pack(level.quantity, level.price, level.orders)
        for side in (s.depth.bids, s.depth.asks)
        for level in _filled(side, 20)
    ]
    return head + b"".join(levels)


def _filled(side: tuple[Level, ...], levels: int) -> tuple[Level, ...]:
    return (*side, *(NOBODY,) * (levels - len(side)))
