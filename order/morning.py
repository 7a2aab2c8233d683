"""The look at an account before it takes entries: its broker is asked, `order.checks` judges."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from order.bookkeeper import Bookkeeper
from order.checks import SELF_FAMILY, Check, Seen, account_checks, house_checks
from order.fingerprint import Fingerprints
from order.lane import Lane
from order.users import User
from shared.calendar import day_of
from shared.errors import VenueUnavailable


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator has chosen.

    Attributes:
        deployment_mode: See `order.checks`.
        address_check_url: Answers with the address that it sees.
    """

    deployment_mode: str = SELF_FAMILY
    address_check_url: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """How an account was found.

    Attributes:
        ready: Its books were read and agree.
        notes: What does not.
    """

    ready: bool
    notes: Sequence[str]
    checks: list[Check]


async def look(lane: Lane, books: Bookkeeper, rules: Rules, prints: Fingerprints | None) -> Look:
    """Ask the account of *lane* whatever it tells, compare it, and judge."""
    (ready, notes), (address, trouble) = await asyncio.gather(
        lane.check(), _address(lane, rules.address_check_url)
    )
    line = books.desk.line(lane.user_no)
    state = lane.state(ready=ready)
    differences = [*notes, *(f"two orders carry the tag {tag}" for tag in sorted(line.doubled))]
    if not ready and not differences:
        differences = ["the broker's books are not ours"]
    read = ready or not lane.trouble
    seen = Seen(
        trouble="" if read else lane.trouble,
        needs_code=lane.venue.needs_code,
        local=lane.venue.local,
        address=address,
        address_trouble=trouble,
        registered=lane.venue.registered_address,
        cash_paise=line.reconciled.cash_paise if read and line.reconciled is not None else None,
        differences=differences if read else (),
        held=[product for _, product in books.held(lane.user_no)],
        working=state.working,
        foreign=state.foreign,
        doubts=[note for note in state.notes if note not in differences],
    )
    user = books.desk.users[lane.user_no]
    return Look(ready and not line.doubled, notes, account_checks(user, seen, prints, line.armed_with))


async def _address(lane: Lane, url: str) -> tuple[str, str]:
    """Return the address that the account is seen at, or nothing and why nobody tells."""
    try:
        return await lane.venue.seen_address(url), ""
    except VenueUnavailable as error:
        return "", error.what


def look_at_house(books: Bookkeeper, rules: Rules, users: Sequence[User], *, live: bool) -> list[Check]:
    """Return what there is to say of all accounts together, *users* armed."""
    today = day_of(books.clock.now_us())
    desk = books.desk
    return house_checks(
        rules.deployment_mode,
        users,
        today,
        desk.instruments.as_of,
        known_year=desk.calendar.known(today.year),
        live=live,
    )
