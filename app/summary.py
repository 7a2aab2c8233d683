"""The summary at the end of a run: signals, dispositions, orders, fills, profit per user, proof."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.verify import verify_home
from order.reading import Reader
from shared.quotes import QuoteBoard


class Summary:
    """Compares the store at the end with the store at the beginning of a run."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._run = ""
        self._before: dict[str, int] = {}

    def begin(self, run: str) -> None:
        """Note what the market *run* had before."""
        self._run = run
        with closing(Reader(self._home)) as reader:
            self._before = reader.counts(run)

    def show(self, as_json: bool, board: QuoteBoard) -> None:
        """Print the summary; as one JSON object where asked."""
        found = self._gather(board)
        if as_json:
            print(json.dumps(found, default=str))
        else:
            _print(found)

    def _gather(self, board: QuoteBoard) -> dict[str, Any]:
        marks = {s: q.price_paise for s in board.symbols() if (q := board.latest(s)) is not None}
        with closing(Reader(self._home)) as reader:
            counts = reader.counts(self._run)
            users: dict[str, dict[str, Any]] = {
                user.user_id: {"open": 0, "realised": Decimal(0), "charges": Decimal(0), "unrealised": Decimal(0)}
                for user in reader.users()
            }
            for row in reader.positions(run=self._run, marks=marks):
                user = users[row.user_id]
                user["open"] += bool(row.quantity)
                user["realised"] += row.realised
                user["charges"] += row.charges
                user["unrealised"] += row.unrealised or 0
            for user in users.values():
                user["net"] = user["realised"] + user["unrealised"] - user["charges"]
            dispositions = reader.dispositions(self._run)
        audit = verify_home(self._home).as_dict()
        return {
            "run": self._run,
            **{name: counts[name] - self._before.get(name, 0) for name in counts},
            **{f"total_{name}": count for name, count in counts.items()},
            "dispositions": dispositions,
            "users": users,
            **{name: audit[name] for name in ("pending", "lost", "duplicate", "unexplained")},
        }


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from app.listing import money

    console = Console()
    console.print()
    console.print(
        f"[bold]{found['run']}[/bold]: {found['signals']} new signals, {found['orders']} orders, {found['fills']} fills"
        f"  [dim](all of this market: {found['total_signals']}, {found['total_orders']}, {found['total_fills']})[/dim]",
        highlight=False,
    )
    ended = ", ".join(f"{name.lower().replace('_', ' ')} {count}" for name, count in found["dispositions"].items())
    console.print(f"how signals ended for users: {ended or 'none yet'}", highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("user", "open", "realised", "unrealised", "charges", "net ₹"):
        table.add_column(column, justify="left" if column == "user" else "right")
    for user_id, user in found["users"].items():
        table.add_row(
            user_id,
            str(user["open"]),
            money(user["realised"]),
            money(user["unrealised"]),
            money(user["charges"]),
            money(user["net"]),
        )
    console.print(table)
    bad = found["lost"] or found["duplicate"] or found["unexplained"]
    colour = "bold red" if bad else "green"
    console.print(
        f"[{colour}]pending {found['pending']}, lost {found['lost']}, duplicate {found['duplicate']},"
        f" unexplained {found['unexplained']}[/{colour}]",
        highlight=False,
    )
