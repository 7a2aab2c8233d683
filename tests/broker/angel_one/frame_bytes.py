"""Frames of the market feed, put together by the documentation's table of offsets."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

LENGTHS = {1: 51, 2: 123, 3: 379, 4: 443}
HEAD = [("sequence_number", 27, "<q"), ("exchange_timestamp", 35, "<q"), ("last_traded_price", 43, "<q")]
DAY = [
    ("last_traded_quantity", 51, "<q"), ("average_traded_price", 59, "<q"),
    ("volume_trade_for_the_day", 67, "<q"), ("total_buy_quantity", 75, "<d"),
    ("total_sell_quantity", 83, "<d"), ("open_price_of_the_day", 91, "<q"),
    ("high_price_of_the_day", 99, "<q"), ("low_price_of_the_day", 107, "<q"), ("closed_price", 115, "<q"),
]  # fmt: skip
SNAP = [
    ("last_traded_timestamp", 123, "<q"), ("open_interest", 131, "<q"),
    ("open_interest_change_percentage", 139, "<q"), ("upper_circuit_limit", 347, "<q"),
    ("lower_circuit_limit", 355, "<q"), ("52_week_high_price", 363, "<q"), ("52_week_low_price", 371, "<q"),
]  # fmt: skip
FIELDS = {1: HEAD, 2: HEAD + DAY, 3: HEAD + DAY + SNAP}


def frame(told: Mapping[str, Any]) -> bytes:
    """Return the frame that the SDK would show as *told*."""
    mode = told["subscription_mode"]
    made = bytearray(LENGTHS[mode])
    made[0], made[1] = mode, told["exchange_type"]
    name = told["token"].encode()
    made[2 : 2 + len(name)] = name
    for field, offset, kind in FIELDS[mode]:
        struct.pack_into(kind, made, offset, told[field])
    levels = [*told.get("best_5_buy_data", ()), *told.get("best_5_sell_data", ())]
    for number, level in enumerate(levels):
        parts = level["flag"], level["quantity"], level["price"], level["no of orders"]
        struct.pack_into("<HqqH", made, 147 + 20 * number, *parts)
    return bytes(made)


def ltp(token: str, price_paise: int, time_ms: int, sequence: int = 0, exchange: int = 1) -> bytes:
    """Return a frame of mode 1."""
    return frame(
        {
            "subscription_mode": 1, "exchange_type": exchange, "token": token, "sequence_number": sequence,
            "exchange_timestamp": time_ms, "last_traded_price": price_paise,
        }
    )  # fmt: skip


def depth(
    token: str, time_ms: int, received_ms: int, buys: Sequence[tuple[int, int, int]], sells: Sequence[Any]
) -> bytes:
    """Return a frame of mode 4; levels are shares, price, orders."""
    made = bytearray(LENGTHS[4])
    made[0], made[1] = 4, 1
    made[2 : 2 + len(token)] = token.encode()
    struct.pack_into("<qq", made, 27, time_ms, received_ms)
    for start, side in ((43, buys), (243, sells)):
        for number, level in enumerate(side):
            struct.pack_into("<iih", made, start + 10 * number, *level)
    return bytes(made)
