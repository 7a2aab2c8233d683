"""How an account at a broker stands, for those who ask and those who answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from order.checks import Check, Light

if TYPE_CHECKING:
    from broker.base import RemoteVenue
    from order.bookkeeper import Bookkeeper
    from order.users import User


@dataclass(frozen=True, slots=True)
class AccountState:
    """How one account stands.

    Attributes:
        account: Masked.
        armed: It takes entries.
        ready: The books were read and agree, at the time of asking.
        notes: What is wrong, in words; empty where all is well.
        working: Orders that are not done.
        foreign: Orders in the broker's book that are not ours.
        state: ARMED; EXIT_ONLY: compared and clean, with something open; OFF: everything else, also where its
            session is over and nobody but its owner can begin the next.
        others: What others hold and did in this account, one line each.
        compared_us: Wall time of the last comparison with the broker's account; 0 before it.
        cash_paise: What the broker says is available.
        needs_code: Only its owner can begin its session.
        local: Its broker is on this machine: nothing that it does is for real.
        checks: What was looked at for arming; empty where it was not.
        connected: False for a user who trades at a broker and has no account connected.
        stranded: What is held there and cannot be sold as it stands, in words.
    """

    user_id: str
    account: str
    armed: bool
    ready: bool
    working: int = 0
    foreign: int = 0
    notes: list[str] = field(default_factory=list)
    state: str = "OFF"
    others: list[str] = field(default_factory=list)
    compared_us: int = 0
    cash_paise: int = 0
    needs_code: bool = False
    local: bool = False
    checks: list[Check] = field(default_factory=list)
    connected: bool = True
    stranded: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Seat:
    """What an account's keeper knows of it.

    Attributes:
        trouble: Why its books cannot be read; empty where they can.
        waits: Why its entries wait, in words.
        working: Orders that are not done.
        cash_paise: What the broker says is available.
    """

    user_id: str
    user_no: int
    venue: RemoteVenue
    trouble: str
    waits: Sequence[str]
    working: int
    cash_paise: int


def stands(
    seat: Seat, books: Bookkeeper, *, ready: bool, notes: Sequence[str] = (), checks: Sequence[Check] = ()
) -> AccountState:
    """Return how a connected account stands.

    Args:
        seat: What is known of it.
        books: Ours.
        ready: Its books were read and agree.
        notes: What does not.
        checks: What was looked at for arming.
    """
    user_no, venue, desk = seat.user_no, seat.venue, books.desk
    line, armed, locked = desk.line(user_no), books.armed.get(user_no, False), venue.needs_code
    found = [f"OFF until its owner logs in: {log_in_words(seat.user_id)}"] if locked else []
    found += [*notes, *([seat.trouble] if seat.trouble and seat.trouble not in notes else [])]
    lost = stranded(books, user_no) if seat.trouble or locked else []
    found += lost
    found += seat.waits
    found += [f"two orders carry the tag {tag}" for tag in sorted(line.doubled)]
    found += [f"order {order.tag} is {order.state}: {order.rule}" for order in desk.doubts(user_no)]
    found += desk.stuck(user_no)
    found += desk.latched(user_no)
    last = line.reconciled
    if last is not None:
        found += [note for note in last.notes if note not in found]
    safe = last is not None and last.clean and books.engaged(user_no)
    how = "OFF" if locked else "ARMED" if armed else "EXIT_ONLY" if safe else "OFF"
    return AccountState(
        seat.user_id, venue.account, armed, ready, seat.working, line.foreign, found, how,
        [] if last is None else last.others, 0 if last is None else last.at_us, seat.cash_paise,
        locked, venue.local, list(checks), stranded=lost,
    )  # fmt: skip


def without_account(user: User, books: Bookkeeper, why: str = "") -> AccountState:
    """Return how *user* stands, who trades at a broker and has no account connected.

    Args:
        user: Who.
        books: Ours.
        why: There is none; empty: nothing is kept to log in with.
    """
    user_id, remedy = user.user_id, f"`trading users credentials set {user.user_id}`"
    said = f"no account at {user.broker} is connected: {why or 'no credentials are kept'}"
    holds = stranded(books, user.user_no)
    notes = [f"{said} → {remedy}", *holds, *books.desk.latched(user.user_no)]
    check = Check("session", Light.RED, "; ".join([said, *holds]), f"{remedy}.")
    return AccountState(
        user_id, "none", False, False, notes=notes, checks=[check], connected=False, stranded=holds
    )


def stranded(books: Bookkeeper, user_no: int) -> list[str]:
    """Return what a user holds that nobody can sell while their account has no session; on any thread."""
    held = [f"{symbol} {shares}" for (symbol, _), shares in sorted(books.held(user_no).items())]
    return [f"holds {', '.join(held)} and nobody can sell it until then"] if held else []


def log_in_words(user_id: str) -> str:
    """Return the command that begins the session of an account whose one-time code is typed."""
    return f"`trading arm --user {user_id}` asks for the one-time code"
