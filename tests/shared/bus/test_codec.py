from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.codec import MAX_PAYLOAD_BYTES, MAX_RAW_KEPT_BYTES, Poison, decode, encode
from shared.models import Signal, SignalType

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def signal(**changes: Any) -> Signal:
    fields: dict[str, Any] = {
        "signal_id": "0123456789abcdef" * 2,
        "run": "replay-abc.2",
        "strategy_id": "ma_crossover",
        "symbol": "M&M",
        "timeframe": "1m",
        "signal_type": SignalType.BUY,
        "price": Decimal("2500.05"),
        "bar_close": NOW,
        "accepted_at": NOW,
        "valid_until": NOW + timedelta(seconds=60),
    }
    return Signal(**(fields | changes))


def raw(**changes: Any) -> bytes:
    fields = json.loads(encode(signal()))
    fields.update(changes)
    return json.dumps(fields).encode()


@given(
    price=st.decimals(min_value="0.05", max_value=9_999_999, places=2),
    stop=st.none() | st.decimals(min_value="0.05", max_value=9_999_999, places=2),
    confidence=st.floats(0, 1),
    reason=st.text(st.characters(codec="utf-8"), max_size=100),
    add=st.booleans(),
    micros=st.integers(0, 10**12),
)
def test_signal_encoded_and_decoded_is_the_same(
    price: Decimal, stop: Decimal | None, confidence: float, reason: str, add: bool, micros: int
) -> None:
    sent = signal(
        price=price,
        stop=stop,
        confidence=confidence,
        reason=reason,
        add=add,
        bar_close=NOW + timedelta(microseconds=micros),
    )
    assert decode(encode(sent), NOW) == sent


def test_price_as_a_json_number_is_exact() -> None:
    got = decode(encode(signal()).replace(b'"2500.05"', b"2500.10"))
    assert isinstance(got, Signal) and got.price == Decimal("2500.10")


GOOD = encode(signal())

BROKEN = {
    "empty": (b"", "message"),
    "not json": (b"hello", "message"),
    "not utf-8": (GOOD.replace(b"M&M", b"M\xff\xfe"), "message"),
    "truncated": (GOOD[:-20], "message"),
    "trailing": (GOOD + b"{}", "message"),
    "huge": (GOOD + b" " * MAX_PAYLOAD_BYTES, "message"),
    "deep": (b"[" * 8000, "message"),
    "deep object": (b'{"schema":' * 800, "message"),
    "array": (b"[1,2]", "message"),
    "duplicate key": (GOOD.replace(b'"symbol":"M&M"', b'"symbol":"M&M","symbol":"TCS"'), "symbol"),
    "duplicate key, same value": (GOOD.replace(b'"leg":0', b'"leg":0,"leg":0'), "leg"),
    "unknown field": (raw(shares=5), "shares"),
    "missing field": (GOOD.replace(b'"symbol":"M&M",', b""), "symbol"),
    "unknown schema": (raw(schema=2), "schema"),
    "unknown schema, other fields": (b'{"schema":7,"new":1}', "schema"),
    "nan price": (raw(price="NaN"), "price"),
    "infinite price": (raw(price="-Infinity"), "price"),
    "overflowing price": (GOOD.replace(b'"2500.05"', b"1e400"), "price"),
    "tiny price": (raw(price="1e-400"), "price"),
    "absurd exponent": (raw(price="1E+99999"), "price"),
    "zero price": (raw(price="0"), "price"),
    "negative price": (raw(price="-1"), "price"),
    "fraction of a paisa": (raw(price="100.005"), "price"),
    "long fraction": (raw(price="100.05000000000000000000000000000000001"), "price"),
    "bool as price": (raw(price=True), "price"),
    "word as price": (raw(price="cheap"), "price"),
    "negative stop": (raw(stop="-1"), "stop"),
    "nan target": (raw(target="sNaN"), "target"),
    "nan confidence": (GOOD.replace(b'"confidence":1.0', b'"confidence":NaN'), "message"),
    "overflowing confidence": (GOOD.replace(b'"confidence":1.0', b'"confidence":1e400'), "confidence"),
    "confidence above one": (raw(confidence=1.01), "confidence"),
    "bool as confidence": (raw(confidence=True), "confidence"),
    "text as confidence": (raw(confidence="1"), "confidence"),
    "bool as volume": (raw(bar_volume=True), "bar_volume"),
    "fractional volume": (raw(bar_volume=1.5), "bar_volume"),
    "negative volume": (raw(bar_volume=-1), "bar_volume"),
    "huge volume": (raw(bar_volume=2**60), "bar_volume"),
    "negative quantity": (raw(quantity=-1), "quantity"),
    "huge quantity": (raw(quantity=10_000_001), "quantity"),
    "number as add": (raw(add=1), "add"),
    "negative leg": (raw(leg=-1), "leg"),
    "hold": (raw(signal_type="HOLD"), "signal_type"),
    "unknown type": (raw(signal_type="BYE"), "signal_type"),
    "naive time": (raw(bar_close="2026-11-20T09:30:00"), "bar_close"),
    "time as a number": (raw(accepted_at=1_600_000_000), "accepted_at"),
    "epoch 1970": (raw(bar_close="1970-01-01T00:00:00Z"), "bar_close"),
    "far validity": (raw(valid_until="2027-11-20T09:30:00Z"), "valid_until"),
    "accepted in the future": (
        raw(accepted_at="2026-12-20T09:30:00Z", valid_until="2026-12-20T09:30:00Z"),
        "accepted_at",
    ),
    "empty symbol": (raw(symbol=""), "symbol"),
    "symbol with a newline": (raw(symbol="TCS\n"), "symbol"),
    "lower-case symbol": (raw(symbol="tcs"), "symbol"),
    "short id": (raw(signal_id="abc"), "signal_id"),
    "upper-case id": (raw(signal_id="A" * 32), "signal_id"),
    "null run": (raw(run=None), "run"),
    "long reason": (raw(reason="x" * 501), "reason"),
    "half a surrogate": (GOOD.replace(b'"reason":""', b'"reason":"\\ud800"'), "message"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_message_is_rejected_with_its_field(name: str) -> None:
    message, field = BROKEN[name]
    got = decode(message, NOW)
    assert isinstance(got, Poison), got
    assert field in got.reason
    assert got.raw == message[:MAX_RAW_KEPT_BYTES]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_signal_or_poison(message: bytes) -> None:
    assert isinstance(decode(message), Poison)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_any_changed_byte_still_gives_a_value(place: int, byte: int) -> None:
    got = decode(GOOD[:place] + bytes([byte]) + GOOD[place + 1 :])
    assert isinstance(got, Poison | Signal)


@pytest.mark.parametrize("changes", [{"price": Decimal(0)}, {"reason": "x" * 501}, {"symbol": ""}])
def test_signal_that_readers_would_reject_is_not_encoded(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        encode(signal(**changes))


def test_clock_an_hour_back_rejects_nothing() -> None:
    assert isinstance(decode(GOOD, NOW - timedelta(hours=1)), Signal)


def test_late_validity_is_left_to_the_order_side() -> None:
    late = signal(valid_until=NOW - timedelta(hours=1))
    assert decode(msgspec.json.encode(late), NOW) == late
