"""What a statement shows, section by section, on a terminal and on a page alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from app.grid import Cell, Column
from app.listing import STATE_STYLES, ist, money, profit, side, times

if TYPE_CHECKING:
    from order.statement import DispositionLine, FillLine, FinalBooks, OrderLine, PositionLine, Statement

KINDS = {
    "brokerage": "Brokerage", "exchange": "Exchange transaction charges", "sebi": "SEBI fees",
    "ipft": "IPFT", "gst": "GST", "stt": "STT", "stamp": "Stamp duty", "dp": "Depository (DP) with GST",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Section:
    """One table of a statement; `empty` is said where it has no rows."""

    title: str
    columns: list[Column[Any]]
    rows: Sequence[Any]
    empty: str


def title(found: Statement) -> str:
    """Return what a statement is headed with."""
    owner = found.user_id if found.name in ("", found.user_id) else f"{found.name}, {found.user_id}"
    owner += f", algo id {found.algo_id}" if found.algo_id else ""
    return f"Statement of {owner}, {found.day.strftime('%d %b %Y')}, {found.market}"


def sections(found: Statement) -> list[Section]:
    """Return the tables of a statement, what it comes to first."""
    note = f", {found.note}" if found.note else ""
    how = "as a contract note has them" if found.booked else "estimates: the day is not over"
    if found.of_day.charges and not found.booked:
        how += ", no depository charge yet"
    slipped = f"{money(found.slippage)}, {found.slippage_bps} bps of it"
    if found.slippage_bps is None:
        slipped = "–: none with a reference filled"
    return [
        Section("Profit and loss, rupees", _result(), _results(found), ""),
        Section(
            f"Charges, rupees: {how}{note}",
            [Column("kind", lambda row: row[0]), Column("amount", lambda row: money(row[1]), right=True)],
            [*((KINDS[kind], amount) for kind, amount in found.charges.items()),
             ("Total", found.of_day.charges)],
            "",
        ),
        Section(
            f"Orders; slippage against the reference {slipped}",
            _orders(found.orders), found.orders, "No orders on this day.",
        ),
        Section("Fills", _fills(found.fills), found.fills, "No fills on this day."),
        Section("Open at the end of the day", _positions(), found.positions, "Nothing was open."),
        Section("How signals and orders ended", _dispositions(), found.dispositions, "There were none."),
        *([_final(found.final)] if found.final is not None else []),
    ]  # fmt: skip


def _final(books: FinalBooks) -> Section:
    how = "clean" if books.clean else "NOT CLEAN"
    others = f", {books.foreign} of others" if books.foreign else ""
    had = f"{books.orders} orders{others}, ₹{money(books.cash)}"
    return Section(
        f"The broker's final books, {ist(books.at, year=False)} IST: {how}, {had} there",
        [Column("what differed, or others did", lambda row: row, least=30)],
        books.findings,
        "Nothing differed.",
    )


def _results(found: Statement) -> list[tuple[str, Decimal | None, Decimal | None, Decimal]]:
    rows: list[tuple[str, Decimal | None, Decimal | None, Decimal]] = [
        (what, sums.realised, sums.charges, sums.net)
        for what, sums in (
            ("Brought forward", found.brought),
            ("Of the day", found.of_day),
            ("Carried forward", found.carried),
        )
    ]  # fmt: skip
    if found.positions:
        left = f", {found.unpriced} without a price of that day" if found.unpriced else ""
        rows.append((f"Open positions{left}", None, None, found.unrealised))
    return [*rows, ("Net", None, None, found.net)]


def _result() -> list[Column[Any]]:
    return [
        Column("", lambda row: row[0]),
        Column("realised", lambda row: profit(row[1]) if row[1] is not None else "", right=True),
        Column("charges", lambda row: money(row[2]) if row[2] is not None else "", right=True),
        Column("net", lambda row: profit(row[3]), right=True),
    ]


def _orders(rows: Sequence[OrderLine]) -> list[Column[OrderLine]]:
    return [
        times("placed", lambda row: row.placed_at, rows) if rows else Column("placed", lambda _: ""),
        Column("order", lambda row: row.order_id, rank=6),
        Column("strategy", lambda row: row.strategy_id, rank=7),
        Column("symbol", lambda row: row.symbol),
        Column("for", lambda row: row.purpose.lower(), rank=8),
        Column("side", lambda row: side(row.side)),
        Column("qty", lambda row: f"{row.quantity}", right=True, rank=2),
        Column("filled", lambda row: f"{row.filled}", right=True),
        Column("state", lambda row: Cell(_state(row), STATE_STYLES.get(_state(row), ""))),
        Column("reference", lambda row: money(row.reference), right=True, rank=4),
        Column("average", lambda row: money(row.average_price), right=True, rank=1),
        Column("slippage", lambda row: money(row.slippage), right=True, rank=3),
        Column("bps", _bps, right=True, rank=5),
        Column("charges", lambda row: money(row.charges), right=True, rank=9),
        Column("realised", lambda row: profit(row.realised), right=True, rank=10),
        Column("place", _place, right=True, rank=11),
        Column("reason", lambda row: row.reason, rank=12, least=20),
    ]  # fmt: skip


def _bps(row: OrderLine) -> str:
    return "–" if row.slippage_bps is None else f"{row.slippage_bps}"


def _place(row: OrderLine) -> str:
    spread = f", {row.spread_ms:.1f} ms" if row.spread_ms is not None else ""
    return f"{row.place} of {row.of}{spread}" if row.of else "–"


def _state(row: OrderLine) -> str:
    return row.state if row.disposition in ("ORDERED", row.state) else row.disposition


def _fills(rows: Sequence[FillLine]) -> list[Column[FillLine]]:
    return [
        times("at", lambda row: row.at, rows) if rows else Column("at", lambda _: ""),
        Column("order", lambda row: row.order_id, rank=2),
        Column("strategy", lambda row: row.strategy_id, rank=3),
        Column("symbol", lambda row: row.symbol),
        Column("product", lambda row: row.product, rank=4),
        Column("side", lambda row: side(row.side)),
        Column("qty", lambda row: f"{row.quantity}", right=True),
        Column("price", lambda row: money(row.price), right=True),
        Column("charges", lambda row: money(row.charges), right=True, rank=1),
        Column("realised", lambda row: profit(row.realised), right=True),
    ]


def _positions() -> list[Column[PositionLine]]:
    return [
        Column("strategy", lambda row: row.strategy_id, rank=2),
        Column("symbol", lambda row: row.symbol),
        Column("product", lambda row: row.product, rank=1),
        Column("qty", lambda row: f"{row.quantity}", right=True),
        Column("average", lambda row: money(row.average_price), right=True),
        Column("mark", lambda row: money(row.mark), right=True),
        Column("unrealised", lambda row: profit(row.unrealised), right=True),
    ]


def _dispositions() -> list[Column[DispositionLine]]:
    return [
        Column("ended", lambda row: Cell(row.disposition, STATE_STYLES.get(row.disposition, ""))),
        Column("count", lambda row: f"{row.count}", right=True),
        Column("reason", lambda row: row.reason, least=30),
    ]
