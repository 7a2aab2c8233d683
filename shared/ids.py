"""Ids that come out of what they name, so that doing a thing twice gives the same id."""

from __future__ import annotations

import base64
import hashlib
import secrets

TAG_LENGTH = 17
"""Characters of an order tag; the broker allows 20 in `ordertag`."""


def _digest(*parts: object, size: int) -> bytes:
    # A length before each part: ("ab", "c") and ("a", "bc") must not meet.
    hasher = hashlib.blake2b(digest_size=size)
    for part in parts:
        raw = str(part).encode()
        hasher.update(len(raw).to_bytes(4, "big"))
        hasher.update(raw)
    return hasher.digest()


def signal_id(run: str, strategy_id: str, symbol: str, timeframe: str, close_us: int, leg: int) -> str:
    """Return the id of a signal: 32 hex characters, a function of what was decided on and nothing else.

    Args:
        run: `live`, `sim` or the fingerprint of replayed data.
        strategy_id: Which strategy.
        symbol: Trading symbol.
        timeframe: Of the deciding bar.
        close_us: Bar close, microseconds since the epoch.
        leg: Tells several signals on one bar apart.
    """
    return _digest("signal", run, strategy_id, symbol, timeframe, close_us, leg, size=16).hex()


def direct_id(user_id: str, client_order_id: str) -> str:
    """Return the id under which `execute_order` files a request: the same for a repeated request."""
    return _digest("direct", user_id, client_order_id, size=16).hex()


def order_tag(account: str, user_id: str, signal: str, leg: int, slice_no: int, attempt: int) -> str:
    """Return the 17-character tag that goes to the broker as `ordertag`; the order's public id."""
    raw = _digest("order", account, user_id, signal, leg, slice_no, attempt, size=11)
    return base64.b32encode(raw).decode()[:TAG_LENGTH]


def new_epoch() -> str:
    """Return a random id for a stream epoch; unguessable and never seen before."""
    return secrets.token_hex(8)


def new_client_order_id() -> str:
    """Return a random id for a direct order whose caller gave none."""
    return secrets.token_hex(12)
