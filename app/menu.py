"""The order in which `trading --help` lists commands: what runs, who trades, what happened, the proofs."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

ORDER = (
    "run", "engine", "subscriber", "sandbox",
    "arm", "disarm", "accounts", "halt", "kill", "flatten", "resume", "protect",
    "signals", "orders", "fills", "positions", "profit", "holdings", "charges", "statement", "lots",
    "users", "strategies", "instruments",
    "verify", "journal", "audit", "replay-day", "doctor", "bench", "prove",
)  # fmt: skip
WIDTH = 110
"""Columns that help takes where the terminal has them."""


class Menu(TyperGroup):
    """See above; what has no place comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        places = {name: place for place, name in enumerate(ORDER)}
        return sorted(super().list_commands(ctx), key=lambda name: (places.get(name, len(ORDER)), name))
