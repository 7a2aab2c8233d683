"""`trading statement` and `trading lots`: a user's day, and what was sold in a year for the accountant."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.command import (
    Json,
    Run,
    day_number,
    guarded,
    known_run,
    known_user,
    settings,
    show_rows,
    tell_elsewhere,
    tell_switches,
)
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from order.statement import Statement
    from order.statement_reading import StatementReader

RECORD = (
    "record", "at", "order", "strategy", "symbol", "for", "side", "product", "quantity", "filled", "price",
    "reference", "slippage", "slippage_bps", "charges", "realised", "amount", "state", "disposition",
    "reason", "place", "of", "spread_ms",
)  # fmt: skip
"""Columns of a statement as CSV: all records have all of them, those that say nothing are empty."""

_FIRST_MONTH = 4
_LATEST = {"live": "today", "manual": "today"}


@guarded
def statement(
    user: Annotated[str, typer.Option("--user", help="Whose.")],
    day: Annotated[
        str | None,
        typer.Option("--day", metavar="YYYY-MM-DD", help="India, the market's own. Default: its latest day."),
    ] = None,
    run: Run = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all of it there as CSV.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it there as a page to read or print.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a user's day: profit and loss, charges by kind, orders with their slippage, fills, refusals.

    It adds up with `trading profit` and `trading charges` to the paisa. Open positions are valued on the
    market's latest day only (live: today): prices of earlier days are not kept. Of a live account it ends
    with how the broker's final books of that day (16:05) stood against ours.
    """
    import msgspec

    from app.marks import stored_marks

    tell_switches(user)
    with _open() as reader:
        market = _market(reader, user, run)
        newest = _newest(reader, market)
        number = newest if day is None else day_number(day)
        marks = stored_marks(settings().home, market) if number == newest else {}
        found = reader.statement(user, market, number, marks)
        if csv_file is not None:
            _write(csv_file, _table(RECORD, records(found)))
        if html_file is not None:
            from app.statement_page import page

            _write(html_file, page(found))
        if as_json:
            typer.echo(msgspec.json.encode(found).decode())
            return
        if csv_file is None and html_file is None:
            _show(found)
            if run is None:
                tell_elsewhere(reader, user, market)
        for path in (csv_file, html_file):
            if path is not None:
                typer.echo(f"Statement of {user}, {found.day}, {market}: net {found.net} in {path}")


@guarded
def lots(
    user: Annotated[str, typer.Option("--user", help="Whose.")],
    year: Annotated[
        str, typer.Option("--year", metavar="YYYY-YY", help="Indian financial year of the sales: 2026-27.")
    ],
    run: Run = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write them there as CSV.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List what was sold in a financial year, lot by lot, first in first out, by tax class.

    Shares bought and sold on one day are speculative business, whatever the product; the rest is short or
    long term. Charges hold STT, which is no deduction from capital gains. For your accountant; not advice.
    """
    import msgspec

    from app.ledger_listing import LOTS

    since, until = _year(year)
    with _open() as reader:
        market = _market(reader, user, run)
        found, uncovered = reader.lots(user, market, since, until)
    if uncovered:
        said = f"{uncovered} shares sold were never bought in these books: they are not listed."
        typer.echo(f"trading: {said}", err=True)
    if csv_file is None:
        show_rows(found, as_json, LOTS, f"Lots sold in {year}, {user}, {market}, rupees")
        return
    rows = [msgspec.to_builtins(lot, builtin_types=(date,)) for lot in found]
    _write(csv_file, _table(LOT, rows))
    if as_json:
        typer.echo(msgspec.json.encode({"file": str(csv_file), "lots": len(found)}).decode())
    else:
        typer.echo(f"{len(found)} lots in {csv_file}")


LOT = ("symbol", "bought", "sold", "quantity", "cost", "proceeds", "profit", "charges", "tax_class")
"""Columns of lots as CSV."""


def records(found: Statement) -> Iterable[Mapping[str, Any]]:
    """Yield a statement as records: orders, fills, positions, how intents ended, charges by kind, sums."""
    for order in found.orders:
        yield {
            "record": "order", "at": order.placed_at.isoformat(), "order": order.order_id,
            "strategy": order.strategy_id, "symbol": order.symbol, "for": order.purpose, "side": order.side,
            "product": order.product, "quantity": order.quantity, "filled": order.filled,
            "price": order.average_price, "reference": order.reference, "slippage": order.slippage,
            "slippage_bps": order.slippage_bps, "charges": order.charges, "realised": order.realised,
            "state": order.state, "disposition": order.disposition, "reason": order.reason,
            "place": order.place or "", "of": order.of or "",
            "spread_ms": order.spread_ms,
        }  # fmt: skip
    for fill in found.fills:
        yield {
            "record": "fill", "at": fill.at.isoformat(), "order": fill.order_id, "strategy": fill.strategy_id,
            "symbol": fill.symbol, "side": fill.side, "product": fill.product, "quantity": fill.quantity,
            "price": fill.price, "charges": fill.charges, "realised": fill.realised,
        }  # fmt: skip
    for held in found.positions:
        yield {
            "record": "position", "strategy": held.strategy_id, "symbol": held.symbol,
            "product": held.product, "quantity": held.quantity, "price": held.average_price,
            "reference": held.mark, "amount": held.unrealised,
        }  # fmt: skip
    for ended in found.dispositions:
        yield {
            "record": "disposition", "quantity": ended.count, "disposition": ended.disposition,
            "reason": ended.reason,
        }  # fmt: skip
    for kind, amount in found.charges.items():
        yield {"record": f"charge {kind}", "amount": amount}
    yield {"record": "adjustment", "charges": found.adjustment}
    for name, sums in (("brought", found.brought), ("of_day", found.of_day), ("carried", found.carried)):
        yield {"record": name, "realised": sums.realised, "charges": sums.charges, "amount": sums.net}
    yield {"record": "unrealised", "amount": found.unrealised}
    yield {"record": "net", "amount": found.net}
    if found.final is not None:
        yield {
            "record": "final books", "at": found.final.at.isoformat(), "quantity": found.final.orders,
            "amount": found.final.cash, "state": "clean" if found.final.clean else "not clean",
            "reason": "; ".join(found.final.findings),
        }  # fmt: skip


def _show(found: Statement) -> None:
    from app.grid import print_grid
    from app.statement_listing import sections, title

    typer.echo(title(found))
    for section in sections(found):
        typer.echo()
        if section.rows:
            print_grid(section.title, section.columns, section.rows)
        else:
            typer.echo(f"{section.title}: {section.empty}")


def _open() -> closing[StatementReader]:
    from order.statement_reading import StatementReader

    chosen = settings()
    return closing(StatementReader(chosen.home, chosen.postgres_url))


def _market(reader: StatementReader, user: str, run: str | None) -> str:
    known_user(reader, user)
    known_run(reader, run)
    market = run or reader.latest_market()
    if market is None:
        raise ConfigurationError("There is no market yet.", remedy="`trading run` makes some.")
    return market


def _newest(reader: StatementReader, market: str) -> int:
    """Return the day whose prices are the latest ones."""
    from shared.clock import SystemClock, ist_day

    if market in _LATEST:
        return ist_day(SystemClock().now_us())
    found = reader.newest_day(market)
    if found is None:
        raise ConfigurationError(f"Nothing was ordered in {market} yet.", remedy="`trading run` does.")
    return found


def _year(text: str) -> tuple[date, date]:
    """Return first and last day of an Indian financial year."""
    match = re.fullmatch(r"(\d{4})-(\d{2})", text)
    if match is None or (int(match[1]) + 1) % 100 != int(match[2]) or not 1 <= int(match[1]) < date.max.year:
        raise ConfigurationError(
            f"{text!r} is no financial year.", remedy="Write April 2026 to March 2027 as 2026-27."
        )
    first = int(match[1])
    return date(first, _FIRST_MONTH, 1), date(first + 1, _FIRST_MONTH, 1) - timedelta(days=1)


def _table(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _write(path: Path, text: str) -> None:
    """Write what is nobody else's affair; the file may be there already."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8", newline="")
