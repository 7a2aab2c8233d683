"""Signals as bytes and back: parsed once, at the edge, rejected whole, never coerced.

A rejection is a value (`Poison`) with the field and the reason, so that the reader can file it as a
dead letter and go on with the next.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from shared.models import SIGNAL_SCHEMA, Signal, SignalType

MAX_PAYLOAD_BYTES = 8192
MAX_RAW_KEPT_BYTES = 2048
"""How much of a rejected message a dead letter keeps."""

PAISA = Decimal("0.01")
MAX_PRICE = Decimal(10_000_000)
MAX_REASON = 500
MAX_COUNT = 2**53
MAX_LEG = 1000
MAX_QUANTITY = 10_000_000
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
MAX_VALIDITY = timedelta(days=1)
MAX_AHEAD = timedelta(days=1)
"""Of an acceptance before now: wider than any step of a clock that must not cost a signal."""

_TEXTS = {
    "signal_id": re.compile(r"[0-9a-f]{32}"),
    "run": re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,79}"),
    "strategy_id": re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"),
    "symbol": re.compile(r"[A-Z0-9][A-Z0-9&._ -]{0,31}"),
    "timeframe": re.compile(r"[0-9]{1,4}[a-z]{1,3}"),
}


@dataclass(frozen=True, slots=True)
class Poison:
    """A message that can never be understood; it goes to a dead letter, the others flow on.

    Attributes:
        reason: Field and what is wrong with it.
        raw: The message as received, at most `MAX_RAW_KEPT_BYTES`.
    """

    reason: str
    raw: bytes


class _Head(msgspec.Struct):
    schema: int = 0


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Signal)
_HEAD_DECODER = msgspec.json.Decoder(_Head)


def encode(signal: Signal) -> bytes:
    """Return *signal* as JSON, UTF-8.

    Raises:
        ValueError: A reader would reject it; the message names the field.
    """
    wrong = fault(signal)
    payload = _ENCODER.encode(signal)
    if wrong is None and len(payload) > MAX_PAYLOAD_BYTES:
        wrong = f"message: {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES}"
    if wrong is not None:
        raise ValueError(f"signal {signal.signal_id} of {signal.strategy_id}: {wrong}")
    return payload


def decode(raw: bytes, now: datetime | None = None) -> Signal | Poison:
    """Return the signal in *raw*, or why it is none.

    Args:
        raw: One message.
        now: Wall time, aware; where given, an acceptance more than a day ahead of it is rejected.
    """
    if len(raw) > MAX_PAYLOAD_BYTES:
        return _poison(f"message: {len(raw)} bytes, at most {MAX_PAYLOAD_BYTES}", raw)
    try:
        signal = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _poison(_schema_fault(raw) or f"message: {error}", raw)
    wrong = fault(signal, now)
    # Our own encoding, byte for byte, has no duplicate keys; anything else is looked at closely.
    if wrong is None and _ENCODER.encode(signal) != raw:
        wrong = _duplicate_key(raw)
    return signal if wrong is None else _poison(wrong, raw)


def fault(signal: Signal, now: datetime | None = None) -> str | None:
    """Return the first field of *signal* that is out of bounds with the reason, or None."""
    return next(_faults(signal, now), None)


def _faults(signal: Signal, now: datetime | None) -> Iterator[str]:
    if signal.schema != SIGNAL_SCHEMA:
        yield f"schema: {signal.schema} is not known, this version reads {SIGNAL_SCHEMA}"
    for field, pattern in _TEXTS.items():
        if not pattern.fullmatch(getattr(signal, field)):
            yield f"{field}: {getattr(signal, field)[:40]!r} does not look like one"
    if signal.signal_type is SignalType.HOLD:
        yield "signal_type: HOLD is never published"
    yield from _price_faults(signal)
    yield from _time_faults(signal, now)
    if not (math.isfinite(signal.confidence) and 0.0 <= signal.confidence <= 1.0):
        yield f"confidence: {signal.confidence} is not within 0 and 1"
    if len(signal.reason) > MAX_REASON:
        yield f"reason: {len(signal.reason)} characters, at most {MAX_REASON}"
    if not 0 <= signal.bar_volume <= MAX_COUNT:
        yield f"bar_volume: {signal.bar_volume} is not a count of shares"
    if not 0 <= signal.quantity <= MAX_QUANTITY:
        yield f"quantity: {signal.quantity} is not within 0 and {MAX_QUANTITY} shares"
    if not 0 <= signal.leg <= MAX_LEG:
        yield f"leg: {signal.leg} is not within 0 and {MAX_LEG}"


def _price_faults(signal: Signal) -> Iterator[str]:
    for field, price in (("price", signal.price), ("stop", signal.stop), ("target", signal.target)):
        if price is None:
            continue
        if not price.is_finite() or not 0 < price <= MAX_PRICE:
            yield f"{field}: {str(price)[:40]} is not a price"
        # Compared, not multiplied: arithmetic rounds to 28 digits and would let a long fraction pass.
        elif price.quantize(PAISA) != price:
            yield f"{field}: {str(price)[:40]} is not a whole number of paise"


def _time_faults(signal: Signal, now: datetime | None) -> Iterator[str]:
    for field, at in (
        ("bar_close", signal.bar_close),
        ("accepted_at", signal.accepted_at),
        ("valid_until", signal.valid_until),
    ):
        if at.tzinfo is None:
            yield f"{field}: {at.isoformat()} has no time zone"
            return
        if not EARLIEST <= at < LATEST:
            yield f"{field}: {at.isoformat()} is not of this century"
    if signal.valid_until - signal.accepted_at > MAX_VALIDITY:
        yield f"valid_until: {signal.valid_until.isoformat()} is too far after the acceptance"
    if now is not None and signal.accepted_at - now > MAX_AHEAD:
        yield f"accepted_at: {signal.accepted_at.isoformat()} lies in the future"


def _schema_fault(raw: bytes) -> str | None:
    try:
        head = _HEAD_DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if head.schema == SIGNAL_SCHEMA:
        return None
    return f"schema: {head.schema} is not known, this version reads {SIGNAL_SCHEMA}"


def _duplicate_key(raw: bytes) -> str | None:
    found: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        keys = [key for key, _ in pairs]
        found.extend(key for key in keys if keys.count(key) > 1)

    json.loads(raw, object_pairs_hook=note)
    return f"{found[0]}: given more than once" if found else None


def _poison(reason: str, raw: bytes) -> Poison:
    return Poison(reason, raw[:MAX_RAW_KEPT_BYTES])
