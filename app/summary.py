"""The summary at the end of a run: signals, dispositions, orders, fills, profit per user, proof."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.grid import Column, print_grid
from app.listing import money, profit
from app.verify import verify_home
from order.ledger import Ledger
from order.reading import Reader
from shared.quotes import QuoteBoard

PROOF = ("pending", "lost", "duplicate", "unexplained")
FATES = ("unknown", "review", "over_exit", "settled", "certainty_p50_s", "certainty_max_s")


@dataclass(slots=True)
class Account:
    """What one user has after the run, rupees."""

    user_id: str
    open: int = 0
    realised: Decimal = Decimal(0)
    unrealised: Decimal = Decimal(0)
    charges: Decimal = Decimal(0)

    @property
    def net(self) -> Decimal:
        """Profit after charges, open positions at their latest price."""
        return self.realised + self.unrealised - self.charges

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by their public names."""
        return {
            "open": self.open,
            "realised": self.realised,
            "charges": self.charges,
            "unrealised": self.unrealised,
            "net": self.net,
        }


def accounts(reader: Reader, run: str, marks: Mapping[str, int]) -> list[Account]:
    """Return each user's account in the market *run*.

    Args:
        reader: Open order store.
        run: Market.
        marks: Latest prices, paise by symbol.
    """
    found = {user.user_id: Account(user.user_id) for user in reader.users()}
    for row in reader.positions(run=run, marks=dict(marks)):
        account = found[row.user_id]
        account.open += bool(row.quantity)
        account.realised += row.realised
        account.charges += row.charges
        account.unrealised += row.unrealised or 0
    return list(found.values())


def marks_of(board: QuoteBoard) -> dict[str, int]:
    """Return the latest price of each symbol on *board*, paise."""
    return {symbol: quote.price_paise for symbol in board.symbols() if (quote := board.latest(symbol))}


class Summary:
    """Compares the store at the end with the store at the beginning of a run."""

    def __init__(self, home: Path, url: str | None = None) -> None:
        self._home = home
        self._url = url
        self._run = ""
        self._before: dict[str, int] = {}

    def begin(self, run: str) -> None:
        """Note what the market *run* had before."""
        self._run = run
        with closing(Reader(self._home, self._url)) as reader:
            self._before = reader.counts(run)

    def show(
        self, as_json: bool, board: QuoteBoard, defects: Mapping[str, int] | None = None, rows: int = 0
    ) -> None:
        """Print the summary; as one JSON object where asked.

        Args:
            as_json: One line of JSON.
            board: Latest prices.
            defects: How often each rule struck on recorded data; None for a market that is not recorded.
            rows: Data rows that were read.
        """
        found = self._gather(board)
        if defects is not None:
            found |= {"data_rows": rows, "defects": dict(sorted(defects.items()))}
        if as_json:
            print(json.dumps(found, default=str))
        else:
            _print(found)

    def _gather(self, board: QuoteBoard) -> dict[str, Any]:
        with closing(Ledger(self._home, self._url)) as reader:
            note = reader.charges_note(self._run)
            counts = reader.counts(self._run)
            users = {each.user_id: each for each in accounts(reader, self._run, marks_of(board))}
            dispositions = reader.dispositions(self._run)
        audit = verify_home(self._home, self._url).as_dict()
        return {
            "run": self._run,
            **{name: counts[name] - self._before.get(name, 0) for name in counts},
            **{f"total_{name}": count for name, count in counts.items()},
            "dispositions": dispositions,
            "charges_note": note,
            "users": {user_id: each.as_dict() for user_id, each in users.items()},
            **{name: audit[name] for name in (*PROOF, *FATES)},
        }


def _print(found: dict[str, Any]) -> None:
    print(
        f"\n{found['run']}: {found['signals']} new signals, {found['orders']} orders, {found['fills']} fills"
    )
    if found["signals"] != found["total_signals"]:
        totals = (found["total_signals"], found["total_orders"], found["total_fills"])
        print("in all runs of this market: {} signals, {} orders, {} fills".format(*totals))
    ended = ", ".join(f"{n.lower().replace('_', ' ')} {count}" for n, count in found["dispositions"].items())
    _say(f"how signals ended for users: {ended or 'none yet'}")
    if "defects" in found:
        counted = ", ".join(f"{n.replace('_', ' ')} {count:,}" for n, count in found["defects"].items())
        _say(f"data rows {found['data_rows']:,}; rejected or repaired: {counted or 'none'}")
    columns: list[Column[tuple[str, dict[str, Any]]]] = [
        Column("user", lambda row: row[0]),
        Column("open", lambda row: f"{row[1]['open']}", right=True),
        Column("realised", lambda row: profit(row[1]["realised"]), right=True, rank=2),
        Column("unrealised", lambda row: profit(row[1]["unrealised"]), right=True, rank=3),
        Column("charges", lambda row: money(row[1]["charges"]), right=True, rank=1),
        Column("net", lambda row: profit(row[1]["net"]), right=True),
    ]
    note = f", {found['charges_note']}: no older rates are known" if found["charges_note"] else ""
    print_grid(f"Profit in rupees{note}", columns, list(found["users"].items()))
    if any(found[name] for name in FATES):
        took = ""
        if found["settled"]:
            took = f" (half within {found['certainty_p50_s']:g} s, all within {found['certainty_max_s']:g} s)"
        open_now = f"{found['unknown']} not yet, {found['review']} wait for a human"
        _say(f"lost answers: {found['settled']} settled{took}, {open_now}; over_exit {found['over_exit']}")
    proof = ", ".join(f"{name} {found[name]}" for name in PROOF)
    bad = any(found[name] for name in PROOF[1:])
    if sys.stdout.isatty():
        proof = f"\033[{'1;31' if bad else '32'}m{proof}\033[0m"
    print(proof)


def _say(line: str) -> None:
    """Print a line, broken between words where it is too long for a terminal."""
    if sys.stdout.isatty():
        line = textwrap.fill(line, shutil.get_terminal_size().columns, subsequent_indent="  ")
    print(line)
