"""Market days of an exchange: what its books show, and where shares and money are the day after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.accounts import Holding, Moved
from sandbox.exchange import Exchange
from sandbox.market_clock import SESSION_S
from sandbox.orders import Order
from tests.sandbox.box import SECURE, box
from tests.sandbox.floor import DAY, RELIANCE, Floor, Tick

STILL: list[Tick] = [(0, 2000.0, 1000)]
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(DAY, DAY + 7)
MakeFloor = Callable[..., Floor]
HOLDINGS = f"{SECURE}portfolio/v1/getHolding"
ALL_HOLDINGS = f"{SECURE}portfolio/v1/getAllHolding"


@pytest.fixture
def floor(tmp_path: Path) -> MakeFloor:
    def make(**options: Any) -> Floor:
        made = Floor(tmp_path, STILL, cash=10_000_000, **options)
        made.at(10)
        return made

    return make


def buy(market: Floor, quantity: int, product: str = "DELIVERY", **more: object) -> Order:
    order = market.place("A", "BUY", quantity, 2050.0, producttype=product, **more)
    assert order.status == "complete", order.text
    return order


def sell(market: Floor, quantity: int, product: str = "DELIVERY") -> Order:
    order = market.place("A", "SELL", quantity, 1950.0, producttype=product)
    assert order.status == "complete", order.text
    return order


def held(market: Floor) -> list[tuple[int, int]]:
    """Return the shares that have arrived and those on their way, a row each."""
    rows = market.exchange.holdings("A", market.now)
    return [(row["realisedquantity"], row["t1quantity"]) for row in rows]


def nets(market: Floor) -> dict[str, str]:
    return {row["producttype"]: row["netqty"] for row in market.exchange.positions("A", market.now)}


def money(market: Floor) -> float:
    return float(market.exchange.rms("A", market.now)["net"])


def test_books_show_the_present_day_and_the_ledger_all(floor: MakeFloor) -> None:
    market = floor()
    first = buy(market, 3, "INTRADAY")
    sell(market, 3, "INTRADAY")
    assert len(market.exchange.order_book("A")) == len(market.exchange.trade_book("A")) == 2
    market.at(10, TUESDAY)
    assert market.exchange.order_book("A") == market.exchange.trade_book("A") == []
    assert market.exchange.details("A", first.uniqueid) is None
    assert market.exchange.positions("A", market.now) == []
    again = buy(market, 1, "INTRADAY")
    assert [row["orderid"] for row in market.exchange.order_book("A")] == [again.orderid]
    assert len(market.exchange.ledger()) == 3
    assert market.exchange.accounts["A"].nets == {("RELIANCE", "INTRADAY"): 1}


def test_order_that_the_change_of_day_ends_is_shown_until_the_next_one(floor: MakeFloor) -> None:
    market = floor()
    partly = market.ask_levels()[0][1]
    bid = market.place("A", "BUY", partly + 5, 2000.40, producttype="INTRADAY")
    assert bid.status == "open"
    market.at(10, TUESDAY)  # no night in between: only now can its owner see it
    (row,) = market.exchange.order_book("A")
    assert (row["status"], row["filledshares"]) == ("cancelled", str(partly))
    assert market.exchange.trade_book("A") == []
    market.at(10, WEDNESDAY)
    assert market.exchange.order_book("A") == []


def test_order_that_ended_with_its_session_is_not_in_the_morning_book(floor: MakeFloor) -> None:
    market = floor()
    market.place("A", "BUY", 1, 1990.0)
    market.at(SESSION_S)
    assert [row["status"] for row in market.exchange.order_book("A")] == ["cancelled"]
    market.at(-3_600, TUESDAY)
    assert market.exchange.order_book("A") == []


def test_order_that_waits_for_its_session_stays_over_the_weekend(floor: MakeFloor) -> None:
    market = floor()
    market.at(SESSION_S + 3_600, FRIDAY)
    waiting = market.place("A", "BUY", 1, 2050.0, producttype="DELIVERY")
    for day in (SATURDAY, SUNDAY, MONDAY + 7):
        market.at(-3_600, day)
        assert [row["orderid"] for row in market.exchange.order_book("A")] == [waiting.orderid]
    market.at(10, MONDAY + 7)
    assert waiting.status == "complete"
    market.at(10, TUESDAY + 7)
    assert market.exchange.order_book("A") == []


def test_bought_shares_are_on_their_way_for_a_day_and_then_free(floor: MakeFloor) -> None:
    market = floor()
    buy(market, 10)
    assert (held(market), nets(market)) == ([], {"DELIVERY": "10"})
    before = money(market)
    market.at(10, TUESDAY)
    assert (held(market), nets(market), money(market)) == ([(0, 10)], {}, before)
    assert market.exchange.rms("A", market.now)["utiliseddebits"] == "0.0000"  # paid, not blocked
    market.at(10, WEDNESDAY)
    assert held(market) == [(10, 0)]
    (row,) = market.exchange.holdings("A", market.now)
    assert (row["quantity"], row["averageprice"]) == (10, 2000.4)


def test_weekend_brings_no_share_nearer(floor: MakeFloor) -> None:
    market = floor()
    market.at(10, FRIDAY)
    buy(market, 10)
    for day in (SATURDAY, SUNDAY):
        market.at(10, day)
        assert (held(market), nets(market)) == ([], {"DELIVERY": "10"})
    market.at(10, MONDAY + 7)
    assert held(market) == [(0, 10)]
    market.at(10, TUESDAY + 7)
    assert held(market) == [(10, 0)]


def test_days_without_anybody_looking_pass_one_by_one(floor: MakeFloor) -> None:
    market = floor()
    buy(market, 10)
    market.at(10, FRIDAY)
    assert held(market) == [(10, 0)]


def test_sold_shares_leave_the_day_after_and_an_empty_holding_goes(floor: MakeFloor) -> None:
    market = floor()
    market.exchange.accounts["A"].holdings["RELIANCE"] = Holding(RELIANCE, 6, 190_000)
    buy(market, 4)
    market.at(10, TUESDAY)
    assert held(market) == [(6, 4)]
    average = (6 * 1900 + 4 * 2000.4) / 10
    assert market.exchange.holdings("A", market.now)[0]["averageprice"] == pytest.approx(average, abs=0.01)
    sell(market, 8)
    assert (held(market), nets(market)) == ([(6, 4)], {"DELIVERY": "-8"})
    assert market.place("A", "SELL", 3, 1950.0, producttype="DELIVERY").status == "rejected"
    before = money(market)
    market.at(10, WEDNESDAY)
    assert (held(market), nets(market), money(market)) == ([(2, 0)], {}, before)
    sell(market, 2)
    market.at(10, THURSDAY)
    assert held(market) == []
    assert market.exchange.accounts["A"].nets["RELIANCE", "DELIVERY"] == 4 - 8 - 2


def test_sale_of_more_than_is_held_stays_open(tmp_path: Path) -> None:
    market = Floor(tmp_path, [(0, 2000.0, 1000), (20, 2100.0, 1000)], cash=10_000_000)
    market.at(10)
    buy(market, 10)
    asked = market.place("A", "SELL", 10, 2060.0, producttype="DELIVERY")
    assert market.exchange.accounts["A"].convert(RELIANCE, "DELIVERY", "INTRADAY", 7) is not None
    market.at(20)
    assert (asked.status, nets(market)) == ("complete", {"DELIVERY": "-7", "INTRADAY": "7"})
    market.at(10, TUESDAY)
    assert (held(market), nets(market)) == ([], {"DELIVERY": "-7", "INTRADAY": "7"})


def test_shares_bought_and_sold_on_one_day_leave_their_profit_only(floor: MakeFloor) -> None:
    market = floor()
    bought, sold = buy(market, 10), sell(market, 10)
    profit = (sold.value - bought.value) / 100
    assert market.exchange.rms("A", market.now)["m2mrealized"] == f"{profit:.4f}"
    market.at(10, TUESDAY)
    assert (held(market), nets(market)) == ([], {})
    funds = market.exchange.rms("A", market.now)
    assert (funds["m2mrealized"], funds["net"]) == ("0.0000", f"{100_000 + profit:.4f}")


@pytest.mark.parametrize(("side", "sign"), [("BUY", 1), ("SELL", -1)])
def test_open_intraday_position_is_carried_as_such(floor: MakeFloor, side: str, sign: int) -> None:
    market = floor()
    order = market.place("A", side, 10, 2000.0 + sign * 50)
    market.at(10, TUESDAY)
    (row,) = market.exchange.positions("A", market.now)
    day, old = ("buy", "sell") if sign > 0 else ("sell", "buy")
    assert (row["netqty"], row[f"cf{day}qty"], row[f"cf{old}qty"]) == (str(10 * sign), "10", "0")
    assert (row["buyqty"], row["sellqty"], row[f"cf{day}amount"]) == ("0", "0", f"{order.value / 100:.2f}")
    assert row["avgnetprice"] == row[f"cf{day}avgprice"] == f"{order.value / 1000:.2f}"
    back = market.place("A", "SELL" if sign > 0 else "BUY", 10, 2000.0 - sign * 50)
    (row,) = market.exchange.positions("A", market.now)
    assert (row["netqty"], row[f"{old}qty"], row[f"cf{day}qty"]) == ("0", "10", "10")
    profit = sign * (back.value - order.value) / 100
    assert row["realised"] == f"{profit:.2f}"
    market.at(10, WEDNESDAY)
    assert nets(market) == {}


def test_market_whose_days_are_one_keeps_books_and_positions(floor: MakeFloor) -> None:
    market = floor()
    market.exchange = Exchange(
        market.prices, market.exchange.instruments, market.exchange.accounts.values(), market.switches,
        days=False,
    )  # fmt: skip
    buy(market, 10)
    market.at(10, THURSDAY)
    assert (held(market), nets(market)) == ([], {"DELIVERY": "10"})
    assert len(market.exchange.order_book("A")) == len(market.exchange.trade_book("A")) == 1


def test_restored_exchange_is_on_the_day_that_the_other_was(floor: MakeFloor) -> None:
    market = floor()
    moves: list[Moved] = []

    def convert(old: str, new: str, quantity: int) -> None:
        account, day = market.exchange.accounts["A"], market.exchange.days.day
        moved = account.convert(RELIANCE, old, new, quantity, day)
        assert moved is not None
        moves.append(moved)

    buy(market, 8, "INTRADAY")
    convert("INTRADAY", "DELIVERY", 5)
    market.at(10, TUESDAY)
    sell(market, 2)
    buy(market, 4)
    convert("INTRADAY", "DELIVERY", 1)
    market.at(10, THURSDAY)
    sell(market, 1)
    buy(market, 2)
    old = market.exchange
    orders = list(old.orders["A"].values())
    market.exchange = market.make()
    market.exchange.restore(orders, moves, len(orders))
    market.at(20, THURSDAY)
    assert held(market) == [(8, 0)]
    assert nets(market) == {"DELIVERY": "1", "INTRADAY": "2"}
    for read in (Exchange.positions, Exchange.holdings, Exchange.rms):
        assert read(market.exchange, "A", market.now) == read(old, "A", market.now)
    assert market.exchange.order_book("A") == old.order_book("A")
    assert market.exchange.trade_book("A") == old.trade_book("A")
    ours = {("RELIANCE", "INTRADAY"): 8 - 5 - 1, ("RELIANCE", "DELIVERY"): 5 - 2 + 4 + 1 - 1 + 2}
    assert market.exchange.accounts["A"].nets == old.accounts["A"].nets == ours


def test_conversion_kept_without_its_day_goes_with_the_last_execution(floor: MakeFloor) -> None:
    market = floor()
    bought = buy(market, 5, "INTRADAY")
    moved = market.exchange.accounts["A"].convert(RELIANCE, "INTRADAY", "DELIVERY", 5, MONDAY)
    assert moved is not None
    market.exchange = market.make()
    market.exchange.restore([bought], [replace(moved, day=0)], 1)
    market.at(10, TUESDAY)
    assert (held(market), nets(market)) == ([(0, 5)], {})


async def test_day_changes_for_a_client_and_over_a_restart(tmp_path: Path) -> None:
    async with box(state=tmp_path / "state", holding_quantity="total") as sandbox:
        price = f"{round(await sandbox.last() * 1.05):.2f}"
        bought = (await sandbox.place(price=price, producttype="DELIVERY", ordertag="old")).data["orderid"]
        await sandbox.settled(bought, "complete")
        sandbox.clock.advance(SESSION_S)
        await sandbox.login()
        assert await sandbox.book() == []
        clock = sandbox.clock
    async with box(state=tmp_path / "state", clock=clock) as sandbox:
        assert await sandbox.book() == []
        (row,) = (await sandbox.get(HOLDINGS)).data
        assert (row["t1quantity"], row["realisedquantity"], row["quantity"]) == (10, 0, 0)
        await sandbox.switch(holding_quantity="total")
        (row,) = (await sandbox.get(HOLDINGS)).data
        assert (row["t1quantity"], row["realisedquantity"], row["quantity"]) == (10, 0, 10)
        totals = (await sandbox.get(ALL_HOLDINGS)).data["totalholding"]
        assert totals["totalinvvalue"] == pytest.approx(10 * row["averageprice"])
        await sandbox.switch(holding_quantity="arrived")
        arrived = (await sandbox.get(ALL_HOLDINGS)).data["totalholding"]
        assert arrived["totalinvvalue"] == totals["totalinvvalue"]
        ledger = await sandbox.ledger()
        assert ledger["by_tag"] == {"old": [bought]}
        (net,) = ledger["positions"]
        assert (net["producttype"], net["netqty"], net["symboltoken"]) == ("DELIVERY", 10, "2885")


@pytest.mark.parametrize(("options", "apart"), [
    ({}, True), ({"speed": 2.0}, False), ({"speed": 2.0, "wall": True}, True),
    ({"speed": 2.0, "days": True}, True), ({"days": False}, False),
])  # fmt: skip
async def test_days_are_apart_where_the_market_goes_with_the_wall_or_it_was_asked_for(
    options: dict[str, Any], apart: bool
) -> None:
    async with box(**options) as sandbox:
        assert (await sandbox.send("GET", "/sandbox/info")).json["day_books"] is apart
