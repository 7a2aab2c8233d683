from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.exchange import Placed
from sandbox.intake import Refusal
from sandbox.market_clock import SESSION_S
from tests.sandbox.floor import DAY, Floor, Tick

STILL: list[Tick] = [(0, 2000.0, 1000)]
MakeFloor = Callable[..., Floor]


@pytest.fixture
def floor(tmp_path: Path) -> MakeFloor:
    def make(ticks: list[Tick] = STILL, **options: Any) -> Floor:
        made = Floor(tmp_path, ticks, **options)
        made.at(10)
        return made

    return make


def test_acceptance_comes_before_the_exchanges_word(floor: MakeFloor) -> None:
    market = floor(latency_low_ms=500, latency_high_ms=900)
    placed = market.ask("A", "BUY", 10, 1990.0)
    order = market.exchange.orders["A"][placed.orderid]
    assert placed == Placed("RELIANCE-EQ", order.orderid, order.uniqueid)
    assert order.status == "validation pending"
    market.at(11)
    assert (order.status, market.statuses(order)) == ("open", ["validation pending", "open"])


def test_latency_lies_between_the_switches(floor: MakeFloor) -> None:
    market = floor(latency_low_ms=500, latency_high_ms=900)
    for _ in range(50):
        market.ask("A", "BUY", 1, 1990.0)
    due = market.exchange.next_due_us
    assert due is not None
    assert 500_000 <= due - market.now.us <= 900_000
    market.exchange.advance(market.now, market.now.us + 499_000)
    assert {order.status for order in market.exchange.orders["A"].values()} == {"validation pending"}
    market.exchange.advance(market.now, market.now.us + 900_000)
    assert {order.status for order in market.exchange.orders["A"].values()} == {"open"}


def test_order_row_has_the_live_services_types(floor: MakeFloor) -> None:
    market = floor()
    market.place("A", "BUY", 10, 1990.0, ordertag="mine")
    (row,) = market.exchange.order_book("A")
    floats = {
        "price",
        "triggerprice",
        "squareoff",
        "stoploss",
        "trailingstoploss",
        "strikeprice",
        "averageprice",
    }
    for name, value in row.items():
        assert isinstance(value, float if name in floats else str), name
    assert row["strikeprice"] == -1.0
    assert row["updatetime"] == "12-Apr-2021 09:15:10"
    assert (row["orderid"][:6], len(row["orderid"])) == ("210412", 15)
    assert (row["algoID"], row["ordertag"]) == ("99999", "mine")
    assert row["uniqueorderid"][14] == "4"


def test_ids_never_repeat(floor: MakeFloor) -> None:
    market = floor()
    for client in "ABC":
        for _ in range(50):
            market.ask(client, "BUY", 1, 1990.0)
    rows = market.exchange.ledger()
    assert len({row["orderid"] for row in rows}) == len({row["uniqueorderid"] for row in rows}) == 150


@pytest.mark.parametrize(("change", "words"), [
    ({}, "Insufficient Funds"),
    ({"transactiontype": "SELL", "producttype": "DELIVERY"}, "Check holdings"),
])  # fmt: skip
def test_rejection_comes_later_and_tells_why(floor: MakeFloor, change: dict[str, str], words: str) -> None:
    market = floor(cash=10_000_000)
    placed = market.ask("A", "BUY", 1_000, 1990.0, **change)
    assert isinstance(placed, Placed)
    assert market.exchange.orders["A"][placed.orderid].status == "validation pending"
    market.at(10)
    (row,) = market.exchange.order_book("A")
    assert row["status"] == row["orderstatus"] == "rejected"
    assert words in row["text"]
    assert market.exchange.orders["A"][placed.orderid].feed_message()["error-message"] == row["text"]


def test_orderstatus_of_a_rejected_order_is_empty_where_the_switch_says_so(floor: MakeFloor) -> None:
    market = floor(cash=100, rejected_orderstatus="empty")
    bad = market.place("A", "BUY", 10, 1990.0)
    assert (bad.row()["status"], bad.row()["orderstatus"]) == ("rejected", "")


@pytest.mark.parametrize(
    ("policy", "kind", "price"), [("accept", "MARKET", 0), ("convert", "LIMIT", 201_000)]
)
def test_market_order_is_taken_or_converted_by_the_policy(
    floor: MakeFloor, policy: str, kind: str, price: int
) -> None:
    market = floor(market_policy=policy)
    order = market.place("A", "BUY", 1)
    assert (order.order_type, order.price, order.status) == (kind, price, "complete")


def test_market_order_is_refused_by_the_policy_and_so_is_a_change_into_one(floor: MakeFloor) -> None:
    market = floor(market_policy="refuse")
    refused = market.ask("A", "BUY", 1)
    assert isinstance(refused, Refusal)
    assert "not allowed" in refused.message
    bid = market.place("A", "BUY", 1, 1990.0)
    assert isinstance(market.modify(bid, ordertype="MARKET"), Refusal)
    assert bid.order_type == "LIMIT"


def test_converted_market_order_rests_at_its_limit_with_what_is_left(floor: MakeFloor) -> None:
    market = floor()
    within = sum(quantity for price, quantity in market.ask_levels() if price <= 2010.0)
    order = market.place("A", "BUY", within + 7)
    assert (order.status, order.remaining, order.price) == ("open", 7, 201_000)


@pytest.mark.parametrize(
    ("price", "fits"), [(1800.0, True), (1799.95, False), (2200.0, True), (2200.05, False)]
)
def test_price_beyond_the_band_is_refused_at_once(floor: MakeFloor, price: float, fits: bool) -> None:
    market = floor(lpp_code="AB1234")
    told = market.ask("A", "BUY", 1, price)
    assert isinstance(told, Placed) is fits
    if isinstance(told, Refusal):
        assert told.code == "AB1234"
        assert "Limit Price Protection" in told.message


def test_order_after_hours_waits_for_the_next_session(floor: MakeFloor) -> None:
    market = floor()
    market.at(SESSION_S + 60)
    order = market.place("A", "BUY", 1, 2100.0)
    assert (order.variety, order.status) == ("AMO", "after market order req received")
    assert order.orderid.endswith("AO")
    assert order.feed_message()["order-status"] == "AB06"
    market.at(5, DAY + 1)
    assert order.status == "complete"
    assert order.row()["variety"] == "AMO"


def test_order_marked_amo_in_the_session_waits_for_the_next_one(floor: MakeFloor) -> None:
    market = floor()
    order = market.place("A", "BUY", 1, 2100.0, variety="AMO")
    market.at(SESSION_S - 10)
    assert order.status == "after market order req received"
    market.at(5, DAY + 1)
    assert order.status == "complete"


def test_waiting_order_is_changed_and_cancelled_in_words_of_its_own(floor: MakeFloor) -> None:
    market = floor()
    market.at(-600)
    order = market.place("A", "BUY", 1, 1990.0)
    assert isinstance(market.modify(order, price="1980.00"), Placed)
    assert (order.status, order.feed_message()["order-status"]) == (
        "modify after market order req received",
        "AB08",
    )
    market.cancel(order)
    assert (order.status, order.feed_message()["order-status"]) == ("cancelled after market order", "AB07")
    assert order.done
    market.at(5)
    assert order.status == "cancelled after market order"


def test_day_order_ends_with_its_day(floor: MakeFloor) -> None:
    market = floor()
    bid = market.place("A", "BUY", 10, 1990.0)
    market.at(SESSION_S - 1)
    assert bid.status == "open"
    market.at(SESSION_S)
    assert (bid.status, bid.row()["cancelsize"]) == ("cancelled", "10")
    assert market.exchange.accounts["A"].used == 0


def test_day_order_ends_where_one_session_follows_the_other_at_once(floor: MakeFloor) -> None:
    market = floor()
    bid = market.place("A", "BUY", 10, 1990.0)
    market.at(3, DAY + 1)
    assert bid.status == "cancelled"
    assert market.place("A", "BUY", 10, 1990.0).status == "open"


def test_square_off_cancels_orders_closes_positions_and_blocks_new_ones(floor: MakeFloor) -> None:
    market = floor(square_off="15:15")
    market.place("A", "BUY", 10)
    market.place("B", "SELL", 4)
    market.place("B", "BUY", 2, producttype="DELIVERY")
    bid = market.place("A", "BUY", 10, 1990.0)
    kept = market.place("A", "BUY", 10, 1990.0, producttype="DELIVERY")
    before = 6 * 3600 - 1
    market.at(before)
    assert market.exchange.accounts["A"].positions[("RELIANCE", "INTRADAY")].net == 10
    market.at(before + 1)
    nets = {
        (client, product): position.net
        for client, account in market.exchange.accounts.items()
        for (_, product), position in account.positions.items()
        if position.bought
    }
    assert nets == {("A", "INTRADAY"): 0, ("B", "INTRADAY"): 0, ("B", "DELIVERY"): 2}
    assert (bid.status, bid.text) == ("cancelled", "Square off")
    assert kept.status == "open"
    closing = market.exchange.order_book("A")[-1]
    assert (closing["status"], closing["text"], closing["filledshares"]) == (
        "complete",
        "auto square off",
        "10",
    )
    late = market.place("A", "BUY", 1, 1990.0)
    assert (late.status, "square off" in late.text) == ("rejected", True)
    market.at(60, DAY + 1)
    assert market.place("A", "BUY", 1, 1990.0).status == "open"


def test_square_off_happens_once(floor: MakeFloor) -> None:
    market = floor(square_off="09:20")
    market.place("A", "BUY", 10)
    for second in (300, 302, 900):
        market.at(second)
    assert len(market.exchange.orders["A"]) == 2


def test_books_are_of_one_client_only(floor: MakeFloor) -> None:
    market = floor()
    order = market.place("A", "BUY", 10)
    assert market.exchange.order_book("B") == market.exchange.trade_book("B") == []
    assert market.exchange.details("B", order.uniqueid) is None
    assert market.exchange.details("A", order.uniqueid) == order.row()
    assert isinstance(
        market.exchange.cancel("B", {"variety": "NORMAL", "orderid": order.orderid}, 0), Refusal
    )


def test_trade_rows_add_up_to_the_order(floor: MakeFloor) -> None:
    market = floor()
    levels = market.ask_levels()
    order = market.place("A", "BUY", levels[0][1] + 3)
    rows = market.exchange.trade_book("A")
    assert [row["fillsize"] for row in rows] == [str(levels[0][1]), "3"]
    assert [row["fillprice"] for row in rows] == [f"{price:.2f}" for price, _ in levels[:2]]
    assert {row["filltime"] for row in rows} == {"09:15:10"}
    assert "symboltoken" not in rows[0]
    assert order.value == round(sum(float(row["tradevalue"]) for row in rows) * 100)


def test_modify_that_the_account_cannot_pay_leaves_the_order_as_it_was(floor: MakeFloor) -> None:
    market = floor(cash=1_000_000)
    bid = market.place("A", "BUY", 10, 1990.0)
    held = market.exchange.accounts["A"].used
    assert isinstance(market.modify(bid, quantity="1000"), Placed)
    assert (bid.quantity, bid.status) == (10, "open")
    assert "Insufficient Funds" in bid.text
    assert market.exchange.accounts["A"].used == held


def test_restored_exchange_has_the_same_books_and_new_ids(floor: MakeFloor) -> None:
    market = floor()
    market.place("A", "BUY", 10)
    market.place("B", "BUY", 10, 1990.0)
    market.place("B", "SELL", 3, 1985.0, variety="STOPLOSS", ordertype="STOPLOSS_LIMIT", triggerprice="1986")
    old = market.exchange
    orders = [order for orders in old.orders.values() for order in orders.values()]
    market.exchange = market.make()
    market.exchange.restore(orders, [], len(orders))
    for client in "ABC":
        assert market.exchange.order_book(client) == old.order_book(client)
        assert market.exchange.positions(client, market.now) == old.positions(client, market.now)
        assert market.exchange.rms(client, market.now) == old.rms(client, market.now)
    more = market.place("A", "BUY", 1)
    rows = market.exchange.ledger()
    assert len({row["orderid"] for row in rows}) == len({row["uniqueorderid"] for row in rows}) == 4
    assert {trade.fill_id for trade in more.trades}.isdisjoint(
        trade.fill_id for order in orders for trade in order.trades
    )


def test_modify_and_cancel_that_were_taken_arrive_in_the_next_life(floor: MakeFloor) -> None:
    market = floor()
    kept: list[list[object]] = []
    dear, gone = (market.place("A", "BUY", 10, 1990.0) for _ in range(2))
    market.switches.change({"latency_low_ms": 60_000, "latency_high_ms": 60_000})
    market.exchange.on_pending = lambda order: kept.append([order.orderid, *order.pending])
    assert isinstance(market.modify(dear, price="1985.00", quantity="7"), Placed)
    assert isinstance(market.cancel(gone), Placed)
    assert (dear.price, gone.status) == (199_000, "open")  # under way
    assert [len(each) for each in kept] == [2, 2]
    market.switches.change({"latency_low_ms": 0, "latency_high_ms": 0})
    market.exchange = market.make()
    market.exchange.restore([dear, gone], [], 2)
    market.at(11)
    assert (dear.price, dear.quantity, dear.status, gone.status) == (198_500, 7, "open", "cancelled")
    assert dear.pending == gone.pending == []


def test_cancel_overtaken_by_a_fill_changes_nothing(floor: MakeFloor) -> None:
    market = floor([(0, 2000.0, 1000), (20, 1980.0, 1000)], latency_low_ms=0, latency_high_ms=0)
    bid = market.place("A", "BUY", 1, 1990.0)
    market.switches.change({"latency_low_ms": 15_000, "latency_high_ms": 15_000})
    market.cancel(bid)
    market.at(20)
    assert (bid.status, bid.pending) == ("complete", [bid.pending[0]])
    market.at(40)
    assert (bid.status, bid.pending) == ("complete", [])
