from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.grid import lay_out
from app.ledger_listing import CHARGES, NET, PROFITS
from app.listing import Listing
from order.ledger import Ledger

Trading = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("width", [80, 120])
def test_listings_fit_the_terminal(traded: Path, width: int) -> None:
    with closing(Ledger(traded)) as ledger:
        found: tuple[tuple[Listing[Any], list[Any]], ...] = (
            (NET, list(ledger.net_positions(marks={"RELIANCE": 200_000}))),
            (PROFITS, list(ledger.profits())),
            (CHARGES, list(ledger.day_charges(50))),
        )
    for listing, rows in found:
        assert rows
        lines = lay_out(listing.columns(rows), rows, width).plain()
        assert len(lines) == len(rows) + 1
        assert max(map(len, lines)) <= width, listing.title


def test_commands_tell_the_same_profit(traded: Path, trading: Trading) -> None:
    summary = json.loads((traded / "summary.json").read_text())
    profit = [json.loads(line) for line in trading("profit", "--json", home=traded).stdout.splitlines()]
    assert {row["user_id"]: row["net"] for row in profit} == {
        user: each["net"] for user, each in summary["users"].items()
    }
    lines = trading("positions", "--net", "--json", home=traded).stdout.splitlines()
    nets = [json.loads(line) for line in lines]
    assert {row["user_id"] for row in nets} == set(summary["users"])
    assert summary["charges_note"] == "at 2026 charges"


def test_charges_say_at_which_rates(traded: Path, trading: Trading) -> None:
    shown = trading("charges", home=traded)
    assert shown.returncode == 0, shown.stderr
    assert "at 2026 charges" in shown.stdout
