from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.angel_one.frames import (
    DepthFrame,
    LtpFrame,
    MalformedFrame,
    QuoteFrame,
    SnapFrame,
    decode,
    decode_tick,
    to_paise,
    token_key,
)
from tests.broker.angel_one import frame_bytes
from tests.broker.angel_one.frame_bytes import LENGTHS, frame

DAY = {
    "last_traded_quantity": "quantity", "average_traded_price": "average",
    "volume_trade_for_the_day": "volume",
    "total_buy_quantity": "bought",
    "total_sell_quantity": "sold", "open_price_of_the_day": "opening",
    "high_price_of_the_day": "high", "low_price_of_the_day": "low", "closed_price": "close",
}  # fmt: skip
HEAD = {
    "subscription_mode": "mode", "exchange_type": "exchange", "token": "token", "sequence_number": "sequence",
    "exchange_timestamp": "time_ms", "last_traded_price": "last",
}  # fmt: skip
SNAP = {
    "last_traded_timestamp": "trade_time", "open_interest": "open_interest", "upper_circuit_limit": "upper",
    "lower_circuit_limit": "lower", "52_week_high_price": "year_high", "52_week_low_price": "year_low",
}  # fmt: skip
NAMES = HEAD | DAY | SNAP

TICK: dict[str, Any] = {
    "subscription_mode": 3, "exchange_type": 1, "token": "1594", "sequence_number": 12109948,
    "exchange_timestamp": 1735201464000, "last_traded_price": 190735, "last_traded_quantity": 3,
    "average_traded_price": 190899, "volume_trade_for_the_day": 2129562, "total_buy_quantity": 224305.0,
    "total_sell_quantity": 246078.0, "open_price_of_the_day": 190905, "high_price_of_the_day": 191975,
    "low_price_of_the_day": 190230, "closed_price": 190905, "last_traded_timestamp": 1735201464,
    "open_interest": 78268800, "open_interest_change_percentage": 4584350709158701777,
    "upper_circuit_limit": 209995, "lower_circuit_limit": 171815, "52_week_high_price": 200645,
    "52_week_low_price": 135835,
    "best_5_buy_data": [
        {"flag": 1, "quantity": 2 + n, "price": 190700 - 5 * n, "no of orders": 1 + n} for n in range(5)
    ],
    "best_5_sell_data": [
        {"flag": 0, "quantity": 43 + n, "price": 190735 + 5 * n, "no of orders": 1 + n} for n in range(5)
    ],
}  # fmt: skip


def assert_says(found: object, told: dict[str, Any]) -> None:
    """Hold a decoded frame against what the SDK made of it, the SDK's own mistakes apart."""
    for name, ours in NAMES.items():
        if name in told:
            assert getattr(found, ours) == told[name], name
    if isinstance(found, SnapFrame):
        change = struct.unpack("<d", struct.pack("<q", told["open_interest_change_percentage"]))[0]
        assert found.oi_change == change
        assert (len(found.bids), len(found.asks)) == (5, 5)
        for side, theirs in ((found.bids, "best_5_buy_data"), (found.asks, "best_5_sell_data")):
            # The SDK counts an empty level as a seller's; here it stays on its side.
            filled = [
                (each["flag"], each["quantity"], each["price"], each["no of orders"])
                for each in told[theirs]
                if each["quantity"] or each["price"]
            ]
            assert [level for level in side if level[1] or level[2]] == filled
    if isinstance(found, DepthFrame):
        for side, theirs in ((found.bids, "depth_20_buy_data"), (found.asks, "depth_20_sell_data")):
            levels = [(each["quantity"], each["price"], each["num_of_orders"]) for each in told[theirs]]
            assert [level[1:] for level in side] == levels


# -- vectors of our own ---------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "kind"), [(1, LtpFrame), (2, QuoteFrame), (3, SnapFrame)])
def test_frame_of_each_mode_is_read(mode: int, kind: type) -> None:
    told = {**TICK, "subscription_mode": mode}
    if mode < 3:
        told |= {"best_5_buy_data": [], "best_5_sell_data": []}
    found = decode(frame(told))
    assert type(found) is kind
    for name in {**HEAD, **DAY, **SNAP} if mode == 3 else HEAD | DAY if mode == 2 else HEAD:
        assert getattr(found, NAMES[name]) == told[name]


def test_depth_has_the_exchanges_time_before_the_time_of_receipt() -> None:
    buys, sells = [(100 + n, 5000 - n, 1) for n in range(20)], [(7, 5001, 2)]
    found = decode(frame_bytes.depth("3045", 1_000, 2_000, buys, sells))
    assert isinstance(found, DepthFrame)
    assert (found.token, found.time_ms, found.received_ms) == ("3045", 1_000, 2_000)
    assert [level[1:] for level in found.bids] == buys
    assert found.asks[0] == (0, 7, 5001, 2)
    assert found.asks[19] == (0, 0, 0, 0)


def test_levels_are_grouped_by_their_flag_and_empty_ones_by_their_place() -> None:
    swapped = {
        **TICK,
        "best_5_buy_data": TICK["best_5_sell_data"],
        "best_5_sell_data": TICK["best_5_buy_data"],
    }
    found = decode(frame(swapped))
    assert isinstance(found, SnapFrame)
    assert found.bids[0] == (1, 2, 190700, 1)
    assert found.asks[0] == (0, 43, 190735, 1)
    empty = [{"flag": 0, "quantity": 0, "price": 0, "no of orders": 0}] * 5
    found = decode(frame({**TICK, "best_5_buy_data": empty}))
    assert isinstance(found, SnapFrame)
    assert (len(found.bids), found.asks[0][2]) == (5, 190735)


def test_tick_is_what_the_whole_frame_says() -> None:
    symbols = {token_key(1, "1594"): "INFY"}
    tick = decode_tick(frame(TICK), symbols, 5)
    assert tick is not None
    assert (tick.symbol, tick.price_paise, tick.at_us, tick.received_us) == (
        "INFY",
        190735,
        1735201464000000,
        5,
    )
    assert (tick.day_volume, tick.last_quantity, tick.sequence) == (2129562, 3, 12109948)
    assert (tick.bid_paise, tick.ask_paise, tick.lower_paise, tick.upper_paise) == (
        190700,
        190735,
        171815,
        209995,
    )
    for mode in (1, 2):
        less = decode_tick(frame({**TICK, "subscription_mode": mode, "best_5_buy_data": (),
                                  "best_5_sell_data": ()}), symbols, 5)  # fmt: skip
        assert less is not None
        assert (less.price_paise, less.bid_paise, less.day_volume) == (190735, 0, 2129562 if mode == 2 else 0)


@pytest.mark.parametrize("side", ["best_5_buy_data", "best_5_sell_data"])
def test_touch_of_an_empty_side_is_not_told(side: str) -> None:
    empty = [{"flag": int("buy" in side), "quantity": 0, "price": 0, "no of orders": 0}] * 5
    tick = decode_tick(frame({**TICK, side: empty}), {token_key(1, "1594"): "INFY"}, 5)
    assert tick is not None
    assert (tick.bid_paise == 0, tick.ask_paise == 0) == ("buy" in side, "sell" in side)


def test_token_ends_at_its_first_nul_whatever_follows() -> None:
    noisy = bytearray(frame(TICK))
    noisy[7:27] = b"garbage after the NUL"[:20]
    noisy[6] = 0
    found = decode(bytes(noisy))
    assert found.token == "1594"
    tick = decode_tick(bytes(noisy), {token_key(1, "1594"): "INFY"}, 5)
    assert tick is not None
    assert tick.symbol == "INFY"


def test_instrument_of_nobody_or_of_another_exchange_gives_no_tick() -> None:
    assert decode_tick(frame(TICK), {}, 5) is None
    assert decode_tick(frame(TICK), {token_key(3, "1594"): "INFY"}, 5) is None


@pytest.mark.parametrize("mode", [1, 2, 3, 4])
def test_frame_one_byte_too_short_is_malformed_and_longer_ones_are_read(mode: int) -> None:
    whole = bytes([mode, 1]) + b"1594".ljust(25, b"\0") + bytes(LENGTHS[mode] - 27)
    assert decode(whole + b"more").token == "1594"
    for symbols in ({}, {token_key(1, "1594"): "INFY"}):
        with pytest.raises(MalformedFrame):
            decode(whole[:-1])
        with pytest.raises(MalformedFrame):
            decode_tick(whole[:-1], symbols, 5)


@given(st.binary(max_size=500) | st.binary(min_size=379, max_size=443).map(lambda body: b"\x03" + body))
def test_any_bytes_are_a_frame_or_malformed(data: bytes) -> None:
    for read in (decode, lambda each: decode_tick(each, {data[1:27]: "X"}, 5)):
        try:
            read(data)
        except MalformedFrame as error:
            assert str(error)


def test_currency_is_finer_than_a_paisa() -> None:
    assert to_paise(834_525_000, 13) == 8345.25
    assert to_paise(56820, 1) == 56820


# -- known vectors --------------------------------------------------------------------------------


def cases(smartapi: Callable[[str], Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = smartapi("frames_open.json")["cases"]
    return found


def test_every_known_frame_says_what_is_documented(smartapi: Callable[[str], Any]) -> None:
    read = 0
    for case in cases(smartapi):
        data = bytes.fromhex(case["hex"])
        if "sdk_raises" in case or case["id"] == "edge_unknown_mode_9":
            # The SDK reads the head of a mode that nobody knows; what else it says, nobody knows.
            with pytest.raises(MalformedFrame):
                decode(data)
            continue
        told, docs = dict(case["sdk_decoded"]), case.get("expected_by_docs", {})
        told |= {name: docs[name] for name in ("exchange_timestamp", "packet_received_time") if name in docs}
        if told["subscription_mode"] == 4:
            # The Python SDK takes the time of receipt for both; Java's and JavaScript's read as documented.
            told["exchange_timestamp"] = int(case["js_sdk_decoded"]["exchange_timestamp"])
        found = decode(data)
        assert_says(found, told)
        if isinstance(found, DepthFrame):
            assert found.received_ms == told["packet_received_time"], case["id"]
        if "open_interest_change_percentage_as_double" in docs:
            assert isinstance(found, SnapFrame)
            assert found.oi_change == docs["open_interest_change_percentage_as_double"]
        if "divisor" in docs:
            assert isinstance(found, LtpFrame)
            assert to_paise(found.last, found.exchange) / 100 == pytest.approx(83.4525)
        read += 1
    assert read >= 24


def test_every_known_frame_gives_the_same_tick(smartapi: Callable[[str], Any]) -> None:
    for case in cases(smartapi):
        data = bytes.fromhex(case["hex"])
        try:
            whole = decode(data)
        except MalformedFrame:
            with pytest.raises(MalformedFrame):
                decode_tick(data, {}, 5)
            continue
        if isinstance(whole, LtpFrame):
            tick = decode_tick(data, {token_key(whole.exchange, whole.token): "X"}, 5)
            assert tick is not None, case["id"]
            assert (tick.price_paise, tick.at_us, tick.sequence) == (
                whole.last, whole.time_ms * 1000, whole.sequence,
            )  # fmt: skip


def test_recorded_ticks_are_read_as_they_were_shown(smartapi: Callable[[str], Any]) -> None:
    file = smartapi("recorded/ws2_python_ticks.json")
    for told in file["ticks"]:
        assert_says(decode(frame(told)), told)
    infy = decode(frame(file["ticks"][1]))
    assert isinstance(infy, SnapFrame)
    assert infy.oi_change == file["oi_change_pct_as_double"]["INFY"]
    index = decode(frame(file["ticks"][0]))
    assert isinstance(index, QuoteFrame)
    assert (index.token, index.sequence, index.last, index.close) == ("99926000", 0, 2421595, 2384265)


def test_recorded_depth_is_read_as_it_was_shown(smartapi: Callable[[str], Any]) -> None:
    told = smartapi("recorded/ws2_js_ticks_INFY_modes_2_3_4_2024-12-20.json")["ticks"][-1]

    def side(name: str) -> list[tuple[int, int, int]]:
        return [(int(each["quantity"]), int(each["price"]), int(each["no_of_orders"])) for each in told[name]]

    buys, sells = side("depth_twenty_buy_data"), side("depth_twenty_sell_data")
    found = decode(frame_bytes.depth("1594", int(told["exchange_timestamp"]), 0, buys, sells))
    assert isinstance(found, DepthFrame)
    assert (found.time_ms, found.received_ms) == (1734667885562, 0)
    assert [level[1:] for level in found.bids] == buys
    assert [level[1:] for level in found.asks] == sells
