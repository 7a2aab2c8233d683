"""What the listings show of the books added up, and of what days cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.grid import Column
from app.listing import START, Listing, money, profit

if TYPE_CHECKING:
    from order.ledger import ChargesView, HoldingView, NetView, ProfitView
    from order.statement_reading import LotView


def _net(rows: Sequence[NetView]) -> list[Column[NetView]]:
    columns: list[Column[NetView]] = [
        Column("user", lambda row: row.user_id),
        Column("symbol", lambda row: row.symbol),
        Column("product", lambda row: row.product, rank=6),
        Column("qty", lambda row: f"{row.quantity}", right=True),
        Column("of which", _parts, rank=2, least=16),
        Column("average", lambda row: money(row.average_price), right=True, rank=4),
        Column("mark", lambda row: money(row.mark), right=True, rank=5),
        Column("unrealised", lambda row: profit(row.unrealised), right=True),
        Column("realised", lambda row: profit(row.realised), right=True, rank=1),
        Column("charges", lambda row: money(row.charges), right=True, rank=3),
        Column("net realised", lambda row: profit(row.net), right=True),
    ]
    if len({row.market for row in rows}) > 1:
        columns.insert(1, Column("market", lambda row: row.market, rank=7))
    return columns


def _parts(row: NetView) -> str:
    return ", ".join(f"{name} {shares}" for name, shares in row.parts.items()) or "–"


def _profits(rows: Sequence[ProfitView]) -> list[Column[ProfitView]]:
    columns: list[Column[ProfitView]] = [
        Column("user", lambda row: row.user_id),
        Column("open", lambda row: f"{row.open}", right=True),
        Column("realised", lambda row: profit(row.realised), right=True, rank=2),
        Column("unrealised", lambda row: profit(row.unrealised), right=True, rank=3),
        Column("charges", lambda row: money(row.charges), right=True, rank=1),
        Column("net", lambda row: profit(row.net), right=True),
    ]
    if any(row.unpriced for row in rows):
        columns.insert(2, Column("without a price", lambda row: f"{row.unpriced}", right=True))
    return columns


def _holdings(rows: Sequence[HoldingView]) -> list[Column[HoldingView]]:
    columns: list[Column[HoldingView]] = [
        Column("user", lambda row: row.user_id),
        Column("symbol", lambda row: row.symbol),
        Column("qty", lambda row: f"{row.quantity}", right=True),
        Column("bought today", lambda row: f"{row.bought_today}", right=True, rank=2),
        Column("T1", lambda row: f"{row.t1}", right=True, rank=1),
        Column("free", lambda row: f"{row.free}", right=True, rank=3),
        Column("authorised", lambda row: f"{row.authorised}", right=True, rank=5),
        Column("pledged", lambda row: f"{row.pledged}", right=True, rank=6),
        Column("sellable", lambda row: f"{row.sellable}", right=True),
        Column("on", lambda row: row.day.strftime("%d %b %Y"), rank=4),
    ]
    if len({row.market for row in rows}) > 1:
        columns.insert(1, Column("market", lambda row: row.market, rank=7))
    return columns


def _charges(rows: Sequence[ChargesView]) -> list[Column[ChargesView]]:
    columns: list[Column[ChargesView]] = [
        Column("day", lambda row: row.day.strftime("%d %b %Y")),
        Column("user", lambda row: row.user_id),
        Column("symbol", lambda row: row.symbol),
        Column("brokerage and fees", lambda row: money(row.levies), right=True, rank=3),
        Column("STT", lambda row: money(row.stt), right=True, rank=1),
        Column("stamp", lambda row: money(row.stamp), right=True, rank=2),
        Column("DP", lambda row: money(row.dp), right=True, rank=4),
        Column("total", lambda row: money(row.total), right=True),
        Column("estimated", lambda row: money(row.estimated), right=True, rank=5),
        Column("note", _note, rank=6),
    ]
    if len({row.market for row in rows}) > 1:
        columns.insert(1, Column("market", lambda row: row.market, rank=7))
    return columns


def _note(row: ChargesView) -> str:
    return ", ".join(word for word in ("provisional" if row.provisional else "", row.note) if word)


def _lots(_: Sequence[LotView]) -> list[Column[LotView]]:
    return [
        Column("symbol", lambda row: row.symbol),
        Column("bought", lambda row: row.bought.strftime("%d %b %Y"), rank=1),
        Column("sold", lambda row: row.sold.strftime("%d %b %Y")),
        Column("qty", lambda row: f"{row.quantity}", right=True),
        Column("cost", lambda row: money(row.cost), right=True, rank=2),
        Column("proceeds", lambda row: money(row.proceeds), right=True, rank=3),
        Column("profit", lambda row: profit(row.profit), right=True),
        Column("charges", lambda row: money(row.charges), right=True, rank=4),
        Column("class", lambda row: row.tax_class.replace("_", " ")),
    ]


NET = Listing("Net positions", _net, f"No positions yet; {START}")
PROFITS = Listing("Profit in rupees", _profits, f"No positions yet; {START}")
HOLDINGS = Listing("Shares for delivery", _holdings, "No shares for delivery are held.")
CHARGES = Listing(
    "Charges of days that are over, rupees", _charges, "No day is over yet; `trading orders` has estimates."
)
LOTS = Listing("Lots sold, rupees", _lots, "Nothing was sold in that year.")
