from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec
import pytest

from broker.account import Egress
from broker.angel_one import endpoints as at
from broker.angel_one import feed_socket
from broker.angel_one.order_feed import OrderFeed
from broker.angel_one.venue import STATES, AngelOneVenue, rupees_text
from broker.base import (
    Accepted,
    OrderTerms,
    RuleState,
    Unknown,
    VenueBook,
    VenueOrder,
    VenuePosition,
    VenueState,
    VenueTrade,
)
from shared.calendar import IST
from shared.clock import ManualClock
from shared.errors import ConfigurationError, VenueUnavailable
from shared.instruments import Instrument, Instruments
from shared.models import OrderType, Product, Quote, Side, microseconds
from tests.broker.angel_one.feed_peer import FeedPeer
from tests.broker.angel_one.peer import Client, Peer, http, success, until

NOW_US = microseconds(datetime(2026, 11, 26, 10, 30, tzinfo=IST))
SBIN = Instrument("SBIN", "SBIN-EQ", "3045", 5, 1, None, "EQ", False, True, True)
ORDER: dict[str, Any] = {
    "variety": "NORMAL", "ordertype": "LIMIT", "producttype": "INTRADAY", "duration": "DAY", "price": 195.5,
    "triggerprice": 0.0, "quantity": "10", "tradingsymbol": "SBIN-EQ", "transactiontype": "BUY",
    "exchange": "NSE", "symboltoken": "3045", "ordertag": "tag-1", "averageprice": 195.45,
    "filledshares": "0", "orderid": "261126000000001", "text": "", "status": "open",
    "updatetime": "26-Nov-2026 10:00:00",
}  # fmt: skip
TRADE = {
    "orderid": "261126000000001", "fillid": "55", "fillsize": "4", "fillprice": "195.45",
    "filltime": "10:00:01",
}  # fmt: skip


def terms(**changed: Any) -> OrderTerms:
    told: dict[str, Any] = {
        "side": Side.BUY, "quantity": 10, "order_type": OrderType.LIMIT, "product": Product.INTRADAY,
        "price_paise": 19550, "entry": True, "placed_us": 0, "symbol": "SBIN", "tick_paise": 5,
        "slippage_bps": 0,
    }  # fmt: skip
    return OrderTerms(**{**told, **changed})


STOP = terms(
    side=Side.SELL, order_type=OrderType.SL_LIMIT, price_paise=19400, trigger_paise=19405, entry=False
)


@pytest.fixture
async def far() -> AsyncIterator[FeedPeer]:
    async with FeedPeer() as serving:
        yield serving


@pytest.fixture
async def venue(
    client: Client, far: FeedPeer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AngelOneVenue]:
    monkeypatch.setattr(feed_socket, "GOODBYE_S", 0.1)
    clock = ManualClock(NOW_US)
    feed = OrderFeed(far.url, client.session, Egress(), clock)
    made = AngelOneVenue(client.rest, feed, Instruments([SBIN]), clock, "A1***56", "a1")
    yield made
    await made.close()
    await made.close()


async def test_service_on_this_machine_tells_itself_where_we_come_from(
    venue: AngelOneVenue, peer: Peer
) -> None:
    peer.on["/sandbox/address"] = http(200, b"127.0.0.1\n")
    assert venue.local
    assert await venue.seen_address("https://elsewhere.invalid") == "127.0.0.1"


# -- what goes out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paise", "text"),
    [(19550, "195.50"), (5, "0.05"), (100, "1.00"), (0, "0.00"), (2147483747, "21474837.47")],
)
def test_paise_go_out_as_rupees_with_two_decimals(paise: int, text: str) -> None:
    assert rupees_text(paise) == text


async def test_stop_is_placed_changed_and_cancelled_as_a_stop(venue: AngelOneVenue, peer: Peer) -> None:
    for endpoint in (at.PLACE, at.MODIFY, at.CANCEL):
        peer.on[endpoint.path] = success({"orderid": "7"})
    assert await venue.place("tag-1", STOP, await venue.slot(entry=False)) == Accepted("7")
    assert await venue.modify("7", STOP) == Accepted("7")
    assert await venue.cancel("7", STOP) == Accepted("7")
    placed, modified, cancelled = (peer.seen(each)[0].json for each in (at.PLACE, at.MODIFY, at.CANCEL))
    for body in (placed, modified):
        assert (body["variety"], body["ordertype"]) == ("STOPLOSS", "STOPLOSS_LIMIT")
        assert (body["price"], body["triggerprice"], body["quantity"]) == ("194.00", "194.05", "10")
    assert (placed["ordertag"], placed["transactiontype"]) == ("tag-1", "SELL")
    assert modified["orderid"] == "7"
    assert not modified.keys() & {"ordertag", "transactiontype"}
    assert cancelled == {"variety": "STOPLOSS", "orderid": "7"}


async def test_limit_has_no_trigger_wherever_it_goes(venue: AngelOneVenue, peer: Peer) -> None:
    await venue.place("tag-1", terms(), None)
    await venue.modify("7", terms())
    await venue.cancel("7", terms())
    placed, modified, cancelled = (peer.seen(each)[0].json for each in (at.PLACE, at.MODIFY, at.CANCEL))
    for body in (placed, modified):
        assert (body["variety"], body["ordertype"], "triggerprice" in body) == ("NORMAL", "LIMIT", False)
    assert cancelled == {"variety": "NORMAL", "orderid": "7"}


async def test_order_that_waits_for_the_next_session_is_cancelled_as_such(
    venue: AngelOneVenue, peer: Peer
) -> None:
    peer.on[at.CANCEL.path] = peer.on[at.MODIFY.path] = success({"orderid": "091389e428f2AO"})
    assert await venue.cancel("091389e428f2AO", STOP) == Accepted("091389e428f2AO")
    assert await venue.modify("091389e428f2AO", terms()) == Accepted("091389e428f2AO")
    assert [peer.seen(each)[0].json["variety"] for each in (at.CANCEL, at.MODIFY)] == ["AMO", "AMO"]


async def test_market_order_and_unknown_symbol_are_refused_before_a_call(
    venue: AngelOneVenue, peer: Peer
) -> None:
    for wrong in (terms(order_type=OrderType.MARKET), terms(symbol="NONE")):
        with pytest.raises(ConfigurationError):
            await venue.place("tag-1", wrong)
    assert peer.seen(at.PLACE) == []


async def test_slot_that_ran_out_is_replaced_and_the_order_is_sent_once(
    venue: AngelOneVenue, peer: Peer
) -> None:
    slot = await venue.slot(entry=True)
    slot.free()
    peer.on[at.PLACE.path] = success({"orderid": "7"})
    assert await venue.place("tag-1", terms(), slot) == Accepted("7")
    assert len(peer.seen(at.PLACE)) == 1


async def test_lost_answer_is_unknown_and_not_repeated(venue: AngelOneVenue, peer: Peer) -> None:
    peer.on[at.PLACE.path] = [http(502, b""), success({"orderid": "7"})]
    assert isinstance(await venue.place("tag-1", terms()), Unknown)
    assert len(peer.seen(at.PLACE)) == 1


# -- books ----------------------------------------------------------------------------------------


async def book(venue: AngelOneVenue, peer: Peer, orders: list[Any], trades: Any = ()) -> VenueBook:
    peer.on[at.ORDER_BOOK.path] = success(orders)
    peer.on[at.TRADE_BOOK.path] = success(list(trades))
    return await venue.book()


async def test_order_with_its_trades_in_the_order_of_execution(venue: AngelOneVenue, peer: Peer) -> None:
    trades = [
        {**TRADE, "fillid": "100", "filltime": "10:00:02"}, {**TRADE, "fillid": "9", "filltime": "10:00:02"},
        {**TRADE, "fillid": "55", "fillsize": "2"}, {**TRADE, "orderid": "another"},
    ]  # fmt: skip
    found = await book(venue, peer, [{**ORDER, "status": "complete", "filledshares": "10"}], trades)
    at_us = microseconds(datetime(2026, 11, 26, 10, 0, 1, tzinfo=IST))
    assert found == VenueBook(
        NOW_US,
        (
            VenueOrder(
                "tag-1", "261126000000001", "SBIN", Side.BUY, Product.INTRADAY, VenueState.COMPLETE, 10, 10,
                19550, at_us - 1_000_000,
                (
                    VenueTrade("55", 2, 19545, at_us), VenueTrade("9", 4, 19545, at_us + 1_000_000),
                    VenueTrade("100", 4, 19545, at_us + 1_000_000),
                ),
                0, "", False, "complete",
            ),
        ),
    )  # fmt: skip


async def test_trades_are_asked_for_only_where_something_is_filled(venue: AngelOneVenue, peer: Peer) -> None:
    await book(venue, peer, [ORDER])
    assert peer.seen(at.TRADE_BOOK) == []
    await book(venue, peer, [{**ORDER, "filledshares": "4"}])
    assert len(peer.seen(at.TRADE_BOOK)) == 1


async def test_trade_of_an_order_without_a_time_is_of_today(venue: AngelOneVenue, peer: Peer) -> None:
    found = await book(venue, peer, [{**ORDER, "filledshares": "4", "updatetime": ""}], [TRADE])
    (trade,) = found.orders[0].trades
    assert trade.at_us == microseconds(datetime(2026, 11, 26, 10, 0, 1, tzinfo=IST))


@pytest.mark.parametrize("fill_id", ["²", "x", "9" * 5000, "0x1"])
async def test_fill_id_that_is_no_number_is_read(fill_id: str, venue: AngelOneVenue, peer: Peer) -> None:
    found = await book(venue, peer, [{**ORDER, "filledshares": "4"}], [{**TRADE, "fillid": fill_id}])
    assert [trade.fill_id for trade in found.orders[0].trades] == [fill_id]


async def test_every_status_has_its_state(venue: AngelOneVenue, peer: Peer) -> None:
    words = {
        "complete": VenueState.COMPLETE,
        "cancelled": VenueState.CANCELLED,
        "rejected": VenueState.REJECTED,
    }
    words["cancelled after market order"] = VenueState.CANCELLED
    found = await book(venue, peer, [{**ORDER, "status": word.upper()} for word in STATES])
    assert [order.raw_status for order in found.orders] == list(STATES)
    for order in found.orders:
        assert order.state is words.get(order.raw_status, VenueState.WORKING)
    assert len(STATES) == 19


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"status": "teleported"}, "teleported"), ({"filledshares": "11"}, "11 of 10"),
        ({"transactiontype": "HOLD"}, "HOLD"), ({"quantity": None}, "quantity"), ({"orderid": ""}, "orderid"),
    ],
)  # fmt: skip
async def test_order_that_is_not_understood_is_told_and_the_others_are_read(
    wrong: dict[str, Any], why: str, venue: AngelOneVenue, peer: Peer
) -> None:
    found = await book(venue, peer, [{**ORDER, "orderid": "1", **wrong}, ORDER])
    assert [order.venue_order_id for order in found.orders] == ["261126000000001"]
    assert len(found.unread) == 1
    assert why in found.unread[0]


async def test_trade_that_is_not_understood_is_told(venue: AngelOneVenue, peer: Peer) -> None:
    found = await book(venue, peer, [{**ORDER, "filledshares": "4"}], [{**TRADE, "fillsize": "x"}])
    assert found.orders[0].trades == ()
    assert len(found.unread) == 1


async def test_book_of_which_one_half_fails_is_no_book(venue: AngelOneVenue, peer: Peer) -> None:
    peer.on[at.ORDER_BOOK.path] = success([{**ORDER, "filledshares": "4"}])
    peer.on[at.TRADE_BOOK.path] = http(200, b"")
    with pytest.raises(VenueUnavailable):
        await venue.book()


async def test_stop_rejection_and_next_sessions_order_are_told_as_such(
    venue: AngelOneVenue, peer: Peer
) -> None:
    stop = {**ORDER, "variety": "STOPLOSS", "triggerprice": 194.05, "status": "trigger pending"}
    amo = {**ORDER, "variety": "AMO", "orderid": "091389e428f2AO"}
    gone = {**ORDER, "status": "rejected", "orderstatus": "", "text": "Admin stopped AMO"}
    found = (await book(venue, peer, [stop, amo, gone])).orders
    assert [(order.trigger_paise, order.after_market, order.reason) for order in found] == [
        (19405, False, ""), (0, True, ""), (0, False, "Admin stopped AMO"),
    ]  # fmt: skip


async def test_share_of_another_exchange_is_not_ours(venue: AngelOneVenue, peer: Peer) -> None:
    bse = {**ORDER, "exchange": "BSE", "tradingsymbol": "SBIN", "symboltoken": "500112"}
    unknown = {**ORDER, "tradingsymbol": "NEW-EQ", "symboltoken": "9"}
    found = await book(venue, peer, [bse, unknown, ORDER])
    assert [order.symbol for order in found.orders] == ["BSE:SBIN", "NEW-EQ", "SBIN"]


async def test_positions_are_read_or_not_at_all(venue: AngelOneVenue, peer: Peer) -> None:
    row = {"tradingsymbol": "SBIN-EQ", "symboltoken": "3045", "exchange": "NSE", "netqty": "-10"}
    row |= {"ltp": "195.50", "buyqty": "0", "sellqty": "10", "buyamount": "0", "sellamount": "1955.00"}
    rows = [
        {**row, "producttype": "INTRADAY"}, {**row, "producttype": "DELIVERY", "netqty": "0"},
        {**row, "producttype": "CARRYFORWARD"},
        {**row, "producttype": "DELIVERY", "exchange": "BSE", "tradingsymbol": "SBIN"},
    ]  # fmt: skip
    peer.on[at.POSITIONS.path] = success(rows)
    assert await venue.positions() == [
        VenuePosition("SBIN", Product.INTRADAY, -10, 19550, 0, 10, 0, 195_500),
        VenuePosition("SBIN", Product.DELIVERY, 0, 19550, 0, 10, 0, 195_500),
        VenuePosition("BSE:SBIN", Product.DELIVERY, -10, 19550, 0, 10, 0, 195_500),
    ]  # fmt: skip
    peer.on[at.POSITIONS.path] = success([*rows, {**row, "producttype": "INTRADAY", "netqty": None}])
    with pytest.raises(VenueUnavailable, match="netqty"):
        await venue.positions()


async def test_prices_have_touch_and_circuits_and_leave_out_what_cannot_be_had(
    venue: AngelOneVenue, peer: Peer
) -> None:
    row = {
        "exchange": "NSE", "tradingSymbol": "SBIN-EQ", "symbolToken": "3045", "ltp": 195.5, "tradeVolume": 7,
        "lowerCircuit": 176.0, "upperCircuit": 215.05, "exchFeedTime": "26-Nov-2026 10:29:59",
        "depth": {"buy": [{"price": 195.45, "quantity": 1, "orders": 1}], "sell": [{"price": 195.55}]},
    }  # fmt: skip
    peer.on[at.QUOTE.path] = success({"fetched": [row], "unfetched": []})
    at_us = NOW_US - 1_000_000
    expected = Quote("SBIN", 19550, at_us, 7, NOW_US, 19545, 19555, 17600, 21505)
    assert await venue.prices(["SBIN"]) == [expected]
    assert peer.seen(at.QUOTE)[0].json == {"mode": "FULL", "exchangeTokens": {"NSE": ["3045"]}}
    peer.on[at.QUOTE.path] = success({"fetched": [], "unfetched": [{"symbolToken": "3045"}]})
    assert await venue.prices(["SBIN"]) == []
    peer.on[at.QUOTE.path] = http(500, b"")
    with pytest.raises(VenueUnavailable):
        await venue.prices(["SBIN"])


# -- hints ----------------------------------------------------------------------------------------


async def test_order_feed_hints_at_the_tag(venue: AngelOneVenue, far: FeedPeer) -> None:
    tags: list[str] = []
    venue.on_hint(tags.append)
    await until(lambda: len(far.open) == 1)
    data = {"order-status": "AB05", "orderData": {"orderid": "7", "ordertag": "tag-1", "status": "complete"}}
    await far.say(json.dumps(data))
    await until(lambda: tags == ["", "tag-1"])  # the first one says that the feed was away


async def test_first_slot_opens_the_order_feed(venue: AngelOneVenue, far: FeedPeer) -> None:
    await asyncio.sleep(0)
    assert far.handshakes == []
    (await venue.slot(entry=True)).free()
    await until(lambda: len(far.open) == 1)


async def test_stop_that_becomes_an_exit_keeps_its_variety(venue: AngelOneVenue, peer: Peer) -> None:
    peer.on[at.MODIFY.path] = success({"orderid": "7"})
    leaving = terms(side=Side.SELL, price_paise=19300, entry=False, stop=True)
    assert await venue.modify("7", leaving) == Accepted("7")
    body = peer.seen(at.MODIFY)[0].json
    assert (body["variety"], body["ordertype"], "triggerprice" in body) == ("STOPLOSS", "LIMIT", False)


@pytest.mark.parametrize(("meaning", "told"), [("total", "10"), ("remaining", "6")])
async def test_quantity_of_a_modify_is_what_it_means_at_the_broker(
    client: Client, far: FeedPeer, peer: Peer, meaning: str, told: str
) -> None:
    peer.on[at.MODIFY.path] = success({"orderid": "7"})
    clock = ManualClock(NOW_US)
    feed = OrderFeed(far.url, client.session, Egress(), clock)
    instruments = Instruments([SBIN])
    venue = AngelOneVenue(client.rest, feed, instruments, clock, "A1***56", "id", modify_quantity=meaning)
    await venue.modify("7", terms(filled=4))
    assert peer.seen(at.MODIFY)[0].json["quantity"] == told
    await venue.close()


RULE = {
    "id": "9", "status": "NEW", "tradingsymbol": "SBIN-EQ", "symboltoken": "3045", "transactiontype": "SELL",
    "producttype": "DELIVERY", "price": "194.00", "qty": "10", "triggerprice": "194.05",
}  # fmt: skip


async def test_rule_goes_out_with_trigger_limit_and_quantity_and_is_cancelled_by_its_id(
    venue: AngelOneVenue, peer: Peer
) -> None:
    peer.on[at.GTT_CREATE.path] = peer.on[at.GTT_CANCEL.path] = success({"id": "9"})
    await venue.put_rule(msgspec.structs.replace(STOP, product=Product.DELIVERY))
    await venue.drop_rule("9", "SBIN")
    body = peer.seen(at.GTT_CREATE)[0].json
    told = [body[name] for name in ("price", "triggerprice", "qty", "transactiontype", "producttype")]
    assert told == ["194.00", "194.05", "10", "SELL", "DELIVERY"]
    assert peer.seen(at.GTT_CANCEL)[0].json == {"id": "9", "symboltoken": "3045", "exchange": "NSE"}


async def test_rules_are_read_to_the_last_page_and_a_strange_one_makes_the_list_worthless(
    venue: AngelOneVenue, peer: Peer
) -> None:
    peer.on[at.GTT_LIST.path] = success([RULE, {**RULE, "id": "10", "status": "SENTTOEXCHANGE"}])
    first, second = await venue.rules()
    assert (first.rule_id, first.state, first.symbol) == ("9", RuleState.WAITING, "SBIN")
    assert (first.quantity, first.price_paise, first.trigger_paise) == (10, 19400, 19405)
    assert second.state is RuleState.SENT
    peer.on[at.GTT_LIST.path] = success([{**RULE, "status": "DREAMING"}])
    with pytest.raises(VenueUnavailable, match="cannot be read"):
        await venue.rules()
