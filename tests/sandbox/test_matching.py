from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.exchange import Placed
from sandbox.intake import Refusal
from sandbox.market_clock import Instant, open_us
from sandbox.matching import QUEUE_SHARE
from sandbox.orders import Order
from sandbox.tape import STEP_S
from tests.sandbox.floor import DAY, RELIANCE, Floor, Tick

STILL: list[Tick] = [(0, 2000.0, 1000)]
MakeFloor = Callable[..., Floor]


@pytest.fixture
def floor(tmp_path: Path) -> MakeFloor:
    def make(ticks: list[Tick] = STILL, **switches: Any) -> Floor:
        made = Floor(tmp_path, ticks, **switches)
        made.at(10)
        return made

    return make


def fills(order: Order) -> list[tuple[float, int]]:
    return [(trade.price / 100, trade.quantity) for trade in order.trades]


def test_buyer_takes_sellers_level_by_level_and_never_above_its_limit(floor: MakeFloor) -> None:
    market = floor()
    levels = market.ask_levels()
    two = levels[0][1] + levels[1][1]
    order = market.place("A", "BUY", two + 5, levels[1][0])
    assert fills(order) == levels[:2]
    assert (order.status, order.filled, order.remaining) == ("open", two, 5)


def test_better_price_of_a_client_comes_before_an_older_worse_one(floor: MakeFloor) -> None:
    market = floor()
    worse = market.place("A", "BUY", 10, 1999.0)
    better = market.place("B", "BUY", 10, 1999.55)
    seller = market.place("C", "SELL", 15, 1999.0)
    # The made-up buyers begin at 1999.60 and take what they want first.
    bought = sum(quantity for price, quantity in fills(seller) if price > 1999.55)
    assert better.filled == min(10, 15 - bought)
    assert worse.filled == 0


def test_same_price_goes_to_the_older_client(floor: MakeFloor) -> None:
    market = floor()
    first = market.place("A", "BUY", 10, 1999.65)  # inside the spread: nobody else bids so much
    second = market.place("B", "BUY", 10, 1999.65)
    seller = market.place("C", "SELL", 15, 1999.65)
    assert (first.filled, second.filled) == (10, 5)
    assert fills(seller) == [(1999.65, 10), (1999.65, 5)]


def test_client_between_two_made_up_levels_is_not_passed_over(floor: MakeFloor) -> None:
    market = floor()
    levels = market.ask_levels()
    seller = market.place("A", "SELL", 7, levels[1][0])
    buyer = market.place("B", "BUY", levels[0][1] + 7, levels[4][0])
    assert fills(buyer) == [levels[0], (levels[1][0], 7)]
    assert seller.status == "complete"


def test_own_orders_do_not_meet(floor: MakeFloor) -> None:
    market = floor()
    bid = market.place("A", "BUY", 10, 1999.65)
    offer = market.place("A", "SELL", 10, 1999.65)
    assert (bid.filled, offer.filled) == (0, 0)


def test_level_is_given_away_once_within_a_step_and_anew_in_the_next(floor: MakeFloor) -> None:
    market = floor()
    price, quantity = market.ask_levels()[0]
    first = market.place("A", "BUY", quantity, price)
    second = market.place("B", "BUY", 1, price)
    assert (first.filled, second.filled) == (quantity, 0)
    market.at(12)
    assert second.filled == 1


def test_level_taken_in_parts_is_used_up_by_their_sum(floor: MakeFloor) -> None:
    market = floor()
    price, quantity = market.ask_levels()[0]
    parts = [quantity // 3, quantity // 3, quantity, quantity]
    filled = [
        market.place(client, "BUY", part, price).filled for client, part in zip("ABCA", parts, strict=True)
    ]
    assert filled == [parts[0], parts[1], quantity - parts[0] - parts[1], 0]


def test_resting_orders_share_what_the_market_brings_in_their_order(floor: MakeFloor) -> None:
    market = floor([(0, 2000.0, 0), (12, 1995.0, 0)])
    late = market.place("A", "BUY", 100_000, 1996.0, producttype="INTRADAY")
    best = market.place("B", "BUY", 100, 1996.05)
    market.at(12)
    levels = [level for level in market.ask_levels() if level[0] <= 1996.0]
    assert fills(best) == [(1996.05, 100)]  # it was there first: at its own price
    assert best.filled + late.filled == sum(quantity for _, quantity in levels)
    assert {price for price, _ in fills(late)} == {1996.0}


def test_traded_shares_go_to_the_front_of_the_queue_first(floor: MakeFloor) -> None:
    market = floor([(0, 2000.0, 0), (12, 1999.0, 300), (14, 1999.0, 300)])
    first = market.place("A", "BUY", 200, 1999.0)
    second = market.place("B", "BUY", 200, 1999.0)
    first.queue, second.queue = 250, 250  # as if so many shares stood in front of both
    market.at(12)
    assert (first.filled, second.filled) == (50, 0)
    market.at(14)
    assert (first.filled, second.filled) == (200, 150)


def test_rest_of_a_partial_fill_fills_later_and_the_average_is_exact(floor: MakeFloor) -> None:
    market = floor([(0, 2000.0, 0), (12, 1999.0, 0)])
    price, quantity = market.ask_levels()[0]
    order = market.place("A", "BUY", quantity + 10, price)
    assert order.row()["filledshares"] == str(quantity)
    assert order.row()["unfilledshares"] == "10"
    assert order.row()["status"] == "open"
    market.at(12)
    value = sum(round(each * 100) * shares for each, shares in fills(order))
    assert order.status == "complete"
    assert order.row()["averageprice"] == round(value / order.filled / 100, 2)


@pytest.mark.parametrize(("side", "trigger", "limit", "then"), [("SELL", 1990.0, 1985.0, 1989.0),
                                                               ("BUY", 2010.0, 2015.0, 2011.0)])  # fmt: skip
def test_stop_sleeps_until_its_trigger_is_traded(
    floor: MakeFloor, side: str, trigger: float, limit: float, then: float
) -> None:
    market = floor([(0, 2000.0, 0), (12, (trigger + 2000) / 2, 0), (14, then, 0)])
    stop = market.place(
        "A", side, 5, limit, variety="STOPLOSS", ordertype="STOPLOSS_LIMIT", triggerprice=f"{trigger:.2f}"
    )
    assert stop.status == "trigger pending"
    market.at(12)
    assert (stop.status, stop.filled) == ("trigger pending", 0)
    market.at(14)
    assert stop.status == "complete"
    assert market.statuses(stop) == ["validation pending", "trigger pending", "open", "complete"]


def test_woken_stop_that_finds_nobody_is_open_and_has_been_told_so(floor: MakeFloor) -> None:
    market = floor([(0, 2000.0, 0), (12, 1980.0, 0)])
    stop = market.place(
        "A", "SELL", 5, 1989.0, variety="STOPLOSS", ordertype="STOPLOSS_LIMIT", triggerprice="1990.00"
    )
    market.at(12)
    assert (stop.status, stop.filled) == ("open", 0)
    assert market.statuses(stop)[-1] == "open"


@pytest.mark.parametrize(("policy", "limit"), [("accept", 0), ("convert", 197_010)])
def test_stop_without_limit_sells_by_the_policy_for_market_orders(
    floor: MakeFloor, policy: str, limit: int
) -> None:
    market = floor([(0, 2000.0, 0), (12, 1980.0, 0)], market_policy=policy)
    stop = market.place(
        "A", "SELL", 5, variety="STOPLOSS", ordertype="STOPLOSS_MARKET", triggerprice="1990.00"
    )
    market.at(12)
    assert (stop.status, stop.price) == ("complete", limit)


def test_immediate_order_leaves_no_rest(floor: MakeFloor) -> None:
    market = floor()
    price, quantity = market.ask_levels()[0]
    order = market.place("A", "BUY", quantity + 3, price, duration="IOC")
    assert (order.status, order.filled, order.row()["cancelsize"]) == ("cancelled", quantity, "3")
    assert order.row()["unfilledshares"] == "0"


@pytest.mark.parametrize(("meaning", "left"), [("total", 20), ("remaining", 30)])
def test_quantity_of_a_modify_means_what_the_switch_says(floor: MakeFloor, meaning: str, left: int) -> None:
    market = floor(modify_quantity=meaning)
    bid = market.place("A", "BUY", 40, 1999.65)
    market.place("B", "SELL", 10, 1999.65)
    assert bid.filled == 10
    market.modify(bid, quantity="30")
    assert (bid.status, bid.remaining) == ("open", left)


def test_more_shares_or_another_price_lose_the_place_and_fewer_keep_it(floor: MakeFloor) -> None:
    for change, winner in (({"quantity": "5"}, "A"), ({"quantity": "30"}, "B"), ({"price": "1999.70"}, "A")):
        market = floor()
        first = market.place("A", "BUY", 10, 1999.65)
        second = market.place("B", "BUY", 10, 1999.65)
        market.modify(first, **change)
        seller = market.place("C", "SELL", 5, 1999.65)
        assert seller.status == "complete"
        assert [order.client for order in (first, second) if order.filled] == [winner], change


def test_place_in_the_made_up_queue_is_kept_by_fewer_shares_and_lost_by_another_price(
    floor: MakeFloor,
) -> None:
    market = floor()
    bids = market.prices.depth(RELIANCE, market.now).bids
    order = market.place("A", "BUY", 10, bids[2].price / 100)
    assert order.queue == bids[2].quantity // QUEUE_SHARE
    order.queue = 3  # as if most of it had traded
    market.modify(order, quantity="5")
    assert order.queue == 3
    market.modify(order, price=f"{bids[1].price / 100:.2f}")
    assert order.queue == bids[1].quantity // QUEUE_SHARE


def test_modify_of_the_price_takes_what_it_now_reaches(floor: MakeFloor) -> None:
    market = floor()
    bid = market.place("A", "BUY", 5, 1990.0)
    price = market.ask_levels()[0][0]
    market.modify(bid, price=f"{price:.2f}")
    assert fills(bid) == [(price, 5)]
    assert market.statuses(bid)[-3:] == ["modified", "open", "complete"]


@pytest.mark.parametrize("change", [{"quantity": "0"}, {"ordertype": "FOO"}, {"price": "x"}, {"price": "0"},
                                    {"price": "1999.61"}, {"variety": "AMO"}, {"quantity": "-4"},
                                    {"price": "9000"}])  # fmt: skip
def test_modify_that_makes_no_sense_is_refused_and_changes_nothing(
    floor: MakeFloor, change: dict[str, str]
) -> None:
    market = floor()
    bid = market.place("A", "BUY", 10, 1999.65)
    before = dict(bid.row())
    assert isinstance(market.modify(bid, **change), Refusal)
    assert bid.row() == before


def test_modify_below_what_has_been_filled_is_refused(floor: MakeFloor) -> None:
    market = floor()
    bid = market.place("A", "BUY", 40, 1999.65)
    market.place("B", "SELL", 10, 1999.65)
    assert isinstance(market.modify(bid, quantity="10"), Refusal)
    assert isinstance(market.modify(bid, quantity="11"), Placed)
    assert (bid.quantity, bid.filled) == (11, 10)


def test_cancel_of_a_filled_order_is_refused(floor: MakeFloor) -> None:
    market = floor()
    order = market.place("A", "BUY", 5, market.ask_levels()[0][0])
    assert order.status == "complete"
    assert market.cancel(order) == Refusal("AB1013", "Order not found")
    assert market.modify(order, quantity="9") == Refusal("AB1013", "Order not found")
    assert order.status == "complete"


def test_cancel_ends_the_rest_and_keeps_what_was_filled(floor: MakeFloor) -> None:
    market = floor()
    bid = market.place("A", "BUY", 40, 1999.65)
    market.place("B", "SELL", 10, 1999.65)
    market.cancel(bid)
    row = bid.row()
    assert (row["status"], row["filledshares"], row["cancelsize"], row["unfilledshares"]) == (
        "cancelled", "10", "30", "0",
    )  # fmt: skip
    assert market.place("B", "SELL", 10, 1999.65).filled == 0


def test_fill_that_overtakes_a_cancel_wins(floor: MakeFloor) -> None:
    market = floor(latency_low_ms=1000, latency_high_ms=1000)
    placed = market.ask("A", "BUY", 5, 1999.65)
    market.at(11)
    bid = market.exchange.orders["A"][placed.orderid]
    market.ask("B", "SELL", 5, 1999.65)
    answer = market.exchange.cancel("A", {"variety": "NORMAL", "orderid": bid.orderid}, market.now.us)
    assert isinstance(answer, Placed)
    market.at(12)
    assert (bid.status, bid.filled) == ("complete", 5)


ORDERS = st.tuples(
    st.sampled_from("ABC"),
    st.sampled_from(["BUY", "SELL"]),
    st.integers(1, 2_500),
    st.one_of(st.none(), st.integers(-8, 8)),
    st.sampled_from(["DAY", "IOC"]),
)
STEPS = st.one_of(
    ORDERS,
    st.tuples(st.just("wait"), st.integers(1, 6)),
    st.tuples(st.just("cancel"), st.integers(0, 40)),
    st.tuples(st.just("modify"), st.integers(0, 40), st.integers(1, 2_500), st.integers(-8, 8)),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(STEPS, max_size=40), st.lists(st.tuples(st.integers(-6, 6), st.integers(0, 900)), max_size=12)
)
def test_whatever_happens_shares_are_conserved_and_limits_kept(
    steps: list[tuple[Any, ...]], moves: list[tuple[int, int]]
) -> None:
    ticks: list[Tick] = [(0, 2000.0, 0)]
    ticks += [(10 + 2 * n, 2000.0 + move * 0.4, traded) for n, (move, traded) in enumerate(moves)]
    with TemporaryDirectory() as folder:
        market = Floor(Path(folder), ticks)
    market.at(8)
    orders: list[Order] = []
    limits: list[list[int]] = []
    for step in steps:
        match step:
            case ("wait", seconds):
                market.at(market.second + seconds)
            case ("cancel", number) if number < len(orders):
                market.cancel(orders[number])
            case ("modify", number, quantity, away) if number < len(orders):
                market.modify(orders[number], price=f"{2000 + away * 0.2:.2f}", quantity=str(quantity))
                limits[number].append(orders[number].price)
            case (("A" | "B" | "C") as client, side, quantity, away, duration):
                price = None if away is None else 2000 + away * 0.2
                orders.append(market.place(client, side, quantity, price, duration=duration))
                limits.append([orders[-1].price])
    net_by_step: Counter[int] = Counter()
    for order, prices in zip(orders, limits, strict=True):
        buying = order.side == "BUY"
        assert 0 <= order.filled <= order.quantity
        assert order.filled == sum(trade.quantity for trade in order.trades)
        assert order.value == sum(trade.quantity * trade.price for trade in order.trades)
        assert (order.status == "complete") is (order.filled == order.quantity)
        for trade in order.trades:
            assert trade.quantity > 0
            assert trade.price <= max(prices) if buying else trade.price >= min(prices)
            net_by_step[trade.at_us] += trade.quantity if buying else -trade.quantity
    numbers = [trade.fill_id for order in orders for trade in order.trades]
    assert len(numbers) == len(set(numbers))
    # What clients have gained on the whole came from the made-up book and the recorded trades, and no more.
    for second, net in _by_market_step(net_by_step).items():
        moment = Instant(DAY, second, 0)
        depth, traded = market.prices.depth(RELIANCE, moment), market.prices.traded(RELIANCE, moment)
        assert net <= sum(level.quantity for level in depth.asks) + traded
        assert -net <= sum(level.quantity for level in depth.bids) + traded
    for client, account in market.exchange.accounts.items():
        mine = [order for order in orders if order.client == client]
        bought = sum(order.filled for order in mine if order.side == "BUY")
        sold = sum(order.filled for order in mine if order.side == "SELL")
        assert sum(position.net for position in account.positions.values()) == bought - sold
        assert account.reserved.keys() == {order.orderid for order in mine if not order.done}


def _by_market_step(net: Counter[int]) -> Counter[int]:
    """Return *net* by the first second of its step of the market."""
    steps: Counter[int] = Counter()
    for at_us, quantity in net.items():
        steps[(at_us - open_us(DAY)) // 1_000_000 // STEP_S * STEP_S] += quantity
    return steps


@pytest.mark.parametrize(("meaning", "kind"), [("accept", "LIMIT"), ("refuse", "STOPLOSS_LIMIT")])
def test_stop_becomes_a_limit_where_the_switch_says_so(floor: MakeFloor, meaning: str, kind: str) -> None:
    market = floor(stop_to_limit=meaning)
    stop = market.place(
        "A", "SELL", 10, 1990.0, variety="STOPLOSS", ordertype="STOPLOSS_LIMIT", triggerprice="1995.00"
    )
    market.modify(stop, ordertype="LIMIT", price="2100.00")
    assert (stop.order_type, stop.variety) == (kind, "STOPLOSS")
