"""`trading instruments`: the broker's daily list, fetched, looked at, and put in place of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from broker.registry import instrument_list
from shared.calendar import day_of
from shared.clock import SystemClock
from shared.errors import ConfigurationError, DataError
from shared.instrument_master import Difference, Master, MasterRow, compare, load, merged, problems, save
from shared.instruments import DEFAULT_PATH, Instrument, Instruments
from shared.settings import Settings

BROKER = "angel_one"
LISTED = 10
MOST_PROBLEMS = 20
FOUND_MOST = 25
ABOUT = (
    "NSE instruments by symbol, renewed by `trading instruments refresh`. token: Angel One instrument token, "
    "empty where not known. closing_auction applies from 2026-08-03."
)


def refresh(source: str, table: Path | None, *, accept: bool, as_json: bool) -> None:
    """Fetch the list, hold it against the last one, keep it, and renew the table of instruments.

    Args:
        source: Path or URL; empty: the broker's own.
        table: To be renewed; None: the project's.
        accept: Take it in spite of alarms.
        as_json: One object.

    Raises:
        DataError: It is no such list, cut off, senseless, or odd and not accepted; nothing has changed.
        VenueUnavailable: Nobody answers.
    """
    home, path = Settings.load().home, table or DEFAULT_PATH
    rows, unread, origin = asyncio.run(instrument_list(BROKER, source))
    wrong = [*unread, *problems(rows)]
    if len(wrong) > MOST_PROBLEMS:
        raise DataError(
            f"{len(wrong):,} rows of the list make no sense, the first: {wrong[0]}.",
            remedy="Fetch it again later; nothing has changed.",
        )
    known = Instruments.load(path)
    before = load(home)
    found = compare(before.rows if before else _as_rows(known), rows)
    if before is None:
        found.new = []  # the table holds a few; all others are no news
    if found.alarms and not accept:
        raise DataError(
            "\n  ".join(["The list looks odd:", *found.alarms]),
            remedy="Look at it; `--accept` takes it all the same. Nothing has changed.",
        )
    master = Master(_today().isoformat(), origin, rows)
    save(home, master)
    table_rows = merged(known, master)
    Instruments.save(path, table_rows, ABOUT, master.as_of)
    _say_refreshed(master, found, wrong, len(table_rows), path, as_json)


def find(text: str, *, as_json: bool) -> None:
    """Print the instruments whose name holds *text*.

    Raises:
        ConfigurationError: There is none.
    """
    wanted = text.strip().upper()
    matching = [
        each
        for each in Instruments.load()
        if wanted in each.symbol.upper() or wanted in each.trading_symbol.upper()
    ]
    if not matching:
        raise ConfigurationError(
            f"No instrument's name holds {text!r}.", remedy="Try a shorter part of it."
        )
    # What begins with the text comes first, the shortest name before all others.
    matching.sort(key=lambda each: (not each.symbol.startswith(wanted), len(each.symbol), each.symbol))
    _print(matching[:FOUND_MOST], as_json)
    if len(matching) > FOUND_MOST and not as_json:
        Console().print(f"… and {len(matching) - FOUND_MOST} more")


def show(symbol: str, *, as_json: bool) -> None:
    """Print all that is known of one instrument.

    Raises:
        ConfigurationError: There is no such instrument.
    """
    table = Instruments.load()
    instrument = table.find(symbol)
    if instrument is None:
        raise table.unknown(symbol)
    if as_json:
        _print([instrument], as_json)
        return
    console = Console(highlight=False)
    for name in Instrument.__slots__:
        value = getattr(instrument, name)
        console.print(f"{name:<18}{_shown(name, value)}")
    console.print(f"{'table of':<18}{table.as_of or 'not told'}")


def _as_rows(known: Instruments) -> list[MasterRow]:
    """Return the table as a list, to hold the first one fetched against."""
    return [
        MasterRow(
            each.symbol, each.trading_symbol, each.token, each.series if each.tradable else "INDEX",
            each.tick_paise, each.lot, each.freeze_quantity or 0, each.closing_auction, each.derivatives,
        )
        for each in known
        if each.token
    ]  # fmt: skip


def _today() -> date:
    return day_of(SystemClock().now_us())


def _say_refreshed(
    master: Master, found: Difference, wrong: Sequence[str], count: int, path: Path, as_json: bool
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        told = {
            "as_of": master.as_of, "source": master.source, "listed": len(master.rows), "table": count,
            "new": found.new, "gone": found.gone, "changed": found.changed, "alarms": found.alarms,
            "unread": list(wrong),
        }  # fmt: skip
        console.out(msgspec.json.encode(told).decode(), highlight=False)
        return
    console.print(f"{len(master.rows):,} instruments from {master.source}; {path} has {count:,}")
    for name, lines in (
        ("new", found.new), ("gone", found.gone), ("changed", found.changed), ("accepted", found.alarms),
        ("not understood", wrong),
    ):  # fmt: skip
        if lines:
            more = f", … and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
            console.print(f"{name}: {'; '.join(lines[:LISTED])}{more}")


def _print(found: Sequence[Instrument], as_json: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        for each in found:
            console.out(msgspec.json.encode(each).decode(), highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("symbol", "series", "token", "tick ₹", "lot", "freeze", "auction", "kind"):
        table.add_column(name, justify="right" if name in ("tick ₹", "lot", "freeze") else "left")
    for each in found:
        freeze = f"{each.freeze_quantity:,}" if each.freeze_quantity else ""
        auction = "yes" if each.closing_auction else ""
        row = (each.symbol, each.series, each.token, f"{each.tick_paise / 100:.2f}", str(each.lot))
        table.add_row(*row, freeze, auction, each.kind)
    console.print(table)


def _shown(name: str, value: object) -> str:
    if name == "tick_paise" and isinstance(value, int):
        return f"{value} ({value / 100:.2f} rupees)"
    if value is None or value == "":
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
