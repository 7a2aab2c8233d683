from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.sandbox.box import CANCEL, MODIFY, Box, box

Socket = aiohttp.ClientWebSocketResponse


async def next_told(socket: Socket) -> dict[str, Any]:
    told: dict[str, Any] = await socket.receive_json(timeout=20)
    return told


async def opened(sandbox: Box) -> Socket:
    """Open the feed and hear its greeting."""
    socket = await sandbox.order_feed()
    assert (await next_told(socket))["order-status"] == "AB00"
    return socket


async def test_first_message_is_ab00_with_an_order_of_nothing() -> None:
    async with box() as sandbox:
        told = await next_told(await sandbox.order_feed())
        assert (told["user-id"], told["status-code"], told["error-message"]) == (
            sandbox.who.client_code,
            "200",
            "",
        )
        data = told["orderData"]
        assert data["quantity"] == "0"
        assert data["price"] == data["averageprice"] == 0
        assert data["orderid"] == data["ordertag"] == data["status"] == ""


async def test_each_step_of_an_order_is_told_with_its_code() -> None:
    async with box() as sandbox:
        socket = await opened(sandbox)
        body = await sandbox.order(ordertag="mine")
        orderid = (await sandbox.post("/rest/secure/angelbroking/order/v1/placeOrder", body)).data["orderid"]
        await sandbox.settled(orderid, "open")
        await sandbox.post(MODIFY, {**body, "orderid": orderid, "quantity": "9"})
        sandbox.clock.advance(1)
        await sandbox.settled(orderid, "open")
        told = [await next_told(socket) for _ in range(4)]
        await sandbox.post(CANCEL, {"variety": "NORMAL", "orderid": orderid})
        await sandbox.settled(orderid, "cancelled")
        told.append(await next_told(socket))
        assert [each["order-status"] for each in told] == ["AB09", "AB01", "AB04", "AB01", "AB02"]
        assert {each["orderData"]["ordertag"] for each in told} == {"mine"}
        assert {each["orderData"]["orderid"] for each in told} == {orderid}
        assert told[-1]["orderData"]["cancelsize"] == "9"


async def test_fill_and_rejection_are_told() -> None:
    async with box() as sandbox:
        socket = await opened(sandbox)
        bought = (await sandbox.place(ordertype="MARKET")).data["orderid"]
        await sandbox.settled(bought, "complete")
        poor = (await sandbox.place(quantity="100000")).data["orderid"]
        await sandbox.settled(poor, "rejected")
        codes: dict[str, dict[str, Any]] = {}
        while poor not in codes or codes[poor]["order-status"] != "AB03":
            told = await next_told(socket)
            codes[told["orderData"]["orderid"]] = told
        assert codes[bought]["order-status"] == "AB05"
        assert codes[bought]["orderData"]["filledshares"] == "10"
        assert "Insufficient Funds" in codes[poor]["error-message"]


@pytest.mark.parametrize("carries", [True, False])
async def test_ids_of_broker_and_exchange_are_carried_by_the_switch(carries: bool) -> None:
    async with box(order_feed_ids=carries) as sandbox:
        socket = await opened(sandbox)
        await sandbox.place()
        data = (await next_told(socket))["orderData"]
        assert ("uniqueorderid" in data) is ("exchangeorderid" in data) is carries


async def test_nobody_hears_of_anothers_orders() -> None:
    async with box() as sandbox:
        first = await opened(sandbox)
        await sandbox.login(1)
        second = await opened(sandbox)
        await sandbox.place(ordertag="second")
        assert (await next_told(second))["orderData"]["ordertag"] == "second"
        await first.send_str("ping")
        assert (await first.receive_str(timeout=20)) == "pong"


async def refused(sandbox: Box, authorization: str | None = None) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as told:
        await sandbox.order_feed(authorization)
    return told.value.status


async def test_upgrade_is_401_403_or_429() -> None:
    async with box() as sandbox:
        assert await refused(sandbox, "Bearer nonsense") == 401
        assert await refused(sandbox, "") == 401
        three = [await opened(sandbox) for _ in range(3)]
        assert await refused(sandbox) == 429
        await sandbox.send("POST", "/sandbox/clock", {"advance_s": 12 * 3600})
        assert await refused(sandbox) == 403
        assert not any(each.closed for each in three)


async def test_connections_that_come_at_once_do_not_slip_through() -> None:
    async with box() as sandbox:
        tried = await asyncio.gather(*(sandbox.order_feed() for _ in range(12)), return_exceptions=True)
        assert sum(isinstance(each, aiohttp.ClientWebSocketResponse) for each in tried) == 3


async def test_garbage_from_the_client_is_ignored() -> None:
    async with box() as sandbox:
        socket = await opened(sandbox)
        for said in ("nonsense", "{}", "[" * 100_000):
            await socket.send_str(said)
        await socket.send_bytes(b"\xff" * 100)
        await sandbox.place(ordertag="mine")
        assert (await next_told(socket))["orderData"]["ordertag"] == "mine"
