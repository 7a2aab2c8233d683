"""How `trading arm` shows accounts: a table of lights, then in words what is not green, and its remedy."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from rich.console import Console

from app.grid import GAP, Cell, Column, print_grid, styled
from order.account_state import AccountState
from order.checks import HOUSE, Check, Light

COLUMNS = ("session", "address", "funds", "books", "orders", "delivery", "strategy")
STATES = {"ARMED": "green", "EXIT_ONLY": "yellow", "OFF": "dim"}
LIGHTS = {
    Light.GREEN: Cell("ok", "green"),
    Light.YELLOW: Cell("told", "yellow"),
    Light.RED: Cell("NO", "bold red"),
}
MARK = 4
"""Cells of a light's word."""

MOST_NAMES = 4
"""So many users are named who share a finding; of more, their number is told."""


def show_checks(states: Sequence[AccountState]) -> None:
    """Print accounts with their lights, the checks of the house, and every finding that is not green."""
    print_grid("Accounts", columns(), states)
    width = max(map(len, (*COLUMNS, *HOUSE)))
    for check, users in findings(states):
        if check.state is Light.GREEN and check.name not in HOUSE:
            continue
        mark = LIGHTS[check.state]
        who = "" if check.name in HOUSE else f"{_named(users)}: "
        lines = [Cell(line) for line in _wrapped(f"{who}{check.said}", width)]
        lines += [Cell(line, "dim") for line in _wrapped(f"→ {check.remedy}", width) if check.remedy]
        for number, line in enumerate(lines):
            head = (mark.text, check.name) if not number else ("", "")
            _line(Cell(f"{head[0]:<{MARK}}", mark.style), Cell(f"{head[1]:<{width}}"), line)


def columns() -> list[Column[AccountState]]:
    """Return the table's columns; the lights that say least go first where there is no room."""
    return [
        Column("user", lambda row: row.user_id),
        Column("account", lambda row: row.account, rank=len(COLUMNS) + 1),
        Column("state", lambda row: Cell(row.state, STATES.get(row.state, "red"))),
        *(_column(name, rank) for rank, name in enumerate(COLUMNS, start=1)),
    ]


def findings(states: Sequence[AccountState]) -> list[tuple[Check, list[str]]]:
    """Return what was found, those of the house first, each once with the users of whom it was found."""
    found: dict[Check, list[str]] = {}
    for state in states:
        for check in state.checks:
            found.setdefault(check, []).append(state.user_id)
    return sorted(found.items(), key=lambda each: each[0].name not in HOUSE)


def _column(name: str, rank: int) -> Column[AccountState]:
    return Column(name, lambda row: _light(row, name), rank=rank)


def _light(row: AccountState, name: str) -> Cell:
    """Return the worst light of a name: a strategy each may have one."""
    lights = [check.state for check in row.checks if check.name == name]
    return LIGHTS[max(lights, key=list(Light).index)] if lights else Cell("–", "dim")


def _named(users: Sequence[str]) -> str:
    more = len(users) - MOST_NAMES
    return ", ".join(users[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _wrapped(text: str, width: int) -> list[str]:
    """Return *text* in lines that fit beside a light and a name of *width* cells; one line in a pipe."""
    if not sys.stdout.isatty():
        return [text]
    room = shutil.get_terminal_size().columns - MARK - width - 2 * len(GAP)
    return textwrap.wrap(text, max(room, 30), break_long_words=False)


def _line(*cells: Cell) -> None:
    if sys.stdout.isatty():
        Console(highlight=False).print(styled(cells), soft_wrap=True)
    else:
        print(GAP.join(cell.text for cell in cells).rstrip())
