from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.sandbox.box import PLACE, POSITIONS, QUOTE, RMS, SECURE, TRADES, Box, Reply, box

CANDLES = f"{SECURE}historical/v1/getCandleData"
MARGIN = f"{SECURE}margin/v1/batch"
HOLDING, ALL_HOLDING = (f"{SECURE}portfolio/v1/get{name}" for name in ("Holding", "AllHolding"))
BOOKS = {"order/v1/getOrderBook": "AB1013", "order/v1/getTradeBook": "AB1014",
         "order/v1/getPosition": "AB1016", "portfolio/v1/getHolding": "AB1015"}  # fmt: skip


async def candles(
    sandbox: Box, interval: str, start: str, end: str, change: dict[str, object] | None = None
) -> Reply:
    body = {"exchange": "NSE", "symboltoken": "2885", "interval": interval, "fromdate": start, "todate": end}
    return await sandbox.post(CANDLES, body | (change or {}))


@pytest.mark.parametrize(("path", "code"), BOOKS.items())
async def test_empty_book_is_null_or_not_found_by_the_switch(path: str, code: str) -> None:
    async with box() as sandbox:
        assert (await sandbox.get(SECURE + path)).data is None
        await sandbox.switch(empty_books="code")
        assert (await sandbox.get(SECURE + path)).code == code


@pytest.mark.parametrize(
    ("interval", "count"),
    [
        ("ONE_MINUTE", 375),
        ("THREE_MINUTE", 125),
        ("FIVE_MINUTE", 75),
        ("TEN_MINUTE", 38),
        ("FIFTEEN_MINUTE", 25),
        ("THIRTY_MINUTE", 13),
        ("ONE_HOUR", 7),
        ("ONE_DAY", 1),
    ],
)
async def test_candles_of_every_size_agree_with_the_minutes(interval: str, count: int) -> None:
    async with box() as sandbox:
        day = ("2021-04-09 00:00", "2021-04-09 15:30")
        minutes = (await candles(sandbox, "ONE_MINUTE", *day)).data
        rows = (await candles(sandbox, interval, *day)).data
        assert len(rows) == count
        assert rows[0][0] == ("2021-04-09T00:00:00+05:30" if count == 1 else "2021-04-09T09:15:00+05:30")
        assert rows[0][1] == minutes[0][1]
        assert rows[-1][4] == minutes[-1][4]
        assert max(row[2] for row in rows) == max(row[2] for row in minutes)
        assert min(row[3] for row in rows) == min(row[3] for row in minutes)
        for _, first, high, low, last, volume in rows:
            assert low <= min(first, last) <= max(first, last) <= high
            assert volume > 0
        assert sum(row[5] for row in rows) == sum(row[5] for row in minutes)


async def test_span_is_inclusive_and_weekends_are_empty() -> None:
    async with box() as sandbox:
        rows = (await candles(sandbox, "FIVE_MINUTE", "2021-04-09 09:20", "2021-04-09 09:30")).data
        assert [row[0][11:16] for row in rows] == ["09:20", "09:25", "09:30"]
        assert (await candles(sandbox, "FIVE_MINUTE", "2021-04-10 09:15", "2021-04-11 15:30")).data == []
        # A day's bar is stamped midnight: from 09:15 on it is not in the span.
        assert (await candles(sandbox, "ONE_DAY", "2021-04-09 09:15", "2021-04-09 15:30")).data == []


async def test_candle_in_the_making_is_left_out() -> None:
    async with box() as sandbox:
        info = (await sandbox.send("GET", "/sandbox/info")).json
        day = "2021-04-12"
        rows = (await candles(sandbox, "ONE_MINUTE", f"{day} 09:15", f"{day} 15:30")).data
        now = datetime.fromisoformat(f"{day}T00:00+00:00") + timedelta(
            microseconds=info["market_time_us"] % 86_400_000_000 + 19_800_000_000
        )
        assert rows[-1][0][:16] == (now - timedelta(minutes=1)).isoformat()[:16]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"symboltoken": "1"}, "AB4006"),
        ({"interval": "TWO_MINUTE"}, "AB1007"),
        ({"fromdate": "2021-04-10 09:15"}, "AB1004"),
        ({"todate": "2031-04-10 09:15"}, "AB1012"),
        ({"fromdate": "2021-02-09 09:15"}, "AB1004"),
        ({"fromdate": "2021-04-09 09:15:00"}, "AB1007"),
        ({"fromdate": "0001-01-01 00:00"}, "AB1007"),
        ({"fromdate": 5}, "AB1007"),
        ({"todate": "2021-13-01 09:15"}, "AB1007"),
    ],
)
async def test_candles_asked_for_wrongly_are_told_so(change: dict[str, object], code: str) -> None:
    async with box() as sandbox:
        told = await candles(sandbox, "ONE_MINUTE", "2021-04-09 09:15", "2021-04-09 15:30", change)
        assert told.code == code


async def test_too_long_a_span_is_cut_and_a_bad_date_is_400_by_the_switches() -> None:
    async with box(over_range_candles="truncate", malformed_candle_status=400) as sandbox:
        rows = (await candles(sandbox, "ONE_MINUTE", "2021-01-09 09:15", "2021-04-09 15:30")).data
        assert rows[0][0] == "2021-03-11T09:15:00+05:30"  # thirty days before 15:30
        assert rows[-1][0] == "2021-04-09T15:29:00+05:30"
        assert (await candles(sandbox, "ONE_MINUTE", "x", "2021-04-09 15:30")).status == 400


async def quote(sandbox: Box, mode: str, *tokens: str) -> Reply:
    return await sandbox.post(QUOTE, {"mode": mode, "exchangeTokens": {"NSE": list(tokens)}})


async def test_quote_modes_have_four_eight_and_all_fields() -> None:
    async with box() as sandbox:
        found = {}
        for mode in ("LTP", "OHLC", "FULL"):
            (found[mode],) = (await quote(sandbox, mode, "2885")).data["fetched"]
        assert (len(found["LTP"]), len(found["OHLC"]), len(found["FULL"])) == (4, 8, 23)
        full = found["FULL"]
        assert full["symbolToken"] == "2885"
        assert all(
            isinstance(full[name], float) for name in ("ltp", "open", "high", "low", "close", "52WeekLow")
        )
        assert [len(full["depth"][side]) for side in ("buy", "sell")] == [5, 5]
        assert full["depth"]["buy"][0]["price"] < full["ltp"] < full["depth"]["sell"][0]["price"]
        assert full["lowerCircuit"] < full["low"] <= full["high"] < full["upperCircuit"]
        assert full["netChange"] == pytest.approx(full["ltp"] - full["close"], abs=1e-6)
        datetime.strptime(full["exchFeedTime"], "%d-%b-%Y %H:%M:%S")  # noqa: DTZ007


async def test_unknown_and_empty_tokens_are_unfetched_with_their_codes() -> None:
    async with box() as sandbox:
        data = (await quote(sandbox, "LTP", "2885", "1", "")).data
        assert [row["symbolToken"] for row in data["fetched"]] == ["2885"]
        assert [(row["symbolToken"], row["errorCode"]) for row in data["unfetched"]] == [
            ("1", "AB1018"),
            ("", "AB4018"),
        ]


async def test_more_than_fifty_tokens_are_refused_or_cut_by_the_switch() -> None:
    async with box() as sandbox:
        tokens = ["2885", *(f"x{n}" for n in range(50))]
        assert (await quote(sandbox, "LTP", *tokens)).code == "AB1007"
        await sandbox.switch(over_50_quote="truncate")
        data = (await quote(sandbox, "LTP", *tokens)).data
        assert len(data["fetched"]) + len(data["unfetched"]) == 50


async def test_holdings_have_their_totals() -> None:
    async with box(holdings={"RELIANCE": 10, "TCS": 3}) as sandbox:
        rows = (await sandbox.get(HOLDING)).data
        assert {row["tradingsymbol"]: row["quantity"] for row in rows} == {"RELIANCE-EQ": 10, "TCS-EQ": 3}
        whole = (await sandbox.get(ALL_HOLDING)).data
        assert whole["holdings"] == rows
        totals = whole["totalholding"]
        assert totals["totalholdingvalue"] == pytest.approx(sum(row["quantity"] * row["ltp"] for row in rows))
        invested = sum(row["quantity"] * row["averageprice"] for row in rows)
        assert totals["totalprofitandloss"] == pytest.approx(totals["totalholdingvalue"] - invested)
        sold = (await sandbox.place(transactiontype="SELL", producttype="DELIVERY")).data["orderid"]
        await sandbox.settled(sold, "complete")
        again = (await sandbox.place(transactiontype="SELL", producttype="DELIVERY")).data["orderid"]
        assert "holdings" in (await sandbox.settled(again, "rejected"))["text"]


async def test_books_positions_and_funds_tell_one_story() -> None:
    async with box() as sandbox:
        orderid = (await sandbox.place(ordertype="MARKET")).data["orderid"]
        row = await sandbox.settled(orderid, "complete")
        trades = (await sandbox.get(TRADES)).data
        (position,) = (await sandbox.get(POSITIONS)).data
        funds = (await sandbox.get(RMS)).data
        value = sum(float(trade["tradevalue"]) for trade in trades)
        assert sum(int(trade["fillsize"]) for trade in trades) == int(position["netqty"]) == 10
        assert float(position["buyamount"]) == pytest.approx(value)
        assert row["averageprice"] == pytest.approx(value / 10, abs=0.005)
        assert float(funds["utiliseddebits"]) == pytest.approx(value / 5, abs=0.01)
        assert float(funds["net"]) == pytest.approx(1_000_000 - value / 5, abs=0.01)
        assert (await sandbox.get(f"{SECURE}order/v1/details/{row['uniqueorderid']}")).data[
            "orderid"
        ] == orderid


async def test_margin_of_a_basket_is_that_of_its_products() -> None:
    async with box() as sandbox:

        def leg(product: str) -> dict[str, object]:
            return {"exchange": "NSE", "qty": 10, "price": 100, "productType": product, "token": "2885",
                    "tradeType": "BUY", "orderType": "LIMIT"}  # fmt: skip

        told = (await sandbox.post(MARGIN, {"positions": [leg("INTRADAY"), leg("DELIVERY")]})).data
        assert told["totalMarginRequired"] == 1_200.0
        assert (await sandbox.post(MARGIN, {"positions": [leg("INTRADAY")] * 51})).code == "AB1007"


async def test_search_finds_by_beginning_and_exchange() -> None:
    async with box() as sandbox:

        async def search(exchange: str, text: str) -> Any:
            body = {"exchange": exchange, "searchscrip": text}
            return (await sandbox.post(f"{SECURE}order/v1/searchScrip", body)).data

        assert await search("NSE", "reliance") == [
            {"exchange": "NSE", "tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885"}
        ]
        assert (
            await search("BSE", "RELIANCE") == await search("NSE", "ELIANCE") == await search("NSE", "") == []
        )


async def test_cautionary_scrip_needs_consent() -> None:
    async with box(cautionary="RELIANCE") as sandbox:
        listed = (await sandbox.get(f"{SECURE}securities/v1/cautionaryScrips")).data
        assert [(row["token"], row["symbol"]) for row in listed] == [("2885", "RELIANCE-EQ")]
        assert (await sandbox.place()).code == "AB4036"
        assert (await sandbox.place(scripconsent="yes")).data["orderid"]


async def test_conversion_shows_in_the_positions() -> None:
    async with box() as sandbox:
        orderid = (await sandbox.place(ordertype="MARKET")).data["orderid"]
        await sandbox.settled(orderid, "complete")
        body = {
            "exchange": "NSE",
            "symboltoken": "2885",
            "tradingsymbol": "RELIANCE-EQ",
            "quantity": 4,
            "oldproducttype": "INTRADAY",
            "newproducttype": "DELIVERY",
            "transactiontype": "BUY",
            "type": "DAY",
        }
        path = f"{SECURE}order/v1/convertPosition"
        assert (await sandbox.post(path, body)).json == {
            "status": True,
            "message": "SUCCESS",
            "errorcode": "",
            "data": None,
        }
        rows = (await sandbox.get(POSITIONS)).data
        assert {row["producttype"]: row["netqty"] for row in rows} == {"INTRADAY": "6", "DELIVERY": "4"}
        assert (await sandbox.post(path, body | {"quantity": 7})).code == "AB1017"
        assert (await sandbox.post(path, body | {"newproducttype": "PONZI"})).code == "AB1007"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"variety": "X"}, "AB1008"),
        ({"variety": "ROBO"}, "AB2002"),
        ({"variety": "STOPLOSS"}, "AB1008"),
        ({"transactiontype": "HOLD"}, "AB1007"),
        ({"ordertype": "X"}, "AB1007"),
        ({"producttype": "X"}, "AB1012"),
        ({"duration": "GTC"}, "AB1007"),
        ({"symboltoken": ""}, "AB4018"),
        ({"symboltoken": "1"}, "AB4006"),
        ({"tradingsymbol": "TCS-EQ"}, "AB1009"),
        ({"exchange": "BSE"}, "AB1009"),
        ({"ordertag": "x" * 20}, "AB4008"),
        ({"quantity": "0"}, "AB1007"),
        ({"quantity": "1.5"}, "AB1007"),
        ({"quantity": "-1"}, "AB1007"),
        ({"price": "2400.03"}, "AB1007"),
        ({"price": "0"}, "AB1007"),
        ({"price": None}, "AB1007"),
        ({"symboltoken": "99926000", "tradingsymbol": None}, "AB1009"),
        ({"variety": "STOPLOSS", "ordertype": "STOPLOSS_LIMIT", "triggerprice": "0"}, "AB1007"),
        (
            {"variety": "STOPLOSS", "ordertype": "STOPLOSS_LIMIT", "price": "2400", "triggerprice": "2500"},
            "AB1007",
        ),
    ],
)
async def test_order_that_makes_no_sense_is_refused_with_its_code_and_leaves_no_trace(
    change: dict[str, object], code: str
) -> None:
    async with box() as sandbox:
        reply = await sandbox.place(**change)
        assert (reply.code, reply.json["data"]) == (code, None)
        assert reply.json["message"]
        assert (await sandbox.ledger())["orders"] == []


async def test_numbers_may_come_as_numbers() -> None:
    async with box() as sandbox:
        price = round(await sandbox.last() * 0.95)
        told = await sandbox.post(PLACE, await sandbox.order(price=price, quantity=5, disclosedquantity=0))
        row = await sandbox.settled(told.data["orderid"], "open")
        assert (row["price"], row["quantity"]) == (float(price), "5")
