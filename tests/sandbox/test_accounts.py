from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.accounts import Holding, margin
from tests.sandbox.floor import RELIANCE, Floor, Tick

MakeFloor = Callable[..., Floor]
BUYS_AT = 2000.40
"""Two basis points above 2,000.00: the first seller."""


@pytest.fixture
def floor(tmp_path: Path) -> MakeFloor:
    def make(ticks: list[Tick] | None = None, **options: Any) -> Floor:
        made = Floor(tmp_path, ticks or [(0, 2000.0, 0)], cash=10_000_000, **options)
        made.at(10)
        return made

    return make


def rms(market: Floor, client: str = "A") -> dict[str, Any]:
    return market.exchange.rms(client, market.now)


def test_margin_is_a_fifth_for_intraday_and_all_for_the_rest() -> None:
    assert margin("INTRADAY", 1_000_000) == 200_000
    assert [margin(product, 1_000_000) for product in ("DELIVERY", "MARGIN", "CARRYFORWARD")] == [
        1_000_000
    ] * 3


@pytest.mark.parametrize(("product", "held"), [("INTRADAY", "3980.0000"), ("DELIVERY", "19900.0000")])
def test_working_order_holds_its_margin_and_gives_it_back(floor: MakeFloor, product: str, held: str) -> None:
    market = floor()
    bid = market.place("A", "BUY", 10, 1990.0, producttype=product)
    assert rms(market)["utiliseddebits"] == held
    assert float(rms(market)["net"]) == 100_000 - float(held)
    market.cancel(bid)
    assert (rms(market)["utiliseddebits"], rms(market)["net"]) == ("0.0000", "100000.0000")


def test_position_holds_margin_at_its_average_and_closing_frees_it(floor: MakeFloor) -> None:
    market = floor([(0, 2000.0, 0), (12, 2010.0, 0)])
    market.place("A", "BUY", 10, BUYS_AT)
    assert rms(market)["utiliseddebits"] == "4000.8000"
    # Marked at the last price: below what was paid.
    assert rms(market)["m2munrealized"] == "-4.0000"
    market.at(12)
    assert rms(market)["m2munrealized"] == "96.0000"
    sold = market.place("A", "SELL", 10, 2009.0)
    assert sold.status == "complete"
    assert rms(market)["utiliseddebits"] == "0.0000"
    profit = sold.value - 10 * 200_040
    assert rms(market)["m2mrealized"] == f"{profit / 100:.4f}"
    assert rms(market)["net"] == f"{100_000 + profit / 100:.4f}"


def test_short_position_earns_when_the_price_falls(floor: MakeFloor) -> None:
    market = floor([(0, 2000.0, 0), (12, 1990.0, 0)])
    market.place("A", "SELL", 10, 1999.60)
    market.at(12)
    (row,) = market.exchange.positions("A", market.now)
    assert (row["netqty"], row["sellavgprice"], row["unrealised"]) == ("-10", "1999.60", "96.00")
    assert rms(market)["m2munrealized"] == "96.0000"


def test_funds_are_text_with_four_decimals(floor: MakeFloor) -> None:
    funds = rms(floor())
    assert all(value is None or value.partition(".")[2].__len__() == 4 for value in funds.values())
    assert {"net", "availablecash", "collateral", "m2mrealized", "utilisedspan", "utilisedpayout"} <= set(
        funds
    )


def test_order_just_within_the_money_passes_and_one_share_more_does_not(floor: MakeFloor) -> None:
    market = floor()
    assert market.place("A", "BUY", 251, 1990.0).status == "open"  # 99,898.00 of 1,00,000
    assert market.place("B", "BUY", 252, 1990.0).status == "rejected"  # 1,00,296.00
    assert market.place("A", "BUY", 1, 1990.0).status == "rejected"  # what works is held


def test_closing_needs_no_margin(floor: MakeFloor) -> None:
    market = floor()
    assert market.place("A", "BUY", 240, 2010.0).status == "complete"
    assert market.place("A", "BUY", 20, 1990.0).status == "rejected"
    assert market.place("A", "SELL", 240, 2005.0).status == "open"


def test_position_rows_are_text_and_the_sum_of_the_fills(floor: MakeFloor) -> None:
    market = floor()
    bought = market.place("A", "BUY", 10, BUYS_AT)
    sold = market.place("A", "SELL", 4, 1999.60)
    (row,) = market.exchange.positions("A", market.now)
    assert all(isinstance(value, str) for value in row.values())
    assert (row["buyqty"], row["sellqty"], row["netqty"]) == ("10", "4", "6")
    assert (row["buyamount"], row["sellamount"]) == (f"{bought.value / 100:.2f}", f"{sold.value / 100:.2f}")
    assert (row["buyavgprice"], row["sellavgprice"], row["avgnetprice"]) == ("2000.40", "1999.60", "2000.40")
    assert (row["realised"], row["unrealised"], row["pnl"]) == ("-3.20", "-2.40", "-5.60")
    assert (row["ltp"], row["close"], row["producttype"]) == ("2000.00", "2000.00", "INTRADAY")


def test_closed_position_stays_in_the_list_with_nothing(floor: MakeFloor) -> None:
    market = floor()
    market.place("A", "BUY", 10, BUYS_AT)
    market.place("A", "SELL", 10, 1999.60)
    (row,) = market.exchange.positions("A", market.now)
    assert (row["netqty"], row["realised"], row["unrealised"]) == ("0", "-8.00", "0.00")


def test_holdings_may_be_sold_once_without_margin_and_their_value_is_good_at_once(floor: MakeFloor) -> None:
    market = floor()
    account = market.exchange.accounts["A"]
    account.holdings["RELIANCE"] = Holding(RELIANCE, 10, 190_000)
    waiting = market.place("A", "SELL", 6, 2005.0, producttype="DELIVERY")
    assert waiting.status == "open"
    assert market.place("A", "SELL", 5, 2005.0, producttype="DELIVERY").status == "rejected"
    sold = market.place("A", "SELL", 4, 1999.60, producttype="DELIVERY")
    assert sold.status == "complete"
    assert rms(market)["utilisedholdingsales"] == "7998.4000"
    assert float(rms(market)["net"]) == 100_000 + 7_998.40
    market.cancel(waiting)
    assert market.place("A", "SELL", 7, 1999.60, producttype="DELIVERY").status == "rejected"
    assert market.place("A", "SELL", 6, 1999.60, producttype="DELIVERY").status == "complete"


def test_holding_rows_are_numbers(floor: MakeFloor) -> None:
    market = floor()
    market.exchange.accounts["A"].holdings["RELIANCE"] = Holding(RELIANCE, 10, 190_000)
    (row,) = market.exchange.holdings("A", market.now)
    assert (row["quantity"], row["averageprice"], row["ltp"]) == (10, 1900.0, 2000.0)
    assert (row["profitandloss"], row["pnlpercentage"]) == (1000, 5.26)
    assert row["collateralquantity"] is None


def test_conversion_moves_shares_and_value_and_needs_the_money(floor: MakeFloor) -> None:
    market = floor()
    account = market.exchange.accounts["A"]
    market.place("A", "BUY", 100, BUYS_AT)
    assert account.convert(RELIANCE, "INTRADAY", "DELIVERY", 100) is None  # 2 lakh, and only 1 is there
    moved = account.convert(RELIANCE, "INTRADAY", "DELIVERY", 30)
    assert moved is not None
    rows = {row["producttype"]: row for row in market.exchange.positions("A", market.now)}
    assert {name: (row["netqty"], row["buyavgprice"]) for name, row in rows.items()} == {
        "INTRADAY": ("70", "2000.40"), "DELIVERY": ("30", "2000.40"),
    }  # fmt: skip
    assert account.used == 70 * 200_040 // 5 + 30 * 200_040


@pytest.mark.parametrize(("old", "new", "quantity"), [
    ("INTRADAY", "DELIVERY", 11), ("DELIVERY", "INTRADAY", 1), ("INTRADAY", "INTRADAY", 1),
])  # fmt: skip
def test_conversion_of_what_is_not_there_fails(floor: MakeFloor, old: str, new: str, quantity: int) -> None:
    market = floor()
    market.place("A", "BUY", 10, BUYS_AT)
    assert market.exchange.accounts["A"].convert(RELIANCE, old, new, quantity) is None


def test_short_position_does_not_become_a_delivery(floor: MakeFloor) -> None:
    market = floor()
    market.place("A", "SELL", 10, 1999.60)
    assert market.exchange.accounts["A"].convert(RELIANCE, "INTRADAY", "DELIVERY", 5) is None
    assert market.exchange.accounts["A"].convert(RELIANCE, "INTRADAY", "CARRYFORWARD", 5) is not None
