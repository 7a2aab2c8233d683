from __future__ import annotations

import socket
from typing import Any

import msgspec
import pytest

from tests.sandbox.box import PLACE, QUOTE, RMS, box


async def test_info_tells_market_and_time() -> None:
    async with box() as sandbox:
        first = (await sandbox.send("GET", "/sandbox/info")).json
        sandbox.clock.advance(100)
        second = (await sandbox.send("GET", "/sandbox/info")).json
        assert first["market"] == second["market"] == sandbox.listening.market
        assert second["market_time_us"] - first["market_time_us"] == 100_000_000
        assert first["in_session"] is True
        assert "seed 7" in first["label"]


async def test_ledger_is_filtered_by_client_and_tag_and_counts() -> None:
    async with box() as sandbox:
        await sandbox.place(ordertag="a")
        await sandbox.place(ordertag="a")
        await sandbox.place(ordertag="b", ordertype="MARKET")
        await sandbox.login(1)
        await sandbox.place(ordertag="a")
        assert {tag: len(ids) for tag, ids in (await sandbox.ledger())["by_tag"].items()} == {"a": 3, "b": 1}
        mine = await sandbox.ledger(client_code="S0000002")
        assert [row["client_code"] for row in mine["orders"]] == ["S0000002"]
        tagged = await sandbox.ledger(tag="b")
        assert [row["ordertag"] for row in tagged["orders"]] == ["b"]
        counts = tagged["counts"]
        assert counts["by_endpoint"]["placeOrder"] == 4
        assert counts["by_endpoint"]["loginByPassword"] == 2
        assert counts["requests"] == sum(counts["by_endpoint"].values())
        await sandbox.settled(tagged["orders"][0]["orderid"], "complete")
        assert [(row["client_code"], row["netqty"]) for row in (await sandbox.ledger())["positions"]] == [
            ("S0000001", 10)
        ]


async def test_ledger_knows_what_was_rejected_later_and_nothing_of_what_was_refused() -> None:
    async with box() as sandbox:
        await sandbox.place(ordertag="poor", quantity="1000000")
        await sandbox.place(ordertag="wrong", symboltoken="1")
        assert list((await sandbox.ledger())["by_tag"]) == ["poor"]


async def test_address_is_the_peers() -> None:
    async with box() as sandbox:
        assert (await sandbox.send("GET", "/sandbox/address")).raw == b"127.0.0.1"


async def test_orders_are_taken_from_the_address_that_a_client_has_registered() -> None:
    async with box() as sandbox:
        given = {"client_code": "S0000001", "address": "192.0.2.7"}
        assert (await sandbox.send("POST", "/sandbox/address", given)).json == given
        assert (await sandbox.place()).code == "AG7002"
        await sandbox.get(RMS)
        await sandbox.login(1)
        assert (await sandbox.place()).data["orderid"], "another's are taken as before"
        await sandbox.send("POST", "/sandbox/address", {**given, "address": ""})
        await sandbox.login(0)
        assert (await sandbox.place()).data["orderid"]
        for wrong in ({}, {**given, "client_code": "X"}):
            assert (await sandbox.send("POST", "/sandbox/address", wrong)).status == 400


async def test_server_listens_on_loopback_alone() -> None:
    async with box() as sandbox:
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in {"127.0.0.2", *others} - {"127.0.0.1"}:
            with socket.socket() as line, pytest.raises(OSError):
                line.settimeout(2)
                line.connect((str(address), sandbox.listening.port))
                line.shutdown(socket.SHUT_RDWR)


async def test_switches_are_read_and_set_and_a_mistake_changes_nothing() -> None:
    async with box() as sandbox:
        before = (await sandbox.send("GET", "/sandbox/switches")).json
        assert before["market_policy"] == "convert"
        await sandbox.switch(market_policy="refuse", tag_limit=20)
        assert (await sandbox.place(ordertype="MARKET")).code == "AB1007"
        assert (await sandbox.place(ordertag="x" * 20)).data
        wrong: list[dict[str, Any]] = [
            {"market_policy": "accept", "nonsense": 1}, {"market_policy": "maybe"}, {"square_off": "99:00"},
            {"latency_low_ms": -1}, {"latency_low_ms": 100, "latency_high_ms": 10}, {"feed_silence_s": 0},
            {"limit_content_type": "x"}, {"tag_limit": 18},
        ]  # fmt: skip
        for each in wrong:
            assert (await sandbox.send("POST", "/sandbox/switches", each)).status == 400
        after = (await sandbox.send("GET", "/sandbox/switches")).json
        assert after == before | {"market_policy": "refuse", "tag_limit": 20}


@pytest.mark.parametrize("advance", [1e300, -1e300, 1e12, "x", None])
async def test_clock_stays_within_reason(advance: object) -> None:
    async with box() as sandbox:
        assert (await sandbox.send("POST", "/sandbox/clock", {"advance_s": advance})).status == 400
        assert (await sandbox.get(RMS)).json["status"] is True


async def test_locked_price_has_one_side_only() -> None:
    async with box() as sandbox:
        full = {"mode": "FULL", "exchangeTokens": {"NSE": ["2885"]}}
        for lock, side in (("upper", "sell"), ("lower", "buy")):
            await sandbox.send("POST", "/sandbox/price", {"symbol": "RELIANCE", "lock": lock})
            row = (await sandbox.post(QUOTE, full)).data["fetched"][0]
            assert row["ltp"] == row[f"{lock}Circuit"]
            assert {level["quantity"] for level in row["depth"][side]} == {0}
        limit = f"{(await sandbox.last()):.2f}"
        orderid = (await sandbox.place(transactiontype="SELL", price=limit)).data["orderid"]
        assert (await sandbox.settled(orderid, "open"))["filledshares"] == "0"
        freed = await sandbox.send("POST", "/sandbox/price", {"symbol": "RELIANCE", "lock": None})
        assert freed.json == {"locks": {}}
        for bad in ({"symbol": "NOSUCH", "lock": "upper"}, {"symbol": "RELIANCE", "lock": "sideways"}, {}):
            assert (await sandbox.send("POST", "/sandbox/price", bad)).status == 400


async def test_master_has_the_real_tokens_and_may_be_as_large_as_the_real_one() -> None:
    path = "/OpenAPI_File/files/OpenAPIScripMaster.json"
    async with box() as sandbox:
        rows = (await sandbox.send("GET", path)).json
        (reliance,) = [row for row in rows if row["symbol"] == "RELIANCE-EQ"]
        assert (reliance["token"], reliance["exch_seg"], reliance["strike"]) == ("2885", "NSE", "-1.000000")
        assert all(
            isinstance(value, bool if name == "is_cas_enabled" else str) for name, value in reliance.items()
        )
        (nifty,) = [row for row in rows if row["token"] == "99926000"]
        assert (nifty["instrumenttype"], nifty["tick_size"]) == ("AMXIDX", "0.000000")
        large = (await sandbox.send("GET", f"{path}?size=full")).raw
        assert len(large) > 30_000_000
        assert len(msgspec.json.decode(large)) > 180_000
        assert (await sandbox.send("POST", PLACE, {})).status == 200
