from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from order.requests import parse_direct
from order.users import User
from shared.errors import ConfigurationError
from shared.instruments import Instruments
from shared.models import OrderType, Product, Side

INSTRUMENTS = Instruments.load()
USERS = {"u1": User(user_no=1, user_id="u1")}
GOOD: dict[str, object] = {
    "user_id": "u1",
    "symbol": "RELIANCE",
    "side": "BUY",
    "order_type": "MARKET",
    "quantity": 100,
    "price": 2500.0,
}


def test_example_of_the_specification_is_read() -> None:
    request = parse_direct(GOOD, USERS, INSTRUMENTS)
    assert (
        request.symbol,
        request.side,
        request.order_type,
        request.product,
        request.quantity,
        request.price_paise,
    ) == (
        "RELIANCE",
        Side.BUY,
        OrderType.MARKET,
        Product.INTRADAY,
        100,
        250_000,
    )


@pytest.mark.parametrize("price", [2500.05, "2500.05", Decimal("2500.05")])
def test_price_is_read_exactly_from_any_number(price: object) -> None:
    assert parse_direct({**GOOD, "price": price}, USERS, INSTRUMENTS).price_paise == 250_005


@pytest.mark.parametrize("symbol", ["reliance", " RELIANCE ", "RELIANCE-EQ"])
def test_other_spelling_is_the_same_symbol(symbol: str) -> None:
    assert parse_direct({**GOOD, "symbol": symbol}, USERS, INSTRUMENTS).symbol == "RELIANCE"


NAN, HUGE = float("nan"), float("inf")
BAD: dict[str, list[object]] = {
    "quantity": [True, 0, -1, 1.5, 1.0, "10", None, NAN, HUGE, 10**7 + 1, []],
    "price": [True, 0, -1, NAN, HUGE, "1e400", "x", Decimal("NaN"), 2500.001, 10**9, []],
    "symbol": ["NOSUCH", "", None, 5],
    "user_id": ["nobody", "", None],
    "side": ["HOLD", "buy", None, True],
    "order_type": ["STOP", "market", None],
    "product": ["MARGIN", None],
    "client_order_id": ["", 0, 5, "a b", "x" * 65, "ä"],
    "qty": [5],
}


@pytest.mark.parametrize(("field", "bad"), [(field, bad) for field, bads in BAD.items() for bad in bads])
def test_bad_field_is_refused_by_name(field: str, bad: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_direct({**GOOD, field: bad}, USERS, INSTRUMENTS)
    assert {"symbol": "Unknown symbol"}.get(field, field) in str(caught.value)


@pytest.mark.parametrize("field", ["user_id", "symbol", "side", "quantity"])
def test_missing_field_is_refused_by_name(field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_direct({key: value for key, value in GOOD.items() if key != field}, USERS, INSTRUMENTS)
    assert {"symbol": "Unknown symbol"}.get(field, field) in str(caught.value)


def test_limit_off_the_tick_is_refused_and_a_market_reference_is_not() -> None:
    with pytest.raises(ConfigurationError, match="off the tick of 5 paise"):
        parse_direct({**GOOD, "order_type": "LIMIT", "price": 2500.03}, USERS, INSTRUMENTS)
    assert parse_direct({**GOOD, "price": 2500.03}, USERS, INSTRUMENTS).price_paise == 250_003


def test_limit_without_a_price_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a LIMIT order needs one"):
        parse_direct({**GOOD, "order_type": "LIMIT", "price": None}, USERS, INSTRUMENTS)


def test_all_findings_come_at_once() -> None:
    order = {
        "user_id": "x",
        "symbol": "x",
        "side": "x",
        "order_type": "x",
        "quantity": 0,
        "price": -1,
        "z": 1,
    }
    with pytest.raises(ConfigurationError) as caught:
        parse_direct(order, USERS, INSTRUMENTS)
    for part in (
        "user_id 'x'",
        "Unknown symbol 'x'",
        "side 'x'",
        "order_type 'x'",
        "quantity 0",
        "price -1",
        "z: unk",
    ):
        assert part in str(caught.value)


def test_same_client_order_id_gives_the_same_ids_and_bytes() -> None:
    first, second = (parse_direct({**GOOD, "client_order_id": "a-1"}, USERS, INSTRUMENTS) for _ in range(2))
    assert (first.signal_id, first.payload) == (second.signal_id, second.payload)
    assert msgspec.json.decode(first.payload)["price_paise"] == 250_000


def test_no_client_order_id_gives_a_new_one_each_time() -> None:
    first, second = (parse_direct(GOOD, USERS, INSTRUMENTS) for _ in range(2))
    assert first.signal_id != second.signal_id


STOP = {**GOOD, "order_type": "SL_LIMIT", "price": 2510, "trigger_price": 2505}


def test_stop_has_a_trigger_and_a_limit_that_follows_from_it_where_none_is_given() -> None:
    request = parse_direct(STOP, USERS, INSTRUMENTS)
    assert (request.order_type, request.price_paise, request.trigger_paise) == ("SL_LIMIT", 251_000, 250_500)
    bare = parse_direct({**STOP, "order_type": "SL-M", "price": None}, USERS, INSTRUMENTS)
    assert (bare.order_type, bare.trigger_paise, bare.price_paise) == ("SL_LIMIT", 250_500, 251_750)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trigger_price": None}, "trigger_price: an SL_LIMIT order needs one"),
        ({"trigger_price": 2511}, "must not be before its trigger_price"),
        ({"trigger_price": 2505.03}, "trigger_price 2505.03 is off the tick"),
        ({"order_type": "LIMIT"}, "only an SL_LIMIT order has one"),
        ({"side": "SELL"}, "must not be before its trigger_price"),
    ],
)
def test_stop_that_cannot_work_is_refused_in_words(change: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        parse_direct({**STOP, **change}, USERS, INSTRUMENTS)
