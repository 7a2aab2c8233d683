"""Every kind of fault, seen by a client over a real socket."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import msgspec
import pytest

from sandbox.faults import (
    BOOK_KINDS,
    FEED_KINDS,
    ORDER_KINDS,
    Fault,
    Faults,
    Kind,
    Target,
    mixture,
    parse,
)
from shared.errors import ConfigurationError
from tests.sandbox.box import BOOK, CANCEL, LOGIN, MODIFY, PLACE, POSITIONS, RMS, TRADES, Box, box, until

LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


async def tags(sandbox: Box) -> dict[str, list[str]]:
    found: dict[str, list[str]] = (await sandbox.ledger())["by_tag"]
    return found


async def test_drop_before_acceptance_leaves_no_trace() -> None:
    async with box() as sandbox:
        await sandbox.fault("drop_before_accept", times=1)
        with pytest.raises(LOST):
            await sandbox.place(ordertag="gone")
        assert await tags(sandbox) == {}
        assert (await sandbox.place(ordertag="here")).data["orderid"]


async def test_reset_after_acceptance_loses_the_reply_and_keeps_the_order() -> None:
    async with box() as sandbox:
        await sandbox.fault("accept_then_reset", times=1)
        with pytest.raises(LOST):
            await sandbox.place(ordertag="mine")
        assert len((await tags(sandbox))["mine"]) == 1
        assert [row["ordertag"] for row in await sandbox.book()] == ["mine"]


async def test_hang_after_acceptance_ends_without_a_word() -> None:
    async with box() as sandbox:
        await sandbox.fault("accept_then_hang", times=1, delay_s=0.2)
        body = await sandbox.order(ordertag="mine")
        hung = asyncio.create_task(sandbox.post(PLACE, body))

        async def accepted() -> list[str]:
            return (await tags(sandbox)).get("mine", [])

        assert len(await until(accepted)) == 1
        assert not hung.done()
        with pytest.raises(LOST):
            await hung


async def test_late_acceptance_comes_after_the_connection_was_dropped() -> None:
    async with box() as sandbox:
        await sandbox.fault("accept_late", times=1, delay_s=0.1)
        with pytest.raises(LOST):
            await sandbox.place(ordertag="late")
        assert await tags(sandbox) == {}

        async def accepted() -> list[str]:
            return (await tags(sandbox)).get("late", [])

        assert len(await until(accepted)) == 1


@pytest.mark.parametrize(("kind", "status", "raw"), [
    ("accept_then_5xx", 502, b"<html><body>502 Bad Gateway</body></html>"),
    ("accept_then_garbage", 200, b'{"status":tru\x00'),
    ("accept_then_empty", 200, b""),
])  # fmt: skip
async def test_spoilt_reply_hides_an_order_that_was_accepted(kind: str, status: int, raw: bytes) -> None:
    async with box() as sandbox:
        await sandbox.fault(kind, times=1)
        reply = await sandbox.place(ordertag="mine")
        assert (reply.status, reply.raw) == (status, raw)
        assert len((await tags(sandbox))["mine"]) == 1


@pytest.mark.parametrize(("kind", "status", "words"), [
    ("rate_403", 403, b"exceeding access rate"), ("too_many_429", 429, b"Too Many Requests"),
    ("html", 200, b"Request Rejected"),
])  # fmt: skip
async def test_refusal_comes_before_anything_is_accepted(kind: str, status: int, words: bytes) -> None:
    async with box() as sandbox:
        body = await sandbox.order(ordertag="none")
        await sandbox.fault(kind, times=2)
        reply = await sandbox.post(PLACE, body)
        assert reply.status == status
        assert words in reply.raw
        assert await tags(sandbox) == {}
        # Without a target it strikes everywhere, the login included.
        assert (await sandbox.post(LOGIN, {})).status == status


async def test_expired_token_ends_the_session_until_the_next_login() -> None:
    async with box() as sandbox:
        await sandbox.fault("expired_token", times=1)
        assert (await sandbox.get(BOOK)).code == "AG8002"
        assert (await sandbox.get(RMS)).code == "AG8002"
        await sandbox.login()
        assert (await sandbox.get(BOOK)).data is None


async def test_book_fails_is_empty_or_is_cut_off() -> None:
    async with box() as sandbox:
        await sandbox.settled((await sandbox.place()).data["orderid"], "open")
        whole = (await sandbox.get(BOOK)).raw
        await sandbox.fault("book_fails", times=1)
        assert (await sandbox.get(BOOK)).status == 500
        await sandbox.fault("book_empty", times=1)
        assert (await sandbox.get(BOOK)).data is None
        await sandbox.fault("book_truncated", times=1)
        cut = await sandbox.get(BOOK)
        assert cut.raw == whole[: len(cut.raw)]
        with pytest.raises(msgspec.DecodeError):
            cut.json  # noqa: B018
        assert len(await sandbox.book()) == 1


async def test_stale_book_shows_what_was_once() -> None:
    async with box() as sandbox:
        first = (await sandbox.place()).data["orderid"]
        old = [row["orderid"] for row in await sandbox.book()]
        second = (await sandbox.place()).data["orderid"]
        assert [row["orderid"] for row in await sandbox.book()] == [first, second]
        await sandbox.fault("book_stale", times=1)
        assert [row["orderid"] for row in await sandbox.book()] == old == [first]
        assert len(await sandbox.book()) == 2


@pytest.mark.parametrize("path", [BOOK, TRADES, POSITIONS])
async def test_faults_of_the_books_strike_each_of_them(path: str) -> None:
    async with box() as sandbox:
        await sandbox.fault("book_fails")
        assert (await sandbox.get(path)).status == 500
        assert (await sandbox.get(RMS)).status == 200


async def test_target_names_one_endpoint_and_one_client() -> None:
    async with box() as sandbox:
        code = sandbox.who.client_code
        await sandbox.fault("accept_then_5xx", target={"endpoint": "cancelOrder", "client_code": code})
        assert (await sandbox.place()).status == 200
        assert (await sandbox.post(MODIFY, {})).status == 200
        assert (await sandbox.post(CANCEL, {})).status == 502
        await sandbox.login(1)
        assert (await sandbox.post(CANCEL, {})).status == 200
        await sandbox.fault("accept_then_5xx", target={"endpoint": "getOrderBook"})
        assert (await sandbox.get(BOOK)).status == 502


async def test_cancel_whose_reply_is_lost_has_been_carried_out() -> None:
    async with box() as sandbox:
        orderid = (await sandbox.place()).data["orderid"]
        await sandbox.settled(orderid, "open")
        await sandbox.fault("accept_then_reset", target={"endpoint": "cancelOrder"}, times=1)
        with pytest.raises(LOST):
            await sandbox.post(CANCEL, {"variety": "NORMAL", "orderid": orderid})
        await sandbox.settled(orderid, "cancelled")


async def test_faults_are_listed_counted_and_cleared() -> None:
    async with box() as sandbox:
        await sandbox.fault("html", times=1, target={"endpoint": "getRMS"})
        await sandbox.fault("book_fails", probability=0.0)
        await sandbox.get(RMS)
        told = (await sandbox.send("GET", "/sandbox/faults")).json
        assert [(each["id"], each["kind"], each["hits"], each["times"]) for each in told["faults"]] == [
            (1, "html", 1, 0), (2, "book_fails", 0, None),
        ]  # fmt: skip
        assert told["hits"] == {"html": 1}
        left = (await sandbox.send("DELETE", "/sandbox/faults?id=1")).json["faults"]
        assert [each["id"] for each in left] == [2]
        assert (await sandbox.send("DELETE", "/sandbox/faults")).json["faults"] == []


@pytest.mark.parametrize("bad", [
    {"kind": "nonsense"}, {}, [], {"kind": "html", "probability": 2}, {"kind": "html", "delay_s": -1},
    {"kind": "html", "target": {"planet": "Mars"}}, {"kind": "html", "times": "x"},
])  # fmt: skip
async def test_fault_that_makes_no_sense_is_refused(bad: object) -> None:
    async with box(login=False) as sandbox:
        assert (await sandbox.send("POST", "/sandbox/faults", bad)).status == 400
        assert (await sandbox.send("GET", "/sandbox/faults")).json["faults"] == []


# -- the feeds ---------------------------------------------------------------------------------------


def number(frame: bytes) -> int:
    return int.from_bytes(frame[27:35], "little")


async def frames(sandbox: Box, count: int, *kinds: str, **more: Any) -> list[bytes]:
    """Subscribe to RELIANCE, put faults to work after the first frame and return so many frames."""
    socket = await sandbox.feed()
    ask = {"correlationID": "a", "action": 1, "params": {"mode": 1, "tokenList": [
        {"exchangeType": 1, "tokens": ["2885"]}]}}  # fmt: skip
    await socket.send_json(ask)
    found = [await socket.receive_bytes(timeout=20)]
    for kind in kinds:
        await sandbox.fault(kind, **more)

    async def move() -> None:
        while True:
            sandbox.clock.advance(2)
            await asyncio.sleep(0.03)

    mover = asyncio.create_task(move())
    while len(found) < count:
        found.append(await socket.receive_bytes(timeout=20))
    mover.cancel()
    await socket.close()
    return found


async def test_feed_without_faults_counts_on_without_a_gap() -> None:
    async with box(speed=1.0) as sandbox:
        numbers = [number(frame) for frame in await frames(sandbox, 4)]
        assert numbers == list(range(numbers[0], numbers[0] + 4))


async def test_gap_leaves_numbers_out() -> None:
    async with box() as sandbox:
        numbers = [number(frame) for frame in await frames(sandbox, 3, "feed_gap", times=2)]
        assert numbers == [1, 4, 5]


async def test_reordered_frames_come_in_the_wrong_order_and_none_is_lost() -> None:
    async with box() as sandbox:
        numbers = [number(frame) for frame in await frames(sandbox, 5, "feed_reordered")]
        assert numbers == [1, 3, 2, 5, 4]


async def test_duplicate_comes_twice() -> None:
    async with box() as sandbox:
        numbers = [number(frame) for frame in await frames(sandbox, 4, "feed_duplicate", times=1)]
        assert numbers == [1, 2, 2, 3]


async def test_wrong_frame_is_cut_in_half() -> None:
    async with box() as sandbox:
        found = await frames(sandbox, 3, "wrong_frame", times=1)
        assert [len(frame) for frame in found] == [51, 25, 51]


async def test_silence_lasts_as_long_as_asked_and_answers_pings() -> None:
    async with box() as sandbox:
        socket = await sandbox.feed()
        await sandbox.fault("feed_silent", times=1, delay_s=3600)
        ask = {"action": 1, "params": {"mode": 1, "tokenList": [{"exchangeType": 1, "tokens": ["2885"]}]}}
        await socket.send_json(ask)
        # The fault strikes with the first frame; from then on only pongs come.

        async def struck() -> bool:
            hits = (await sandbox.send("GET", "/sandbox/faults")).json["hits"]
            return bool(hits.get("feed_silent"))

        await until(struck)
        for _ in range(3):
            sandbox.clock.advance(2)
            await socket.send_str("ping")
            assert (await socket.receive_str(timeout=20)) == "pong"
        sandbox.clock.advance(3600)
        assert len(await socket.receive_bytes(timeout=20)) == 51


@pytest.mark.parametrize(("kind", "status"), [("rate_403", 403), ("too_many_429", 429)])
async def test_upgrade_is_refused_where_a_fault_says_so(kind: str, status: int) -> None:
    async with box() as sandbox:
        await sandbox.fault(kind)
        for opens in (sandbox.feed, sandbox.order_feed):
            with pytest.raises(aiohttp.WSServerHandshakeError) as told:
                await opens()
            assert told.value.status == status


async def test_order_feed_loses_or_doubles_messages() -> None:
    async with box() as sandbox:
        socket = await sandbox.order_feed()
        assert (await socket.receive_json(timeout=20))["order-status"] == "AB00"
        await sandbox.fault("feed_gap", times=1)
        await sandbox.fault("feed_duplicate", times=1)
        orderid = (await sandbox.place()).data["orderid"]
        await sandbox.settled(orderid, "open")
        told = [(await socket.receive_json(timeout=20))["orderData"]["status"] for _ in range(2)]
        assert told == ["open", "open"]  # "validation pending" was lost


async def test_fault_of_the_command_line_strikes_its_client_alone_and_after_its_delay() -> None:
    async with box(faults=[parse("accept_late:1:placeOrder:client=S0000002,delay=0.3,times=1")]) as sandbox:
        assert (await sandbox.place(ordertag="first")).data
        await sandbox.login(1)
        asked_s = time.monotonic()
        with pytest.raises(aiohttp.ClientError):
            await sandbox.place(ordertag="second")

        async def accepted() -> bool:
            return "second" in (await sandbox.ledger())["by_tag"]

        await until(accepted)
        assert time.monotonic() - asked_s >= 0.3
        assert (await sandbox.place(ordertag="third")).data


# -- draws -------------------------------------------------------------------------------------------


def strikes(seed: int, probability: float = 0.3) -> list[bool]:
    faults = Faults()
    faults.add(Fault(Kind.HTML, probability, seed))
    return [faults.strike("placeOrder", "A", [Kind.HTML]) is not None for _ in range(500)]


def test_same_seed_strikes_the_same_calls() -> None:
    assert strikes(1) == strikes(1) != strikes(2)


def test_probability_is_kept() -> None:
    assert 100 <= sum(strikes(3)) <= 200
    assert not any(strikes(3, 0.0))
    assert all(strikes(3, 1.0))


def test_every_kind_has_a_home() -> None:
    grouped = {*ORDER_KINDS, *BOOK_KINDS, *FEED_KINDS}
    assert set(Kind) - grouped == {Kind.EXPIRED_TOKEN}


@pytest.mark.parametrize(("text", "fault"), [
    ("html", Fault(Kind.HTML)),
    ("html:0.25", Fault(Kind.HTML, 0.25)),
    ("rate_403:0.5:getOrderBook", Fault(Kind.RATE_403, 0.5, target=Target("getOrderBook"))),
    ("accept_late:1:orders:9", Fault(Kind.ACCEPT_LATE, 1.0, 9, Target("orders"))),
    ("accept_late:0.5:orders:9:client=S2,delay=1.5,times=3",
     Fault(Kind.ACCEPT_LATE, 0.5, 9, Target("orders", "S2"), times=3, delay_s=1.5)),
    ("feed_silent:1:delay=2", Fault(Kind.FEED_SILENT, delay_s=2.0)),
    ("html:client=S2", Fault(Kind.HTML, target=Target("", "S2"))),
])  # fmt: skip
def test_fault_is_read_from_the_command_line(text: str, fault: Fault) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize("text", [
    "", "nonsense", "html:x", "html:1:a:b", "html:1:a:1:z", ":1", "html:1:a:1:client", "html:1:a:1:2:times=1",
    "html:1:times=", "html:1:times=1.5", "html:1:times=1,times=2", "html:1:wait=3", "html:1:delay=1",
    "accept_late:1:delay=x",
])  # fmt: skip
def test_fault_that_cannot_be_read_is_refused_with_the_kinds(text: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        parse(text)
    assert "accept_late" in told.value.remedy


@pytest.mark.parametrize(
    "text", ["accept_late:1:delay=-1", "feed_silent:1:delay=inf", "html:1:times=0", "html:1:client=S9"]
)
async def test_fault_that_can_never_strike_or_end_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match="fault"):
        async with box(faults=[parse(text)]):
            pass


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_probability_outside_of_0_to_1_is_refused(probability: float) -> None:
    with pytest.raises(ConfigurationError):
        Faults().add(Fault(Kind.HTML, probability))


def test_mixture_spoils_the_share_that_was_asked_for() -> None:
    faults = Faults()
    for fault in mixture(0.4, 5):
        faults.add(fault)
    struck = sum(faults.strike("placeOrder", "A", ORDER_KINDS) is not None for _ in range(2_000))
    assert 700 <= struck <= 900
    books = sum(faults.strike("getOrderBook", "A", BOOK_KINDS) is not None for _ in range(2_000))
    assert 700 <= books <= 900
    assert faults.strike("getRMS", "A", Kind) is None
