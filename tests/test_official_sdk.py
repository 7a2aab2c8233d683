"""The broker's own Python SDK, unmodified, against the sandbox: what rehearses here runs there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# A process of its own: the SDK opens log files in its working folder, changes logging for everybody and
# asks the internet for its address when it is imported, which the closed proxy ends at once.
SCRIPT = r"""
import json, os, sys, threading, time, urllib.request
from SmartApi import SmartConnect
from SmartApi.smartWebSocketV2 import SmartWebSocketV2
from SmartApi.smartWebSocketOrderUpdate import SmartWebSocketOrderUpdate
import pyotp

told = json.loads(sys.stdin.readline())
account, root = told["accounts"][0], told["base_url"]
seen = {}
sdk = SmartConnect(account["api_key"], root=root)
sdk._rootUrl = root
wrong = sdk.generateSession(account["client_code"], account["pin"], "000000")
seen["wrong_totp"] = wrong
time.sleep(1.05)  # one login a second
code = pyotp.TOTP(account["totp_secret"]).now()
login = sdk.generateSession(account["client_code"], account["pin"], code)
seen["login"] = login["status"]
data = login["data"]
seen["profile"] = sdk.getProfile(data["refreshToken"])["data"]["clientcode"]
last = sdk.ltpData("NSE", "RELIANCE-EQ", "2885")["data"]["ltp"]

def grid(share):
    return f"{round(last * share / 0.05) * 0.05:.2f}"

terms = {"tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885", "exchange": "NSE", "producttype": "INTRADAY",
         "duration": "DAY"}
ups, frames = [], {}

class Updates(SmartWebSocketOrderUpdate):
    def on_message(self, socket, message):
        ups.append(message)

Updates.WEBSOCKET_URI = told["order_feed_url"]
updates = Updates(data["jwtToken"], account["api_key"], account["client_code"], data["feedToken"])
threading.Thread(target=updates.connect, daemon=True).start()
feed = SmartWebSocketV2(data["jwtToken"], account["api_key"], account["client_code"], data["feedToken"])
feed.ROOT_URI = told["feed_url"]

def opened(socket):
    for mode in (1, 2, 3, 4):
        feed.subscribe("abcde12345", mode, [{"exchangeType": 1, "tokens": ["2885"]}])

feed.on_open = opened
feed.on_data = lambda socket, tick: frames.setdefault(tick["subscription_mode"], tick)
threading.Thread(target=feed.connect, daemon=True).start()

def until(ready):
    end = time.monotonic() + 5
    while not ready() and time.monotonic() < end:
        time.sleep(0.01)

until(lambda: len(ups) > 0)
bought = {**terms, "variety": "NORMAL", "transactiontype": "BUY", "ordertype": "LIMIT", "price": grid(1.002),
          "quantity": "10", "ordertag": "sdk-buy"}
stop = {**terms, "variety": "STOPLOSS", "transactiontype": "SELL", "ordertype": "STOPLOSS_LIMIT",
        "price": grid(0.96), "triggerprice": grid(0.97), "quantity": "10", "ordertag": "sdk-stop"}
ids = [sdk.placeOrder(dict(bought)), sdk.placeOrder(dict(stop))]

def codes():
    told = map(json.loads, (u for u in ups if len(u) > 2))
    return [(m["orderData"]["orderid"], m["order-status"]) for m in told]

until(lambda: (ids[0], "AB05") in codes() and (ids[1], "AB10") in codes())
seen["book"] = sdk.orderBook()["data"]
seen["details"] = sdk.individual_order_details(seen["book"][0]["uniqueorderid"])["data"]["orderid"]
modified = sdk.modifyOrder({**stop, "orderid": ids[1], "price": grid(0.95)})
seen["modified"] = modified["data"]["orderid"]
until(lambda: (ids[1], "AB04") in codes())
seen["cancelled"] = sdk.cancelOrder(ids[1], "STOPLOSS")["data"]["orderid"]
until(lambda: (ids[1], "AB02") in codes())
time.sleep(1.05)  # one book a second
seen["later"] = sdk.orderBook()["data"]
refused = {**bought, "ordertag": "x" * 21}
seen["refused"] = sdk.placeOrder(dict(refused))
seen["too_long"] = sdk.placeOrderFullResponse({**bought, "ordertag": "x" * 21})
seen["trades"] = sdk.tradeBook()["data"]
seen["positions"] = sdk.position()["data"]
seen["rms"] = sdk.rmsLimit()["data"]
seen["holding"] = sdk.holding()["data"]
seen["all_holding"] = sdk.allholding()["data"]["holdings"]
seen["quote"] = sdk.getMarketData("FULL", {"NSE": ["2885", "99926000"]})["data"]
seen["short_quotes"] = [sdk.getMarketData(m, {"NSE": ["2885"]})["data"]["fetched"] for m in ("LTP", "OHLC")]
seen["ltp"] = sdk.ltpData("NSE", "RELIANCE-EQ", "2885")["data"]
seen["candles"] = sdk.getCandleData({"exchange": "NSE", "symboltoken": "2885", "interval": "FIVE_MINUTE",
                                     "fromdate": "2026-11-20 09:15", "todate": "2026-11-20 09:30"})["data"]
seen["search"] = sdk.searchScrip("NSE", "RELIANCE")["data"]
rule = {"tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885", "exchange": "NSE", "producttype": "DELIVERY",
        "transactiontype": "BUY", "price": 1000, "qty": 10, "disclosedqty": 10, "triggerprice": 1001,
        "timeperiod": 365}
number = sdk.gttCreateRule(dict(rule))
seen["gtt"] = [
    sdk.gttModifyRule({**rule, "id": number, "price": 999}),
    sdk.gttDetails(number)["data"]["price"],
    len(sdk.gttLists(["NEW"], 1, 10)["data"]),
    sdk.gttCancelRule({"id": number, "symboltoken": "2885", "exchange": "NSE"})["data"]["id"],
]
seen["margin"] = sdk.getMarginApi({"positions": [{"exchange": "NSE", "qty": 10, "price": 100, "productType":
    "INTRADAY", "token": "2885", "tradeType": "BUY", "orderType": "LIMIT"}]})["data"]["totalMarginRequired"]
order = {"product_type": "DELIVERY", "transaction_type": "BUY", "quantity": "10", "price": "800",
         "exchange": "NSE", "symbol_name": "RELIANCE", "token": "2885"}
seen["charges"] = sdk.estimateCharges({"orders": [order]})["data"]
until(lambda: len(frames) == 4)
feed.unsubscribe("abcde12345", 1, [{"exchangeType": 1, "tokens": ["2885"]}])
seen["frames"] = {mode: tick for mode, tick in frames.items()}
seen["codes"] = [code for _, code in codes()]
seen["ids"] = ids
seen["renewed"] = sdk.generateToken(data["refreshToken"])["status"]
fault = b'{"kind": "rate_403", "target": {"endpoint": "getHolding"}}'
urllib.request.urlopen(root + "/sandbox/faults", fault).close()
try:
    sdk.holding()
except Exception as error:  # the SDK's own, of its own module
    seen["limited"] = [type(error).__name__, str(error)]
seen["ledger"] = json.load(urllib.request.urlopen(root + "/sandbox/ledger"))["by_tag"]
seen["logout"] = sdk.terminateSession(account["client_code"])["status"]
seen["after"] = sdk.orderBook()
print("\n" + json.dumps(seen))
sys.stdout.flush()
os._exit(0)  # the SDK's feeds reconnect for ever
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the SDK saw, call by call."""
    folder: Path = tmp_path_factory.mktemp("sdk")
    quiet = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    serve = [sys.executable, "-c", "from app.cli import main; main()", "sandbox", "--port", "0", "--json"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, cwd=folder)
    try:
        assert server.stdout is not None
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=server.stdout.readline(),
            env=quiet,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        server.terminate()
        assert server.wait(10) == 0
        if server.stdout is not None:
            server.stdout.close()
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_wrong_code_is_refused_and_the_right_one_opens_a_session(seen: dict[str, Any]) -> None:
    assert seen["wrong_totp"]["errorcode"] == "AB1050"
    assert seen["login"] is True
    assert seen["profile"] == "S0000001"
    assert seen["renewed"] is True


def test_orders_are_placed_modified_cancelled_and_show_in_the_books(seen: dict[str, Any]) -> None:
    bought, stop = seen["book"]
    assert (bought["status"], bought["filledshares"], bought["ordertag"]) == ("complete", "10", "sdk-buy")
    assert (stop["status"], stop["variety"]) == ("trigger pending", "STOPLOSS")
    assert stop["triggerprice"] > 0
    assert seen["details"] == bought["orderid"]
    assert seen["modified"] == seen["cancelled"] == seen["ids"][1]
    assert sum(int(trade["fillsize"]) for trade in seen["trades"]) == 10
    assert [row["netqty"] for row in seen["positions"]] == ["10"]
    assert seen["too_long"]["errorcode"] == "AB4008"


def test_change_and_cancellation_show_in_the_book(seen: dict[str, Any]) -> None:
    before, after = seen["book"][1], seen["later"][1]
    assert before["orderid"] == after["orderid"] == seen["ids"][1]
    assert after["price"] < before["price"]
    assert (after["status"], after["cancelsize"], after["quantity"]) == ("cancelled", "10", "10")


def test_refusal_is_none_to_the_sdk_and_the_full_response_tells_why(seen: dict[str, Any]) -> None:
    assert seen["refused"] is None
    assert seen["too_long"]["status"] is False
    assert seen["ledger"] == {"sdk-buy": [seen["ids"][0]], "sdk-stop": [seen["ids"][1]]}


def test_breach_of_a_limit_is_the_sdks_data_exception(seen: dict[str, Any]) -> None:
    kind, text = seen["limited"]
    assert kind == "DataException"
    assert "Access denied because of exceeding access rate" in text


def test_order_feed_tells_each_step(seen: dict[str, Any]) -> None:
    assert seen["codes"][0] == "AB00"
    assert {"AB05", "AB10", "AB04", "AB02"} <= set(seen["codes"])


def test_market_feed_sends_all_modes(seen: dict[str, Any]) -> None:
    assert sorted(seen["frames"]) == ["1", "2", "3", "4"]
    snap = seen["frames"]["3"]
    assert snap["token"] == "2885"
    assert snap["best_5_buy_data"][0]["price"] < snap["best_5_sell_data"][0]["price"]
    assert snap["lower_circuit_limit"] < snap["last_traded_price"] < snap["upper_circuit_limit"]


def test_each_mode_of_the_feed_tells_more_of_the_same(seen: dict[str, Any]) -> None:
    ltp, quote, snap, depth = (seen["frames"][mode] for mode in "1234")
    assert set(ltp) < set(quote) < set(snap)
    for tick in (ltp, quote, snap):
        assert abs(tick["last_traded_price"] / 100 / seen["ltp"]["ltp"] - 1) < 0.05
        assert tick["exchange_type"] == 1
    assert quote["low_price_of_the_day"] <= quote["open_price_of_the_day"] <= quote["high_price_of_the_day"]
    assert quote["volume_trade_for_the_day"] > 0
    assert snap["closed_price"] == round(seen["ltp"]["close"] * 100)
    assert [len(snap[f"best_5_{side}_data"]) for side in ("buy", "sell")] == [5, 5]
    assert len(depth["depth_20_buy_data"]) == 20


def test_quotes_have_four_fields_or_eight(seen: dict[str, Any]) -> None:
    (short,), (longer,) = seen["short_quotes"]
    assert sorted(short) == ["exchange", "ltp", "symbolToken", "tradingSymbol"]
    assert set(longer) - set(short) == {"open", "high", "low", "close"}


def test_reads_have_the_shapes_that_the_sdk_expects(seen: dict[str, Any]) -> None:
    assert seen["rms"]["utilisedspan"] is None
    assert seen["holding"] is None
    assert seen["all_holding"] == []
    assert [row["symbolToken"] for row in seen["quote"]["fetched"]] == ["2885", "99926000"]
    first, second = [row[0] for row in seen["candles"]][:2]
    assert (first, second) == ("2026-11-20T09:15:00+05:30", "2026-11-20T09:20:00+05:30")
    assert seen["search"] == [{"exchange": "NSE", "tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885"}]
    assert seen["margin"] == 200.0
    assert seen["charges"]["summary"]["trade_value"] == 8000.0


def test_rules_live_and_die(seen: dict[str, Any]) -> None:
    assert seen["gtt"] == ["1", "999.00", 1, "1"]


def test_session_ends_with_the_logout(seen: dict[str, Any]) -> None:
    assert seen["logout"] is True
    assert seen["after"]["errorCode"] == "AG8001"
