"""`trading arm` and `trading disarm`: which accounts take entries, told to who keeps the books."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence

import msgspec

from app.arming_table import STATES, show_checks
from app.fingerprints import fingerprints
from app.grid import Cell, Column, print_grid
from app.one_time_code import ask
from order.account_state import AccountState
from order.checks import HOUSE, Light, words_for
from order.control import ControlClient
from order.fingerprint import Fingerprint
from order.place import Place
from order.user_door import LOGIN_TIMEOUT_S
from shared.errors import (
    ConfigurationError,
    LoginRefused,
    RefusedBySafety,
    TradingError,
    VenueUnavailable,
)
from shared.settings import Settings
from strategy.config import load_configs

TIMEOUT_S = 120.0


class NotArmed(TradingError):
    """At least one account stays closed for entries."""


def arm(users: Sequence[str], *, yes: bool, group: str | None = None, as_json: bool) -> None:
    """Look at accounts, let somebody confirm, arm those that no check keeps from it, and print them.

    Args:
        users: Whose; empty: all that are connected.
        yes: Do not ask; for rehearsals only.
        group: Whose process, where the books are on PostgreSQL.
        as_json: One object for each account.

    Raises:
        NotArmed: A check keeps an account from entries.
        ConfigurationError: Nothing runs, nobody said yes or typed a code.
        RefusedBySafety: Live accounts of users that must not be armed together, or not confirmed by typing.
    """
    settings = Settings.load()
    place = Place.of(settings, group)
    chosen = [each for each in _ask(place, "accounts", ()) if not users or each.user_id in users]
    chosen = [each for each in chosen if each.connected]
    live = sum(not each.local for each in chosen)
    if yes and live:
        raise RefusedBySafety(
            f"--yes is for rehearsals; live: {', '.join(each.user_id for each in chosen if not each.local)}.",
            remedy=f"Leave it out, look at the table, and type {words_for(live)!r}.",
        )
    strategies = fingerprints(load_configs(settings.strategies_file))
    for state in chosen:
        if state.needs_code:
            _log_in(place, state)
    words, apart = words_for(live), []
    if not yes:
        before = _ask(place, "look", users, strategies)
        if as_json:
            with contextlib.redirect_stdout(sys.stderr):
                show_checks(before)
        else:
            show_checks(before)
        # What is refused whatever is typed is told without it, by whoever keeps the books.
        if any(each.state is Light.RED and each.name in HOUSE for each in before[0].checks):
            words = ""  # nobody has typed them
        elif chosen:
            _confirm(live)
        # Those of the table and nobody else: the words tell how many, not who.
        users = [each.user_id for each in before if each.connected]
        apart = [each for each in before if not each.connected]
    states = [*(_ask(place, "arm", users, strategies, words) if yes or users else []), *apart]
    if as_json:
        _print(states)
    elif yes:
        show_checks(states)
    else:
        _show(states)
    closed = [state.user_id for state in states if state.connected and not state.armed]
    if closed or not chosen:
        raise NotArmed(
            f"Not armed: {', '.join(closed) or 'no account is connected'}.",
            remedy="See the checks; exits go on, entries are refused.",
        )


def disarm(users: Sequence[str], *, group: str | None = None, as_json: bool) -> None:
    """Close accounts for entries and print how they stand.

    Raises:
        ConfigurationError: Nothing runs, or nothing is connected.
    """
    _show(_ask(Place.of(Settings.load(), group), "disarm", users), as_json)


def accounts(*, group: str | None, as_json: bool) -> None:
    """Print how the accounts stand, what others do in them, and who trades at a broker without one.

    Raises:
        ConfigurationError: Nothing runs, or nothing is connected.
    """
    _show(_ask(Place.of(Settings.load(), group), "accounts", ()), as_json)


def _ask(
    place: Place,
    do: str,
    users: Sequence[str],
    strategies: dict[str, Fingerprint] | None = None,
    words: str = "",
) -> list[AccountState]:
    lock = place.lock()
    if lock.try_acquire():
        lock.release()
        raise ConfigurationError(
            f"Nobody keeps the books in {place.books}{place.whose}.",
            remedy="Start `trading run` with PAPER_TRADING=false first; accounts are armed for the day. Where"
            f" it runs already, its TRADING_HOME is another one than here, {place.home}.",
        )
    client = ControlClient(place.control)
    given = {"users": list(users), "strategies": msgspec.to_builtins(strategies), "words": words}
    states = msgspec.convert(asyncio.run(client.ask(do, given, TIMEOUT_S)), list[AccountState])
    if not states:
        raise ConfigurationError(
            "No account is connected: this run is on paper, or none of its users is at a broker.",
            remedy="Start it with PAPER_TRADING=false, with users of `--mode sandbox` or `--mode live`.",
        )
    return states


def _log_in(place: Place, state: AccountState) -> None:
    given = {"user_id": state.user_id, "code": ask(state.user_id, state.account)}
    try:
        asyncio.run(ControlClient(place.control).ask("log_in", given, LOGIN_TIMEOUT_S))
    except (LoginRefused, VenueUnavailable) as error:
        print(f"trading: {error}", file=sys.stderr)  # it stays OFF; the others are armed


def _confirm(live: int) -> None:
    """Let somebody type the words for so many *live* accounts.

    Raises:
        ConfigurationError: Nobody is there, or they typed something else.
        RefusedBySafety: The same, and accounts are live.
    """
    words = words_for(live)
    kind = RefusedBySafety if live else ConfigurationError
    if not sys.stdin.isatty():
        raise kind(
            "Nobody is there to confirm.", remedy=f"Type {words!r} at a terminal." if live else "Say --yes."
        )
    print(f"Type '{words}' to let these accounts take entries: ", end="", file=sys.stderr, flush=True)
    if " ".join(sys.stdin.readline().split()) != words:
        raise kind("Not confirmed; nothing has changed.")


def _show(states: Sequence[AccountState], as_json: bool = False) -> None:
    if as_json:
        _print(states)
        return
    columns = [
        Column[AccountState]("user", lambda row: row.user_id),
        Column[AccountState]("account", lambda row: row.account),
        Column[AccountState]("state", lambda row: Cell(row.state, STATES.get(row.state, "red"))),
        Column[AccountState]("working", lambda row: f"{row.working}", right=True),
        Column[AccountState]("foreign", lambda row: f"{row.foreign}", right=True),
    ]
    print_grid("Accounts", columns, states)
    for state in states:  # below, where they are neither folded nor cut
        unread = [] if state.ready or state.notes else ["the books have not been read"]
        for note in (*state.notes, *unread, *state.others):
            print(f"{state.user_id}: {note}")


def _print(states: Sequence[AccountState]) -> None:
    for state in states:
        print(msgspec.json.encode(state).decode())
