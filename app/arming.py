"""`trading arm` and `trading disarm`: which accounts take entries, told to who keeps the books."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from app.one_time_code import ask
from order.account_state import AccountState
from order.control import ControlClient
from order.place import Place
from order.user_door import LOGIN_TIMEOUT_S
from shared.errors import ConfigurationError, LoginRefused, TradingError, VenueUnavailable
from shared.settings import Settings

TIMEOUT_S = 120.0
WORD = "arm"
STYLES = {"ARMED": "green", "EXIT_ONLY": "yellow", "OFF": "dim"}


class NotArmed(TradingError):
    """At least one account stays closed for entries."""


def arm(users: Sequence[str], *, yes: bool, group: str | None = None, as_json: bool) -> None:
    """Arm accounts after a look at them, and print how they stand.

    Args:
        users: Whose; empty: all that are connected.
        yes: Do not ask.
        group: Whose process, where the books are on PostgreSQL.
        as_json: One object for each account.

    Raises:
        NotArmed: The books of an account do not agree with the broker's, or cannot be read.
        ConfigurationError: Nothing runs, nothing is connected, nobody said yes or typed a code.
    """
    place = Place.of(Settings.load(), group)
    before = _ask(place, "accounts", ())
    for state in before:
        if state.needs_code and (not users or state.user_id in users):
            _log_in(place, state)
    if not yes:
        _show(before, as_json)
        _confirm()
    states = _ask(place, "arm", users)
    _show(states, as_json)
    closed = [state.user_id for state in states if not state.armed]
    if closed:
        raise NotArmed(
            f"Not armed: {', '.join(closed)}.", remedy="See the notes; exits go on, entries are refused."
        )


def disarm(users: Sequence[str], *, group: str | None = None, as_json: bool) -> None:
    """Close accounts for entries and print how they stand.

    Raises:
        ConfigurationError: Nothing runs, or nothing is connected.
    """
    _show(_ask(Place.of(Settings.load(), group), "disarm", users), as_json)


def accounts(*, group: str | None, as_json: bool) -> None:
    """Print how the connected accounts stand, and what others do in them.

    Raises:
        ConfigurationError: Nothing runs, or nothing is connected.
    """
    _show(_ask(Place.of(Settings.load(), group), "accounts", ()), as_json)


def _ask(place: Place, do: str, users: Sequence[str]) -> list[AccountState]:
    lock = place.lock()
    if lock.try_acquire():
        lock.release()
        whose = "" if place.group is None else f" for the group {place.group!r}"
        why = "they are connected until it ends" if do == "accounts" else "arming lasts for the day"
        raise ConfigurationError(
            f"Nobody keeps the books of {place.home}{whose}.",
            remedy=f"Start `trading run` with PAPER_TRADING=false first; {why}.",
        )
    client = ControlClient(place.control)
    answer = asyncio.run(client.ask(do, {"users": list(users)}, TIMEOUT_S))
    states = msgspec.convert(answer, list[AccountState])
    if not states:
        raise ConfigurationError(
            "No account is connected: this run is on paper.",
            remedy="Start it with PAPER_TRADING=false to trade on a sandbox.",
        )
    return states


def _log_in(place: Place, state: AccountState) -> None:
    given = {"user_id": state.user_id, "code": ask(state.user_id, state.account)}
    try:
        asyncio.run(ControlClient(place.control).ask("log_in", given, LOGIN_TIMEOUT_S))
    except (LoginRefused, VenueUnavailable) as error:
        print(f"trading: {error}", file=sys.stderr)  # it stays OFF; the others are armed


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("Nobody is there to confirm.", remedy="Say --yes.")
    Console().print(f"Type '{WORD}' to let these accounts take entries: ", end="")
    if sys.stdin.readline().strip() != WORD:
        raise ConfigurationError("Not confirmed; nothing has changed.")


def _show(states: Sequence[AccountState], as_json: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        for state in states:
            console.out(msgspec.json.encode(state).decode(), highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("user", "account", "state", "working", "foreign", "notes"):
        table.add_column(name, justify="right" if name in ("working", "foreign") else "left")
    for state in states:
        word = f"[{STYLES.get(state.state, 'red')}]{state.state}[/]"
        notes = "; ".join([*state.notes, *state.others])
        notes = notes or ("" if state.ready else "the books have not been read")
        row = (state.user_id, state.account, word, str(state.working), str(state.foreign), notes)
        table.add_row(*row)
    console.print(table)
