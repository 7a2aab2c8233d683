from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from broker.angel_one import endpoints as at
from broker.angel_one import limits, transport
from broker.angel_one.endpoints import Endpoint
from broker.angel_one.records import CandleRow
from broker.base import Accepted, NotSent, PlaceOutcome, Rejected, Unknown
from shared.clock import SystemClock
from shared.errors import VenueUnavailable
from tests.broker.angel_one.peer import (
    Answer,
    Client,
    Peer,
    cut,
    failure,
    hang,
    hang_up,
    http,
    reset_after_read,
    success,
    until,
)

ORDER = {"variety": "NORMAL", "ordertag": "tag-1"}
Call = Callable[[Client], Awaitable[PlaceOutcome]]


async def place(client: Client) -> PlaceOutcome:
    return await client.rest.place(ORDER, await client.rest.order_slot(entry=True))


async def modify(client: Client) -> PlaceOutcome:
    return await client.rest.modify({"orderid": "1"}, await client.rest.order_slot(entry=False))


async def cancel(client: Client) -> PlaceOutcome:
    return await client.rest.cancel("1", "NORMAL", await client.rest.order_slot(entry=False))


async def gtt_create(client: Client) -> PlaceOutcome:
    return await client.rest.gtt_create({"qty": 1})


async def gtt_modify(client: Client) -> PlaceOutcome:
    return await client.rest.gtt_modify({"id": "1", "qty": 1})


async def gtt_cancel(client: Client) -> PlaceOutcome:
    return await client.rest.gtt_cancel("1", "3045")


WRITES: list[tuple[Call, Endpoint]] = [
    (place, at.PLACE), (modify, at.MODIFY), (cancel, at.CANCEL),
    (gtt_create, at.GTT_CREATE), (gtt_modify, at.GTT_MODIFY), (gtt_cancel, at.GTT_CANCEL),
]  # fmt: skip
ACCEPTED = success({"orderid": "261126000000001", "id": "261126000000001"})
LOST: dict[str, Answer] = {
    "hang": hang,
    "closed": hang_up,
    "reset after read": reset_after_read,
    "server error": http(500, b"oops"),
    "bad gateway": http(502, b"<html>bad gateway</html>"),
    "success of a broken server": http(503, b'{"status":true,"data":{"orderid":"1"}}'),
    "garbage": http(200, b"\x00\xffgarbage"),
    "empty": http(200, b""),
    "cut off": cut(ACCEPTED, len(ACCEPTED) - 3),
    "cut off, as if whole": http(200, b'{"status":true,"message":"SUCCESS","data":{"orde'),
    "page": http(403, b"<html>Request Rejected, support ID 1</html>"),
    "code that is not listed": failure("AB1004", "Something Went Wrong"),
    "redirect": http(307, b"", "Location: /elsewhere"),
}


def test_every_write_of_the_table_is_in_these_tests() -> None:
    writes = {each for each in vars(at).values() if isinstance(each, Endpoint) and each.write}
    assert {endpoint for _, endpoint in WRITES} == writes


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "WRITE_TIMEOUT_S", 0.2)


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize(("call", "endpoint"), WRITES)
@pytest.mark.usefixtures("impatient")
async def test_write_whose_answer_is_lost_is_unknown_and_sent_once(
    call: Call, endpoint: Endpoint, fault: str, peer: Peer, client: Client
) -> None:
    peer.on[endpoint.path] = [LOST[fault], ACCEPTED]
    assert isinstance(await call(client), Unknown)
    assert len(peer.seen(endpoint)) == 1
    # The same holds where the connection has been in use before.
    peer.on[endpoint.path] = [ACCEPTED, LOST[fault], ACCEPTED]
    assert await call(client) == Accepted("261126000000001")
    assert isinstance(await call(client), Unknown)
    assert len(peer.seen(endpoint)) == 3


@pytest.mark.parametrize(("call", "endpoint"), WRITES)
async def test_write_whose_connection_is_reset_before_it_is_read_is_unknown_and_tried_once(
    call: Call, endpoint: Endpoint, tmp_path: Path
) -> None:
    async with Peer(reset_on_accept=True) as peer, Client(peer.root, tmp_path) as client:
        assert isinstance(await call(client), Unknown)
        await asyncio.sleep(0)
        assert (peer.connections, peer.seen(endpoint)) == (1, [])


@pytest.mark.parametrize(("call", "endpoint"), WRITES)
async def test_write_to_nobody_was_not_sent(call: Call, endpoint: Endpoint, tmp_path: Path) -> None:
    async with Client("http://127.0.0.1:9", tmp_path) as client:
        assert isinstance(await call(client), NotSent), endpoint


@pytest.mark.parametrize(("call", "endpoint"), WRITES)
async def test_refused_write_is_sent_once(call: Call, endpoint: Endpoint, peer: Peer, client: Client) -> None:
    peer.on[endpoint.path] = failure("AB1009", "Symbol Not Found")
    assert await call(client) == Rejected("AB1009: Symbol Not Found")
    peer.on[endpoint.path] = http(403, b"Access denied because of exceeding access rate")
    assert isinstance(await call(client), NotSent)
    assert len(peer.seen(endpoint)) == 2


async def test_order_of_a_session_that_is_over_begins_a_login_and_is_not_sent_again(
    peer: Peer, client: Client
) -> None:
    peer.on[at.PLACE.path] = [failure("AG8001", "Invalid Token", gateway=True), ACCEPTED]
    assert isinstance(await place(client), NotSent)
    await until(lambda: peer.logins == 2)
    assert len(peer.seen(at.PLACE)) == 1


async def test_order_for_the_next_session_is_no_acceptance_but_may_be_cancelled(
    peer: Peer, client: Client
) -> None:
    for endpoint in (at.PLACE, at.CANCEL, at.MODIFY):
        peer.on[endpoint.path] = success({"orderid": "091389e428f2AO"})
    assert isinstance(await place(client), Unknown)
    assert await cancel(client) == await modify(client) == Accepted("091389e428f2AO")


# -- reads ----------------------------------------------------------------------------------------


async def test_read_of_a_session_that_is_over_logs_in_and_is_asked_again_once(
    peer: Peer, client: Client
) -> None:
    over = failure("AG8001", "Invalid Token", gateway=True)
    peer.on[at.RMS.path] = [over, success({"net": "100.0000"})]
    assert (await client.rest.funds()).net == 10_000
    first, second = peer.seen(at.RMS)
    assert first.headers["Authorization"] != second.headers["Authorization"]


async def test_read_whose_new_session_is_over_too_is_given_up(peer: Peer, client: Client) -> None:
    peer.on[at.RMS.path] = failure("AG8001", "Invalid Token", gateway=True)
    with pytest.raises(VenueUnavailable, match="AG8001"):
        await client.rest.funds()
    assert (len(peer.seen(at.RMS)), peer.logins) == (2, 2)


@pytest.mark.parametrize(
    "answer",
    [
        http(200, b""), http(200, b"{"), http(500, b""), http(403, b"<html>Request Rejected</html>"), hang_up,
        success("none"), success({"a": 1}), failure("AB1004"), cut(success([]), 90), http(200, b"[]"),
    ],
)  # fmt: skip
async def test_bad_book_is_never_an_empty_one(answer: Answer, peer: Peer, client: Client) -> None:
    for endpoint in (at.ORDER_BOOK, at.TRADE_BOOK, at.POSITIONS, at.HOLDINGS):
        peer.on[endpoint.path] = answer
    for ask in (client.rest.order_book, client.rest.trade_book, client.rest.positions, client.rest.holdings):
        with pytest.raises(VenueUnavailable):
            await ask()


@pytest.mark.parametrize("answer", [success(None), success([]), success(""), failure("AB1013", "not found")])
async def test_book_that_is_told_to_be_empty_is_empty(answer: bytes, peer: Peer, client: Client) -> None:
    peer.on[at.ORDER_BOOK.path] = answer
    assert await client.rest.order_book() == ([], [])


async def test_not_found_of_a_broken_server_is_no_empty_book(peer: Peer, client: Client) -> None:
    peer.on[at.ORDER_BOOK.path] = failure("AB1013", "not found", status=500)
    with pytest.raises(VenueUnavailable):
        await client.rest.order_book()


async def test_row_that_cannot_be_read_is_told_and_the_others_are_read(peer: Peer, client: Client) -> None:
    good = {"orderid": "1", "fillid": "5", "fillsize": "1", "fillprice": "10.05", "filltime": "10:00:00"}
    peer.on[at.TRADE_BOOK.path] = success([good, {**good, "fillsize": "x"}, None, 7, [], "x", {}])
    rows, unread = await client.rest.trade_book()
    assert [row.price for row in rows] == [1005]
    assert len(unread) == 6
    assert "fillsize" in unread[0]


@pytest.mark.parametrize("data", [None, [], "x", {}, {"net": "x", "ltp": "x", "totalMarginRequired": "x"}, 7])
async def test_one_thing_that_cannot_be_read_is_unavailable(data: object, peer: Peer, client: Client) -> None:
    asks: list[tuple[Endpoint, Callable[[], Awaitable[object]]]] = [
        (at.PROFILE, client.rest.profile),
        (at.LTP, lambda: client.rest.ltp("NSE", "SBIN-EQ", "3045")),
        (at.MARGIN, lambda: client.rest.margin([])),
        (at.CHARGES, lambda: client.rest.charges([])),
    ]
    for endpoint, ask in asks:
        # Every price may be missing in a quote: that is no quote at all.
        if endpoint is at.LTP and data == {}:
            continue
        peer.on[endpoint.path] = success(data)
        with pytest.raises(VenueUnavailable):
            await ask()
    peer.on["/rest/secure/angelbroking/order/v1/details/u"] = success(data)
    with pytest.raises(VenueUnavailable):
        await client.rest.order_details("u")


async def test_quotes_are_asked_fifty_at_a_time_and_missing_ones_are_told(peer: Peer, client: Client) -> None:
    quote = {"symbolToken": "1", "ltp": 10.05}
    odd = {"symbolToken": "2", "message": "no data", "errorCode": "AB4018"}
    peer.on[at.QUOTE.path] = success({"fetched": [quote], "unfetched": [odd, None]})
    tokens = [str(number) for number in range(60)]
    found, missing = await client.rest.quotes("LTP", {"NSE": tokens[:30], "BSE": tokens[30:]})
    asked = [each.json["exchangeTokens"] for each in peer.seen(at.QUOTE)]
    assert asked == [{"NSE": tokens[:30], "BSE": tokens[30:50]}, {"BSE": tokens[50:]}]
    assert [row.last for row in found] == [1005, 1005]
    assert missing[0] == "2: no data (AB4018)"
    assert len(missing) == 4


async def test_other_reads_are_typed(peer: Peer, client: Client) -> None:
    peer.on[at.CANDLES.path] = success([["2026-11-20T09:15:00+05:30", 1, 2, 1, 2, 9], ["x"]])
    rows, unread = await client.rest.candles("NSE", "1", "ONE_MINUTE", "2026-11-20 09:15", "2026-11-20 15:30")
    assert (rows, len(unread)) == ([CandleRow(1_795_146_300_000_000, 100, 200, 100, 200, 9)], 1)
    peer.on[at.INTRADAY.path] = success([{"SymbolName": "SBIN", "Multiplier": "5.0"}, {"SymbolName": "X"}])
    assert await client.rest.intraday_permitted() == {"SBIN": Decimal(5)}
    peer.on[at.GTT_DETAILS.path] = success({"status": "NEW", "qty": 1, "price": "195"})
    rule = await client.rest.gtt_details("7")
    assert (rule.rule_id, rule.status, rule.price) == ("7", "NEW", 19500)
    peer.on[at.ALL_HOLDINGS.path] = success({"holdings": [{"tradingsymbol": "SBIN-EQ", "quantity": 3}]})
    assert [row.quantity for row in (await client.rest.all_holdings())[0]] == [3]


async def test_id_in_a_path_cannot_lead_elsewhere(peer: Peer, client: Client) -> None:
    with pytest.raises(VenueUnavailable):
        await client.rest.order_details("../x?y=1")
    assert peer.requests[-1].path.startswith("/rest/secure/angelbroking/order/v1/details/..%2Fx%3Fy")


async def test_address_that_is_not_registered_is_explained(peer: Peer, client: Client) -> None:
    told = failure("AG7002", "Invalid IP", gateway=True)
    peer.on[at.RMS.path] = peer.on[at.PLACE.path] = told
    with pytest.raises(VenueUnavailable, match=r"AG7002.*registered IPv4 address.*ANGEL_ONE_SOURCE_ADDRESS"):
        await client.rest.funds()
    outcome: Any = await place(client)
    assert isinstance(outcome, Rejected)
    assert "smartapi.angelone.in" in outcome.reason


async def test_too_many_lets_its_bucket_rest_and_no_other(
    peer: Peer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PENALTY_S", 0.5)
    peer.on[at.RMS.path] = [
        http(403, b"Access denied because of exceeding access rate"),
        success({"net": "1"}),
    ]
    peer.on[at.POSITIONS.path] = success([])
    clock = SystemClock()
    with pytest.raises(VenueUnavailable, match="too many requests"):
        await client.rest.funds()
    began = clock.boot_s()
    resting = asyncio.create_task(client.rest.funds())
    await client.rest.positions()
    assert not resting.done()
    assert (await resting).net == 100
    assert clock.boot_s() - began >= 0.4
