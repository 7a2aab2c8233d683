"""The HTTP side: both envelopes, the quirks of the service, and garbage that must not hurt."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.box import (
    BOOK,
    CANCEL,
    LOGIN,
    MODIFY,
    PLACE,
    POSITIONS,
    QUOTE,
    RMS,
    SECURE,
    TOKENS,
    Box,
    Reply,
    box,
)

GET = (
    "order/v1/getOrderBook", "order/v1/getTradeBook", "order/v1/getPosition", "portfolio/v1/getHolding",
    "portfolio/v1/getAllHolding", "user/v1/getRMS", "user/v1/getProfile", "marketData/v1/putCallRatio",
    "marketData/v1/nseIntraday", "marketData/v1/bseIntraday", "securities/v1/cautionaryScrips",
    "order/v1/details/none",
)  # fmt: skip
POST = (
    "order/v1/placeOrder", "order/v1/modifyOrder", "order/v1/cancelOrder", "order/v1/getLtpData",
    "order/v1/searchScrip", "order/v1/convertPosition", "market/v1/quote", "market/v1/quote/",
    "historical/v1/getCandleData", "historical/v1/getOIData", "gtt/v1/createRule", "gtt/v1/modifyRule",
    "gtt/v1/cancelRule", "gtt/v1/ruleDetails", "gtt/v1/ruleList", "margin/v1/batch",
    "brokerage/v1/estimateCharges", "edis/v1/verifyDis", "edis/v1/generateTPIN", "edis/v1/getTranStatus",
    "marketData/v1/optionGreek", "marketData/v1/gainersLosers", "marketData/v1/OIBuildup",
)  # fmt: skip
SECURED = [("GET", SECURE + path) for path in GET] + [("POST", SECURE + path) for path in POST]
ADMIN = [("POST", "/sandbox/faults"), ("POST", "/sandbox/switches"), ("POST", "/sandbox/clock"),
         ("POST", "/sandbox/price"), ("DELETE", "/sandbox/faults"), ("GET", "/sandbox/ledger")]  # fmt: skip
EVERYWHERE = [*SECURED, ("POST", LOGIN), ("POST", TOKENS), *ADMIN]
GARBAGE = [
    b"",
    b"x",
    b"null",
    b"[]",
    b"{",
    b'{"a":"\xff\xfe"}',
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b'{"price":1e999}',
    b'{"quantity":' + b"9" * 5_000 + b"}",
    b'"\\ud800"',
    b"\x00" * 100,
]


async def alive(sandbox: Box) -> None:
    reply = await sandbox.get(BOOK)
    assert (reply.status, reply.json["status"]) == (200, True)


@pytest.mark.parametrize("raw", GARBAGE, ids=lambda raw: str(raw[:8]))
async def test_garbage_to_every_route_is_told_and_hurts_nothing(raw: bytes) -> None:
    async with box() as sandbox:
        for method, path in EVERYWHERE:
            sandbox.clock.advance(1.01)
            reply = await sandbox.send(method, path, raw=raw)
            assert reply.status in (200, 400, 403), (path, reply)
        await alive(sandbox)


async def test_body_that_is_too_large_is_refused_and_the_server_goes_on() -> None:
    async with box() as sandbox:
        for path in (PLACE, LOGIN, "/sandbox/faults"):
            # The answer may be overtaken by the end of the connection: the rest of the body is not read.
            with contextlib.suppress(aiohttp.ClientOSError):
                reply = await sandbox.send("POST", path, raw=b'{"a":"' + b"x" * 3_000_000 + b'"}')
                assert reply.status == 413
        await alive(sandbox)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "nonsense"])
async def test_body_in_an_encoding_that_it_is_not_in_is_no_server_error(encoding: str) -> None:
    async with box() as sandbox:
        reply = await sandbox.send("POST", PLACE, raw=b"{}", headers={"Content-Encoding": encoding})
        assert reply.status < 500
        await alive(sandbox)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/", 404), ("POST", "/rest/secure/nothing", 404), ("GET", PLACE, 405), ("POST", BOOK, 405),
    ("GET", "/%ff%00", 404), ("GET", "/" + "a" * 5_000, 404), ("DELETE", "/sandbox/ledger", 405),
    ("PATCH", LOGIN, 405),
])  # fmt: skip
async def test_unknown_path_or_method_is_told(method: str, path: str, status: int) -> None:
    async with box() as sandbox:
        assert (await sandbox.send(method, path, {})).status == status
        await alive(sandbox)


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 2_000,
        b"POST " * 9_000,
        b"POST /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_does_not_end_the_server(raw: bytes) -> None:
    async with box() as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.listening.port)
        writer.write(raw)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 20)
        assert not answer or b" 500 " not in answer.splitlines()[0]
        writer.close()
        await alive(sandbox)


NAMES = st.sampled_from(
    [
        "variety",
        "tradingsymbol",
        "symboltoken",
        "transactiontype",
        "exchange",
        "ordertype",
        "producttype",
        "duration",
        "price",
        "triggerprice",
        "quantity",
        "disclosedquantity",
        "ordertag",
        "orderid",
        "mode",
        "exchangeTokens",
        "interval",
        "fromdate",
        "todate",
        "status",
        "page",
        "count",
        "id",
        "qty",
        "positions",
        "orders",
        "oldproducttype",
        "newproducttype",
        "searchscrip",
        "refreshToken",
        "clientcode",
        "password",
        "totp",
        "advance_s",
        "symbol",
        "lock",
        "kind",
        "probability",
        "target",
    ]
)
WORDS = st.sampled_from([
    "NORMAL", "STOPLOSS", "AMO", "RELIANCE-EQ", "2885", "99926000", "BUY", "SELL", "NSE", "MARKET", "LIMIT",
    "STOPLOSS_LIMIT", "INTRADAY", "DELIVERY", "DAY", "IOC", "1e9999", "NaN", "Infinity", "-1", "0", "1",
    "0001-01-01 00:00", "9999-12-31 23:59", "ONE_MINUTE", "ONE_DAY", "FULL", "x" * 10_000, "\u0000", "१",
])  # fmt: skip
LEAVES = st.one_of(WORDS, st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False),
                   st.text(max_size=8))  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(NAMES, WORDS), inner, max_size=3)
    ),
    max_leaves=6,
)
RIGHT: dict[str, Any] = {
    "variety": "NORMAL",
    "tradingsymbol": "RELIANCE-EQ",
    "symboltoken": "2885",
    "transactiontype": "BUY",
    "exchange": "NSE",
    "ordertype": "LIMIT",
    "producttype": "INTRADAY",
    "duration": "DAY",
    "price": "2500",
    "quantity": "1",
    "triggerprice": "2500",
    "qty": "1",
    "mode": "FULL",
    "exchangeTokens": {"NSE": ["2885"]},
    "interval": "ONE_MINUTE",
    "fromdate": "2021-04-09 09:15",
    "todate": "2021-04-09 09:20",
    "status": ["FORALL"],
    "page": 1,
    "count": 10,
    "id": "1",
    "searchscrip": "REL",
    "oldproducttype": "INTRADAY",
    "newproducttype": "DELIVERY",
    "positions": [{"token": "2885", "qty": 1, "price": 1}],
    "orders": [{"product_type": "INTRADAY", "transaction_type": "BUY", "quantity": "1", "price": "9"}],
}
BODIES = st.one_of(
    st.dictionaries(NAMES, VALUES, max_size=4),
    st.dictionaries(NAMES, VALUES, max_size=2).map(lambda change: {**RIGHT, **change}),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVERYWHERE), BODIES), min_size=40, max_size=60))
def test_wrong_types_never_end_in_a_server_error(calls: list[tuple[tuple[str, str], dict[str, Any]]]) -> None:
    async def throw() -> None:
        async with box() as sandbox:
            for (method, path), body in calls:
                sandbox.clock.advance(1.01)
                reply = await sandbox.send(method, path, body)
                assert reply.status < 500, (path, body, reply)
            await sandbox.send("DELETE", "/sandbox/faults")
            await sandbox.login()
            await alive(sandbox)

    asyncio.run(throw())


@pytest.mark.parametrize(("method", "path"), SECURED, ids=lambda each: each.rpartition("/v1/")[2])
async def test_secured_route_needs_a_session(method: str, path: str) -> None:
    async with box(login=False) as sandbox:
        reply = await sandbox.send(method, path, {} if method == "POST" else None)
        assert reply.json == {"success": False, "message": "Token missing", "errorCode": "AG8003", "data": ""}
        wrong = await sandbox.send(method, path, headers={"Authorization": "Bearer nonsense"})
        assert wrong.code == "AG8001"


def envelope(reply: Reply) -> str:
    keys = set(reply.json)
    return {
        frozenset({"status", "message", "errorcode", "data"}): "ordinary",
        frozenset({"success", "message", "errorCode", "data"}): "gateway",
    }[frozenset(keys)]


async def test_each_error_code_comes_in_its_envelope() -> None:
    async with box(allowed_addresses="10.0.0.1") as sandbox:
        order = await sandbox.order()
        told = {
            "AG7002": await sandbox.post(PLACE, order),
            "AB1013": await sandbox.get(f"{SECURE}order/v1/details/none"),
            "AB1007": await sandbox.post(QUOTE, {}),
            "AG8004": await sandbox.send("GET", RMS, headers={"X-PrivateKey": "no"}),
            "AG8001": await sandbox.send("GET", RMS, headers={"Authorization": "Bearer no"}),
            "AB1050": await sandbox.login(totp="000000"),
            "AG8003": await sandbox.get(RMS),
        }
        assert {code: reply.code for code, reply in told.items()} == {code: code for code in told}
        assert {code for code, reply in told.items() if envelope(reply) == "gateway"} == {
            "AG7002", "AG8001", "AG8003",
        }  # fmt: skip
        for reply in told.values():
            assert reply.status == 200
            assert reply.json.get("status", reply.json.get("success")) is False
            assert reply.json["message"]


async def test_envelope_and_status_of_a_code_are_switches() -> None:
    async with box(gateway_codes="AB1007,AG8004", auth_status=401, address_status=403) as sandbox:
        assert envelope(await sandbox.post(QUOTE, {})) == "gateway"
        assert envelope(await sandbox.send("GET", RMS, headers={"X-PrivateKey": "no"})) == "gateway"
        lost = await sandbox.send("GET", RMS, headers={"Authorization": "Bearer no"})
        assert (envelope(lost), lost.status) == ("ordinary", 401)
        await sandbox.switch(allowed_addresses="10.0.0.1")
        refused = await sandbox.post(PLACE, {})
        assert (refused.code, refused.status, envelope(refused)) == ("AG7002", 403, "ordinary")


@pytest.mark.parametrize("path", [PLACE, MODIFY, CANCEL, *(f"{prefix}{SECURE}gtt/v1/{name}Rule"
    for prefix in ("", "/gtt-service") for name in ("create", "modify", "cancel"))])  # fmt: skip
async def test_order_and_rule_writes_come_from_a_registered_address_only(path: str) -> None:
    async with box(allowed_addresses="127.0.0.2, 10.0.0.1") as sandbox:
        liar = {"X-ClientPublicIP": "10.0.0.1", "X-Forwarded-For": "10.0.0.1"}
        assert (await sandbox.send("POST", path, {}, headers=liar)).code == "AG7002"
        for free in (BOOK, POSITIONS, RMS):
            assert (await sandbox.get(free)).json["status"] is True
        await sandbox.switch(allowed_addresses="127.0.0.1")
        assert (await sandbox.send("POST", path, {})).code != "AG7002"


async def test_query_is_ignored_and_aliases_are_served() -> None:
    async with box() as sandbox:
        assert (await sandbox.get(f"{BOOK}?%7B%7D")).data is None
        profile = f"{SECURE}user/v1/getProfile?%7B%22refreshToken%22%3A+%22x%22%7D"
        assert (await sandbox.get(profile)).data["clientcode"] == sandbox.who.client_code
        ltp = {"exchange": "NSE", "tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885"}
        for prefix in ("", "/order-service"):
            assert (await sandbox.post(f"{prefix}{SECURE}order/v1/getLtpData", ltp)).data["ltp"] > 0
        quote = {"mode": "LTP", "exchangeTokens": {"NSE": ["2885"]}}
        for path in (QUOTE, f"{QUOTE}/"):
            assert len((await sandbox.post(path, quote)).data["fetched"]) == 1


async def test_bare_token_is_as_good_as_one_with_bearer() -> None:
    async with box() as sandbox:
        assert (await sandbox.send("GET", RMS, headers={"Authorization": sandbox.tokens["jwtToken"]})).json[
            "status"
        ] is True


@pytest.mark.parametrize(
    ("lists", "listed"), [("list", ["nse_cm", "cde_fo"]), ("text", '["nse_cm","cde_fo"]')]
)
async def test_profile_has_lists_or_text_by_the_switch(lists: str, listed: object) -> None:
    async with box(profile_lists=lists, cds_listed=True) as sandbox:
        assert (await sandbox.get(f"{SECURE}user/v1/getProfile")).data["exchanges"] == listed


async def test_many_clients_at_once_see_their_own_orders_only() -> None:
    async with box(accounts=40) as sandbox:
        order = await sandbox.order()
        for number in range(40):
            await sandbox.login(number)
            tag = sandbox.who.client_code
            await sandbox.post(PLACE, {**order, "ordertag": tag})
            assert [row["ordertag"] for row in await sandbox.book()] == [tag]
        assert len((await sandbox.ledger())["by_tag"]) == 40
