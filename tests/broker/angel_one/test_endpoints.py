"""What our client puts on the wire, held against what the official SDK does."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from broker.account import Egress
from broker.angel_one import endpoints as at
from broker.angel_one import session
from broker.angel_one.endpoints import ENTRY_SHARE_PERCENT, WINDOWS, Bucket, Endpoint
from broker.angel_one.order_feed import OrderFeed
from broker.angel_one.venue import AngelOneVenue
from broker.base import OrderTerms
from shared.clock import ManualClock
from shared.errors import LoginRefused, VenueUnavailable
from shared.instruments import Instrument, Instruments
from shared.models import OrderType, Product, Side
from tests.broker.angel_one.peer import HARDWARE, Client, Peer, failure, success

LOGGED_IN_US = 1_700_000_000_000_000
"""The moment of the recorded one-time code."""

SBIN = Instrument("SBIN", "SBIN-EQ", "3045", 5, 1, None, "EQ", False, True, True)
OURS = (
    "Content-type", "Accept", "X-ClientLocalIP", "X-ClientPublicIP", "X-MACAddress", "X-PrivateKey",
    "X-UserType", "X-SourceID",
)  # fmt: skip


def terms(**changed: Any) -> OrderTerms:
    told: dict[str, Any] = {
        "side": Side.BUY, "quantity": 1, "order_type": OrderType.LIMIT, "product": Product.INTRADAY,
        "price_paise": 19550, "entry": True, "placed_us": 0, "symbol": "SBIN", "tick_paise": 5,
        "slippage_bps": 0,
    }  # fmt: skip
    return OrderTerms(**{**told, **changed})


STOP = terms(
    side=Side.SELL, order_type=OrderType.SL_LIMIT, price_paise=19400, trigger_paise=19450, entry=False
)


def venue(client: Client) -> AngelOneVenue:
    feed = OrderFeed("ws://127.0.0.1:9/feed", client.session, Egress(), client.clock)
    return AngelOneVenue(client.rest, feed, Instruments([SBIN]), client.clock, "A1***56", "a1")


async def placed(client: Client, order: OrderTerms, tag: str = "") -> object:
    return await venue(client).place(tag, order, await client.rest.order_slot(entry=True))


GTT = {
    "tradingsymbol": "SBIN-EQ", "symboltoken": "3045", "exchange": "NSE", "producttype": "MARGIN",
    "transactiontype": "BUY", "price": 100000, "qty": 10, "disclosedqty": 10, "triggerprice": 200000,
    "timeperiod": 365,
}  # fmt: skip
BASKET = {
    "exchange": "NFO", "qty": 75, "price": 0, "productType": "CARRYFORWARD", "token": "43210",
    "tradeType": "SELL", "orderType": "MARKET",
}  # fmt: skip
CHARGED = {
    "product_type": "DELIVERY", "transaction_type": "BUY", "quantity": "10", "price": "800",
    "exchange": "NSE", "symbol_name": "745AS33", "token": "17117",
}  # fmt: skip
UNIQUE = "05ebf91b-bea4-4a1d-b0f2-4259606570e3"

Call = Callable[[Client], Awaitable[object]]
HAS: dict[str, Call] = {
    "login_totp": lambda client: client.rest.profile(),
    "profile": lambda client: client.rest.profile(),
    "logout": lambda client: client.session.logout(),
    "order_limit_buy": lambda client: placed(client, terms()),
    "order_none_keys_dropped": lambda client: placed(client, terms()),
    "order_full_response": lambda client: placed(client, terms()),
    "order_stoploss_limit": lambda client: placed(client, STOP),
    "order_ordertag_20": lambda client: placed(client, terms(), "tag-0123456789012345"),
    "order_unicode_tag": lambda client: placed(client, terms(), "tag-é₹"),
    "modify_order_limit": lambda client: venue(client).modify(
        "261122000000001", terms(price_paise=19600, quantity=2)
    ),
    "cancel_order": lambda client: venue(client).cancel("261122000000001", terms()),
    "orderBook": lambda client: client.rest.order_book(),
    "tradeBook": lambda client: client.rest.trade_book(),
    "rmsLimit": lambda client: client.rest.funds(),
    "holding": lambda client: client.rest.holdings(),
    "ltp_data": lambda client: client.rest.ltp("NSE", "SBIN-EQ", "3045"),
    "market_data_full": lambda client: client.rest.quotes(
        "FULL", {"NSE": ["3045", "2885"], "NFO": ["43210"]}
    ),
    "market_data_ltp": lambda client: client.rest.quotes("LTP", {"NSE": ["3045"]}),
    "candles_1m": lambda client: client.rest.candles(
        "NSE", "3045", "ONE_MINUTE", "2026-11-20 09:15", "2026-11-20 15:30"
    ),
    "search_scrip": lambda client: client.rest.search("NSE", "SBIN"),
    "gtt_create": lambda client: client.rest.gtt_create(GTT),
    "gtt_cancel": lambda client: client.rest.gtt_cancel("1", "3045"),
    "gtt_list": lambda client: client.rest.gtt_list(["NEW", "CANCELLED", "ACTIVE"], 1, 10),
    "margin_batch": lambda client: client.rest.margin([BASKET]),
    "estimate_charges": lambda client: client.rest.charges([CHARGED]),
    "individual_order_details": lambda client: client.rest.order_details(UNIQUE),
    "nse_intraday": lambda client: client.rest.intraday_permitted(),
}
"""Each recorded call that we make, too."""

HAS_NOT = {
    "login_bad_totp": "the code is computed, never given: held below against its own answer",
    "refresh_generateToken": "a session is for a day and begins with a login; none is prolonged",
    "order_market_sell": "MARKET is never sent, but a LIMIT with protection",
    "order_amo_limit": "orders are for the session that is open",
    "order_robo": "bracket orders are blocked at the broker; stops are orders of their own",
    "convert_position": "a position's product is never changed",
    "option_greek": "no derivatives",
    "gainers_losers": "no derivatives",
    "oi_buildup": "no derivatives",
    "edis_verify": "delivery instructions are given by hand at the broker",
    "edis_tpin": "as edis_verify",
    "edis_status": "as edis_verify",
}
"""Each recorded call that we do not make, with the reason."""


def recorded(smartapi: Callable[[str], Any]) -> dict[str, Any]:
    return {case["id"]: case for case in smartapi("requests_open.json")["cases"]}


def test_every_recorded_call_is_ours_or_named_with_its_reason(smartapi: Callable[[str], Any]) -> None:
    assert set(recorded(smartapi)) == HAS.keys() | HAS_NOT.keys()
    assert not HAS.keys() & HAS_NOT.keys()


def assert_same(ours: Any, theirs: Any, jwt: str) -> None:
    """Hold one request of ours against the recorded one.

    The SDK's query (junk), the headers of its HTTP library and the order of headers may differ. So may the
    values of X-ClientLocalIP and X-ClientPublicIP, constants of the SDK that nobody checks, and of
    Authorization, whose token is this session's.
    """
    library = {"host", "user-agent", "accept-encoding", "connection", "content-length"}
    mine = {name.lower(): value for name, value in ours.headers.items()}
    sdk = {name.lower(): value for name, value in theirs["headers"]}
    assert (ours.method, ours.path, ours.query) == (theirs["method"], theirs["path"], "")
    assert mine.keys() - library == sdk.keys() - library
    for name in sdk.keys() - library - {"x-clientlocalip", "x-clientpublicip", "authorization"}:
        assert mine[name] == sdk[name], name
    if "authorization" in sdk:
        assert mine["authorization"] == f"Bearer {jwt}"
    assert (ours.json if ours.body else None) == theirs["body_json"]


@pytest.mark.parametrize("name", HAS)
async def test_request_is_the_recorded_one(name: str, smartapi: Callable[[str], Any], tmp_path: Path) -> None:
    case = recorded(smartapi)[name]
    clock = ManualClock(LOGGED_IN_US)
    async with Peer(clock) as peer, Client(peer.root, tmp_path, clock=clock) as client:
        tokens = await client.session.tokens()
        if case["logged_in"]:
            peer.requests.clear()
        peer.on = {request["path"]: success({}) for request in case["requests"]}
        # The answer is nobody's business here, and says nothing.
        with contextlib.suppress(VenueUnavailable):
            await HAS[name](client)
        for ours, theirs in zip(peer.requests, case["requests"], strict=True):
            assert_same(ours, theirs, tokens.jwt)


async def test_refused_login_is_the_recorded_one_and_nothing_follows(
    smartapi: Callable[[str], Any], tmp_path: Path
) -> None:
    (theirs,) = recorded(smartapi)["login_bad_totp"]["requests"]
    clock = ManualClock(LOGGED_IN_US)
    async with Peer(clock) as peer, Client(peer.root, tmp_path, clock=clock) as client:
        peer.on[at.LOGIN.path] = failure("AB1050", "Invalid totp")
        with pytest.raises(LoginRefused, match="Invalid totp"):
            await client.rest.profile()
        (ours,) = peer.requests
        theirs["body_json"]["totp"] = "406058"
        assert_same(ours, theirs, "")


# -- vectors of our own: a checkout on its own tests the wire, too ----------------------------------

BODY = {
    "variety": "NORMAL", "tradingsymbol": "SBIN-EQ", "symboltoken": "3045", "transactiontype": "BUY",
    "exchange": "NSE", "ordertype": "LIMIT", "producttype": "INTRADAY", "duration": "DAY", "price": "195.50",
    "squareoff": "0", "stoploss": "0", "quantity": "1", "ordertag": "tag-1",
}  # fmt: skip


async def test_order_goes_out_as_documented(peer: Peer, client: Client) -> None:
    await placed(client, terms(), "tag-1")
    (request,) = peer.seen(at.PLACE)
    assert (request.method, request.path) == ("POST", "/rest/secure/angelbroking/order/v1/placeOrder")
    assert request.json == BODY
    headers = request.headers
    assert [headers[name] for name in OURS] == [
        "application/json", "application/json", "127.0.0.1", "106.193.147.98", HARDWARE, "fakeApiK", "USER",
        "WEB",
    ]  # fmt: skip
    assert headers["Authorization"] == f"Bearer {(await client.session.tokens()).jwt}"


async def test_login_goes_out_as_documented(tmp_path: Path) -> None:
    clock = ManualClock(LOGGED_IN_US)
    async with Peer(clock) as peer, Client(peer.root, tmp_path, clock=clock) as client:
        await client.session.open()
        (request,) = peer.requests
        assert request.path == "/rest/auth/angelbroking/user/v1/loginByPassword"
        assert request.json == {"clientcode": "A123456", "password": "1234", "totp": "406058"}
        assert "Authorization" not in request.headers
        assert set(OURS) <= request.headers.keys()


def test_every_call_has_a_limit_and_each_limit_is_the_documented_one() -> None:
    assert set(WINDOWS) == set(Bucket)
    calls = [each for each in vars(at).values() if isinstance(each, Endpoint)]
    assert {each.bucket for each in calls} == set(Bucket)
    assert {each.bucket for each in calls if each.write} == {Bucket.ORDERS, Bucket.GTT_WRITE}
    assert at.PLACE.bucket is at.MODIFY.bucket is at.CANCEL.bucket
    assert WINDOWS[Bucket.ORDERS] == ((1.0, 9), (60.0, 500), (3600.0, 1000))
    assert WINDOWS[Bucket.CANDLES] == ((1.0, 3), (60.0, 180), (3600.0, 5000))
    assert ENTRY_SHARE_PERCENT == 60
    assert session.EARLY_US == 30_000_000


@pytest.mark.parametrize("endpoint", [at.LOGIN, at.TOKENS])
def test_only_the_ways_into_a_session_are_without_one(endpoint: Endpoint) -> None:
    assert endpoint.path.startswith("/rest/auth/")
    others = {each for each in vars(at).values() if isinstance(each, Endpoint)} - {at.LOGIN, at.TOKENS}
    assert all("/rest/secure/" in each.path for each in others)
