from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.angel_one import records
from broker.angel_one.fields import BadRow

ORDER: dict[str, object] = {
    "variety": "NORMAL", "ordertype": "LIMIT", "producttype": "INTRADAY", "duration": "DAY", "price": 195.5,
    "triggerprice": 0.0, "quantity": "10", "tradingsymbol": "SBIN-EQ", "transactiontype": "BUY",
    "exchange": "NSE", "symboltoken": "3045", "ordertag": "tag-1", "averageprice": 195.4567,
    "filledshares": "4", "unfilledshares": "6", "orderid": "261126000000001", "text": "", "status": "open",
    "orderstatus": "open", "updatetime": "26-Nov-2026 10:00:00", "uniqueorderid": "u-1",
}  # fmt: skip
TRADE = {
    "orderid": "261126000000001",
    "fillid": "55",
    "fillsize": "4",
    "fillprice": "195.45",
    "filltime": "10:00:01",
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def test_order_is_read() -> None:
    row = records.order_row(ORDER)
    assert (row.orderid, row.tag, row.side, row.quantity, row.filled) == (
        "261126000000001",
        "tag-1",
        "BUY",
        10,
        4,
    )
    assert (row.price, row.trigger, row.average, row.status) == (19550, 0, Decimal("195.4567"), "open")
    assert row.updated_us == 1_795_667_400_000_000


def test_order_in_the_documentations_types_is_the_same_order() -> None:
    spelled = {**ORDER, "price": "195.50", "quantity": 10, "filledshares": 4, "orderid": 261126000000001}
    spelled |= {"variety": "normal", "status": "OPEN", "triggerprice": None, "symboltoken": 3045}
    assert records.order_row(spelled) == records.order_row(ORDER)


def test_status_comes_from_the_other_field_where_it_is_empty() -> None:
    assert records.order_row({**ORDER, "status": "", "orderstatus": "Rejected"}).status == "rejected"
    assert records.order_row({**ORDER, "status": "rejected", "orderstatus": ""}).status == "rejected"


@pytest.mark.parametrize(
    "wrong",
    [
        {"orderid": ""}, {"tradingsymbol": None}, {"transactiontype": ""}, {"quantity": "1.5"},
        {"quantity": ""}, {"quantity": "-1"}, {"filledshares": None}, {"filledshares": "-4"},
        {"price": "x"}, {"price": True},
        {"averageprice": "NaN"},
    ],
)  # fmt: skip
def test_order_that_makes_no_sense_is_refused_by_the_field(wrong: dict[str, object]) -> None:
    with pytest.raises(BadRow, match=next(iter(wrong))):
        records.order_row({**ORDER, **wrong})


def test_trade_is_read_and_one_of_nothing_is_none() -> None:
    assert records.trade_row(TRADE) == records.TradeRow("261126000000001", "55", 4, 19545, 36_001_000_000)
    for name, value in [
        ("fillsize", "0"),
        ("fillsize", None),
        ("fillprice", "0"),
        ("fillid", ""),
        ("orderid", ""),
    ]:
        with pytest.raises(BadRow, match=name):
            records.trade_row({**TRADE, name: value})


def test_position_is_read_and_needs_its_net_quantity() -> None:
    told = {"tradingsymbol": "SBIN-EQ", "symboltoken": "3045", "exchange": "NSE", "producttype": "INTRADAY"}
    told |= {"netqty": "-5", "buyqty": "5", "sellqty": "10", "realised": "- 2235.80", "unrealised": "-0.00"}
    row = records.position_row(told)
    assert (row.net, row.bought, row.sold, row.realised, row.unrealised) == (-5, 5, 10, -223580, 0)
    with pytest.raises(BadRow, match="netqty"):
        records.position_row({**told, "netqty": None})


def test_candle_is_indian_time_and_paise() -> None:
    row = records.candle_row(["2023-09-06T11:15:00+05:30", 19571.2, 19573.35, 19534.4, 19552.05, 0])
    assert row == records.CandleRow(1_693_979_100_000_000, 1957120, 1957335, 1953440, 1955205, 0)
    bare = records.candle_row(["2023-09-06T11:15:00", "19571.2", 19573.35, 19534.4, 19552.05, "0"])
    assert bare == row


@pytest.mark.parametrize(
    "candle",
    [
        None, [], ["2023-09-06T11:15:00+05:30", 1, 2, 1, 1], ["soon", 1, 2, 1, 1, 0],
        ["2023-09-06", 2, 1, 1, 1, 0], ["2023-09-06", 1, 2, 0, 1, 0], ["2023-09-06", 1, 2, 1, 3, 0],
        ["2023-09-06", None, None, None, None, None],
    ],
)  # fmt: skip
def test_candle_that_makes_no_sense_is_refused(candle: object) -> None:
    with pytest.raises(BadRow):
        records.candle_row(candle)


def test_rule_profile_margin_and_leverage_are_read() -> None:
    rule = {"id": 7, "status": "active", "tradingsymbol": "SBIN-EQ", "symboltoken": "3045", "qty": 10}
    rule |= {"transactiontype": "BUY", "producttype": "DELIVERY", "price": "195", "triggerprice": "196.05"}
    read = records.rule_row(rule)
    assert (read.rule_id, read.status, read.quantity, read.price, read.trigger) == (
        "7",
        "ACTIVE",
        10,
        19500,
        19605,
    )
    for exchanges in (["nse_cm", "bse_cm"], '[ "nse_cm", "bse_cm" ]'):
        assert records.profile({"clientcode": "A1", "exchanges": exchanges}).exchanges == ("nse_cm", "bse_cm")
    assert records.margin({"totalMarginRequired": 29612.35}) == 2961235
    assert records.leverage({"exchange": "NSE", "SymbolName": "SBIN", "Multiplier": "5.0"}) == (
        "SBIN",
        Decimal(5),
    )
    for make, row in (
        (records.margin, {}),
        (records.leverage, {"SymbolName": "SBIN"}),
        (records.profile, {}),
    ):
        with pytest.raises(BadRow):
            make(row)


READERS: list[tuple[Callable[[Any], object], dict[str, object]]] = [
    (records.order_row, ORDER), (records.trade_row, dict(TRADE)), (records.position_row, {"netqty": 1}),
    (records.quote_row, {"symbolToken": "1", "depth": {"buy": [{"price": 1}]}}), (records.funds, {"net": 1}),
    (records.holding_row, {"tradingsymbol": "x", "quantity": 1}), (records.rule_row, {"id": 1}),
    (records.profile, {"clientcode": "x"}), (records.estimate, {"summary": {"breakup": []}}),
    (records.margin, {"totalMarginRequired": 1}), (records.leverage, {"SymbolName": "x", "Multiplier": 1}),
]  # fmt: skip


@given(st.sampled_from(READERS), st.data())
def test_row_with_anything_in_it_is_read_or_refused(
    reader: tuple[Callable[[Any], object], dict[str, object]], data: st.DataObject
) -> None:
    make, good = reader
    row = dict(good)
    for name in data.draw(st.lists(st.sampled_from(sorted(good)), max_size=3)):
        row[name] = data.draw(ANYTHING)
    try:
        make(row)
    except (BadRow, AttributeError, KeyError, TypeError) as error:
        assert str(error)


@given(st.lists(ANYTHING, min_size=6, max_size=6))
def test_candle_of_anything_is_read_or_refused(row: list[object]) -> None:
    with pytest.raises(BadRow):
        records.candle_row(row)


# -- recorded from the live service ---------------------------------------------------------------


def recorded(smartapi: Callable[[str], Any], name: str) -> Any:
    return smartapi(f"recorded/{name}.json")


def test_recorded_order_book_is_read(smartapi: Callable[[str], Any]) -> None:
    file = recorded(smartapi, "order_book")
    first, second = map(records.order_row, file["response"]["data"])
    assert (first.orderid, first.variety, first.status, first.quantity) == (
        "091389e428f2AO",
        "AMO",
        "open",
        150,
    )
    assert (first.price, first.uniqueid) == (15000, "4abfa579-a1ee-4a1e-ba93-4f747f40a80e")
    assert (second.order_type, second.price, second.trigger) == ("STOPLOSS_LIMIT", 22000, 21500)
    assert second.updated_us == 1_757_748_463_000_000
    gone = records.order_row(file["row_2023_rejected"])
    assert (gone.status, gone.text, gone.tag) == ("rejected", "Admin stopped AMO", "SLOrderNFO")


def test_recorded_funds_are_read(smartapi: Callable[[str], Any]) -> None:
    first, second = (each["data"] for each in recorded(smartapi, "rms_limits")["responses"])
    assert records.funds(first) == records.Funds(1994877, 1994877, -305, 0, 2907)
    assert records.funds(second) == records.Funds(10000, 10000, 0, 0, 0)


def test_recorded_quotes_are_read(smartapi: Callable[[str], Any]) -> None:
    share = recorded(smartapi, "quote_full_preopen_ZOMATO_2024-12-20")["response"]["data"]["fetched"][0]
    row = records.quote_row(share)
    assert (row.trading_symbol, row.token, row.last, row.close, row.volume) == (
        "ZOMATO-EQ",
        "5097",
        29000,
        28850,
        132803,
    )
    assert (row.bid, row.ask, row.lower, row.upper) == (29000, 29010, 25965, 31735)
    assert row.feed_us - row.trade_us == (4 * 60 + 56) * 1_000_000
    index = recorded(smartapi, "candles_and_quote_index_2026-04-15")["quote_full_index"]["data"]["fetched"][0]
    row = records.quote_row(index)
    assert (row.last, row.high, row.trade_us, row.bid, row.volume) == (2384265, 2390740, 0, 0, 0)


def test_recorded_candles_are_read(smartapi: Callable[[str], Any]) -> None:
    rows = recorded(smartapi, "candles_and_quote_index_2026-04-15")["getCandleData_day"]["data"]
    first, second = map(records.candle_row, rows)
    assert first == records.CandleRow(1_775_759_400_000_000, 2388055, 2407405, 2385635, 2405060, 0)
    assert (second.open, second.close) == (2358960, 2384265)


def test_recorded_charges_are_read(smartapi: Callable[[str], Any]) -> None:
    file = recorded(smartapi, "brokerage_estimateCharges_docs_sample")
    found = records.estimate(file["response"]["data"])
    assert [found.total, found.value] == [Decimal("3.0796"), Decimal(16000)]
    assert [part.name for part in found.parts] == ["Angel One Brokerage", "External Charges", "Taxes"]
    assert [part.amount for part in found.parts[1].parts] == [
        Decimal("0.56"),
        Decimal("2.4"),
        Decimal("0.016"),
    ]
    assert sum(part.amount for part in found.parts) == found.total
