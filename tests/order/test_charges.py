from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from order.charges import UNIT, Charges, to_paise, to_rupee
from shared.models import Product, Side

DAY = 20_500  # in 2026
BUY, SELL, INTRADAY, DELIVERY = Side.BUY, Side.SELL, Product.INTRADAY, Product.DELIVERY
charges = Charges()


def inr(amount: int) -> Decimal:
    """Return 1e-8 paise in rupees."""
    return Decimal(amount) / UNIT / 100


def table(tmp_path: Path, *rows: dict[str, Any]) -> Charges:
    path = tmp_path / "charges.json"
    path.write_text(json.dumps({"known_in": 2031, "rows": rows}))
    return Charges(path)


def first_row() -> dict[str, Any]:
    row = json.loads((Path(__file__).parents[2] / "data" / "charges.json").read_text())["rows"][0]
    assert isinstance(row, dict)
    return row


def test_worked_examples_agree_part_by_part(market_data: Path) -> None:
    examples = json.loads((market_data / "charges.json").read_text())["worked_examples_computed_here"]["rows"]
    assert len(examples) >= 6
    for row in examples:
        side, product, value = Side(row["side"]), Product(row["product"]), row["value"] * 100
        parts = charges.parts(side, product, value, DAY)
        told = {
            "brokerage": parts.brokerage,
            "exchange_txn": parts.exchange,
            "ipft": parts.ipft,
            "sebi": parts.sebi,
            "stt_exact": parts.stt,
            "stamp_exact": parts.stamp,
            "gst": parts.gst,
        }
        for name, amount in told.items():
            # The examples are rounded to four decimals.
            assert abs(inr(amount) - Decimal(str(row[name]))) <= Decimal("0.00005"), (name, row)
        assert to_rupee(parts.stt) == row["stt_contract_note"] * 100, row
        exact = Decimal(str(row["total_exact"])) * 100
        assert abs(charges.order_paise(side, product, value, DAY) - exact) <= Decimal("0.51"), row


def test_official_sample_agrees_at_its_own_rates(market_data: Path, tmp_path: Path) -> None:
    path = market_data.parent / "smartapi" / "recorded" / "brokerage_estimateCharges_docs_sample.json"
    if not path.is_file():
        pytest.skip(f"no official sample at {path}")
    sample = json.loads(path.read_text())
    summary = sample["response"]["data"]["summary"]
    # The sample is older than our rates: no brokerage, 0.0035 % to the exchange, no IPFT, debt without STT.
    free = {"brokerage_percent": "0", "brokerage_max_inr": "20", "brokerage_min_inr": "0"}
    row = first_row()
    old = {**row, "exchange_percent": "0.0035", "ipft_percent": "0", "DELIVERY": row["DELIVERY"] | free}
    rates = table(tmp_path, old)
    found = [
        rates.parts(
            Side(order["transaction_type"]),
            Product(order["product_type"]),
            int(order["quantity"]) * int(order["price"]) * 100,
            DAY,
            "ETF_OTHER",
        )
        for order in sample["request"]["orders"]
    ]
    leaves = {
        leaf["name"]: Decimal(str(leaf["amount"]))
        for group in summary["breakup"]
        for leaf in (group, *group["breakup"])
    }
    assert inr(sum(each.brokerage for each in found)) == leaves["Angel One Brokerage"]
    assert inr(sum(each.exchange for each in found)) == leaves["Exchange Transaction Charges"]
    assert inr(sum(each.stamp for each in found)) == leaves["Stamp Duty"]
    assert inr(sum(each.sebi for each in found)) == leaves["SEBI Fees"]
    assert inr(sum(each.stt for each in found)) == leaves["Security Transaction Tax"]
    # The broker cuts GST off after four decimals.
    assert 0 <= inr(sum(each.gst for each in found)) - leaves["GST"] < Decimal("0.0001")
    total = sum(each.total for each in found)
    assert to_paise(total) == round(Decimal(str(summary["total_charges"])) * 100)


@pytest.mark.parametrize(
    ("side", "product", "value_paise", "paise"),
    [
        # brokerage 20 + exchange 2.97 + IPFT 0.1 + SEBI 0.1, GST 18 % of these, stamp 3
        (BUY, INTRADAY, 10_000_000, 3034),
        # the same on 1,01,000 with STT 25.25 in place of stamp
        (SELL, INTRADAY, 10_100_000, 5263),
        # STT 50, stamp 7.50
        (BUY, DELIVERY, 5_000_000, 8297),
        # brokerage is at least 2 in DELIVERY
        (BUY, DELIVERY, 150_000, 414),
    ],
)
def test_charges_by_hand(side: Side, product: Product, value_paise: int, paise: int) -> None:
    assert charges.order_paise(side, product, value_paise, DAY) == paise


@pytest.mark.parametrize(
    ("kind", "side", "product", "stt_inr"),
    [
        ("EQ", SELL, DELIVERY, "100"),
        ("ETF", BUY, DELIVERY, "0"),
        ("ETF", SELL, DELIVERY, "1"),
        ("ETF", SELL, INTRADAY, "25"),
        ("ETF_OTHER", BUY, DELIVERY, "0"),
        ("ETF_OTHER", SELL, DELIVERY, "0"),
        ("ETF_OTHER", SELL, INTRADAY, "0"),
        ("INDEX", SELL, DELIVERY, "100"),
    ],
)
def test_stt_of_a_lakh_depends_on_what_is_traded(
    kind: str, side: Side, product: Product, stt_inr: str
) -> None:
    assert inr(charges.parts(side, product, 10_000_000, DAY, kind).stt) == Decimal(stt_inr)


def test_etf_pays_everything_but_stt_as_shares_do() -> None:
    fund, share = (charges.parts(BUY, DELIVERY, 10_000_000, DAY, kind) for kind in ("ETF", "EQ"))
    assert (fund.levies, fund.stamp) == (share.levies, share.stamp)


def test_nothing_filled_costs_nothing() -> None:
    assert charges.order_paise(BUY, DELIVERY, 0, DAY) == 0


def test_trade_older_than_the_rates_takes_the_first_ones_and_says_so() -> None:
    old = charges.order_paise(BUY, INTRADAY, 10_000_000, charges.first_day - 1000)
    assert old == charges.order_paise(BUY, INTRADAY, 10_000_000, charges.first_day)
    assert charges.note(charges.first_day - 1) == "at 2026 charges"
    assert charges.note(charges.first_day) == ""


def test_newest_rates_before_the_trade_hold(tmp_path: Path) -> None:
    first = first_row()
    second = {**first, "from": "2030-01-01", "gst_percent": "100"}
    dated = table(tmp_path, second, first)
    since = 21_915  # 2030-01-01
    before = dated.order_paise(BUY, INTRADAY, 10_000_000, since - 1)
    after = dated.order_paise(BUY, INTRADAY, 10_000_000, since)
    assert (before, after) == (3034, 2 * 2317 + 300)
    assert (dated.dp_paise(since - 1), dated.dp_paise(since)) == (2360, 4000)


def test_remembered_figures_are_the_same() -> None:
    fresh = Charges()
    for value in range(1, 6000):
        fresh.order_paise(SELL, INTRADAY, value, DAY)
    assert fresh.order_paise(SELL, INTRADAY, 10_100_000, DAY) == 5263


@pytest.mark.parametrize(
    ("paise", "to_whole", "to_inr"), [("0.49", 0, 0), ("0.5", 1, 0), ("49.99", 50, 0), ("50", 50, 100)]
)
def test_halves_are_rounded_up(paise: str, to_whole: int, to_inr: int) -> None:
    amount = int(Decimal(paise) * UNIT)
    assert (to_paise(amount), to_rupee(amount)) == (to_whole, to_inr)
