from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.account import Egress
from broker.angel_one import feed_socket
from broker.angel_one.order_feed import CODES, SILENCE_S, OrderFeed, OrderUpdate, parse
from shared.clock import SystemClock
from tests.broker.angel_one.feed_peer import FeedPeer
from tests.broker.angel_one.peer import Client, until


def message(code: str = "AB05", **order: object) -> str:
    data = {
        "orderid": "261126000000001",
        "ordertag": "tag-1",
        "status": "complete",
        "filledshares": "10",
        **order,
    }
    return json.dumps({"user-id": "A1", "status-code": "200", "order-status": code, "orderData": data})


@pytest.fixture
async def far() -> AsyncIterator[FeedPeer]:
    async with FeedPeer() as serving:
        yield serving


@pytest.fixture
async def feed(client: Client, far: FeedPeer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OrderFeed]:
    monkeypatch.setattr(feed_socket, "GOODBYE_S", 0.1)
    made = OrderFeed(far.url, client.session, Egress(), SystemClock())
    made.start()
    async with asyncio.timeout(5):
        await made.wait_open()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AB01", "open"), ("AB02", "cancelled"), ("AB03", "rejected"), ("AB04", "modified"),
        ("AB05", "complete"), ("AB06", "after market order req received"),
        ("AB07", "cancelled after market order"),
        ("AB08", "modify after market order req received"), ("AB09", "open pending"),
        ("AB10", "trigger pending"), ("AB11", "modify pending"),
    ],
)  # fmt: skip
def test_code_is_mapped_to_its_meaning(code: str, status: str) -> None:
    found = parse(message(code, status=status))
    assert found == OrderUpdate(code, status, "tag-1", "261126000000001", 10)
    assert parse(message(code).encode()) == found


def test_every_code_of_the_documentation_is_known() -> None:
    assert list(CODES) == [f"AB{number:02d}" for number in range(12)]


def test_unknown_code_keeps_the_orders_own_word() -> None:
    found = parse(message("AB99", status="odd"))
    assert found is not None
    assert (found.code, found.status) == ("AB99", "odd")


def test_greeting_is_none_and_a_rejection_labelled_so_is_told() -> None:
    empty = json.dumps({"order-status": "AB00", "orderData": {"orderid": "", "quantity": "0", "price": 0}})
    greeting, rejection = parse(empty), parse(message("AB00", status="rejected"))
    assert greeting is not None
    assert rejection is not None
    assert (greeting.code, greeting.orderid) == ("AB00", "")
    assert (rejection.code, rejection.status) == ("AB03", "rejected")


@pytest.mark.parametrize("filled", ["", "x", "²", "-1", "1.5", "9" * 5000, None, [], 3.5])
def test_filled_shares_that_are_no_number_are_none(filled: object) -> None:
    found = parse(message(filledshares=filled))
    assert found is not None
    assert found.filled == 0


@pytest.mark.parametrize(
    "data", ["", "x", "[]", "7", b"\xff", '{"orderData":[1]}', '{"orderData":' + "[" * 50_000]
)
def test_what_is_no_update_is_none(data: bytes | str) -> None:
    assert parse(data) is None


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_message_is_an_update_or_none(data: bytes | str) -> None:
    found = parse(data)
    assert found is None or isinstance(found, OrderUpdate)


async def test_updates_reach_all_who_listen_and_heartbeats_do_not(feed: OrderFeed, far: FeedPeer) -> None:
    first: list[OrderUpdate] = []
    second: list[str] = []
    feed.listen(first.append)
    feed.listen(lambda update: second.append(update.code))
    for data in (b"", b"\x00", message("AB00", orderid=""), message("AB09"), b"\x00", b"\x00\x00", "pong"):
        await far.say(data)
    await far.say(b"garbage")
    await far.say("[]")
    await far.say(message("AB05").encode())
    await until(lambda: len(first) == 2)
    assert [update.code for update in first] == second == ["AB09", "AB05"]
    assert (feed.bad, feed.connected) == (2, True)


async def test_update_that_breaks_the_feed_cannot_come(feed: OrderFeed, far: FeedPeer) -> None:
    heard: list[OrderUpdate] = []
    feed.listen(heard.append)
    for filled in ("²", "9" * 5000):
        await far.say(message(filledshares=filled))
    await far.say('{"orderData":' + "[" * 50_000)
    await far.say(message("AB05"))
    await until(lambda: len(heard) == 3)
    assert len(far.handshakes) == 1


async def test_not_even_a_heartbeat_is_silence(client: Client) -> None:
    made = OrderFeed("ws://127.0.0.1:9/", client.session, Egress(), SystemClock())
    assert (made.too_silent(SILENCE_S), made.too_silent(SILENCE_S + 1)) == (False, True)


def test_recorded_updates_are_read(smartapi: Callable[[str], Any]) -> None:
    file = smartapi("recorded/ws_order_update.json")
    first, second = (parse(json.dumps(each)) for each in file["messages"])
    assert first == OrderUpdate("AB09", "open pending", "", "241226000761133", 0)
    assert second == OrderUpdate("AB05", "complete", "", "241226000790638", 1)
    assert bytes.fromhex(file["heartbeat_hex"]) == b"\x00"
