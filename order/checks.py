"""What is looked at before an account takes entries, and what it comes to: green, yellow, red. Pure.

Green is as it should be; yellow is told, and entries are taken; red keeps an account from taking any. Exits
ask for none of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import msgspec

from order.fingerprint import Fingerprints, changes
from order.users import User, whole_paise
from shared.models import Product, rupees

SELF_FAMILY, BROKER_HOSTED = "self_family", "broker_hosted"
"""Deployment modes: one's own and one's family's accounts; clients of a provider, hosted at the broker."""

MOST_DAYS = 3
"""An instrument list older than so many days says nothing of today's ticks and freeze quantities."""

ARM = "arm"
"""What is typed to arm accounts of a rehearsal."""


class Light(StrEnum):
    """How one check came out."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        name: What.
        said: What was found.
        remedy: How to mend it; empty where nothing is to be mended.
    """

    name: str
    state: Light
    said: str
    remedy: str = ""


HOUSE = ("calendar", "instruments", "deployment")
"""Checks that are the same for all accounts."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an account shows.

    Attributes:
        trouble: Why its books cannot be read; empty where they were.
        needs_code: Only its owner can begin its session.
        local: Its broker is on this machine.
        address: Where its traffic is seen to come from; empty: it cannot be told, and `address_trouble` why.
        registered: The address that the broker takes orders from; empty: not known here.
        cash_paise: What the broker says is available; None: it has not been read.
        differences: Between the broker's books and ours, in words; empty where they agree.
        held: Our positions by product.
        working, foreign: Orders at work, and those of the day that are others'.
        doubts: Orders whose fate is not known, and why entries wait, in words.
    """

    trouble: str = ""
    needs_code: bool = False
    local: bool = False
    address: str = ""
    address_trouble: str = ""
    registered: str = ""
    cash_paise: int | None = None
    differences: Sequence[str] = ()
    held: Sequence[str] = ()
    working: int = 0
    foreign: int = 0
    doubts: Sequence[str] = ()


def account_checks(
    user: User, seen: Seen, now: Fingerprints | None = None, before: Fingerprints | None = None
) -> list[Check]:
    """Return what there is to say of *user*'s account.

    Args:
        user: Whose.
        seen: What the account shows.
        now: The strategies as they are; None: nobody has told.
        before: As they were when the account was last armed.
    """
    found = [_session(user, seen), _address(seen), _funds(user, seen), _books(seen), _orders(seen)]
    found.append(_delivery(user, seen))
    return found if now is None else [*found, *_strategies(user, now, before or {})]


def house_checks(
    mode: str, users: Sequence[User], today: date, list_day: str, *, known_year: bool, live: bool
) -> list[Check]:
    """Return what there is to say of all accounts together.

    Args:
        mode: `SELF_FAMILY` or `BROKER_HOSTED`.
        users: Who takes entries then.
        today: In India.
        list_day: Of the instrument list, YYYY-MM-DD; empty: not known.
        known_year: The calendar has the year's holidays.
        live: An account is at a real host; else what would keep one from entries is only told, but for the
            calendar: without its holidays no day's plan is right anywhere.
    """
    return [
        _calendar(today, known_year),
        _instruments(today, list_day, live),
        deployment(mode, users, live=live),
    ]


def deployment(mode: str, users: Sequence[User], *, live: bool) -> Check:
    """Return whether *mode* lets *users* be armed together; see `house_checks`."""
    if mode == BROKER_HOSTED:
        return _hosted(users, live)
    families = {user.family for user in users}
    if len(users) < 2 or (len(families) == 1 and families != {""}):
        whose = f"the family {users[0].family}" if len(users) > 1 else "one user"
        return Check("deployment", Light.GREEN, f"{SELF_FAMILY}: {whose}")
    who = ", ".join(f"{user.user_id} ({user.family or 'no family'})" for user in users[:5])
    more = f" and {len(users) - 5} more" if len(users) > 5 else ""
    return _would_refuse(
        "deployment",
        f"{SELF_FAMILY} is for one family, and these are not: {who}{more}",
        "Spouse, dependent children and parents: `trading users edit USER --family NAME`. Others are "
        f"clients of a provider (DEPLOYMENT_MODE={BROKER_HOSTED}).",
        live,
    )


def words_for(live: int) -> str:
    """Return what is typed to arm accounts, *live* of which are at real hosts."""
    return f"{ARM} {live} live {'account' if live == 1 else 'accounts'}" if live else ARM


# -- of the house --------------------------------------------------------------------------------------


def _would_refuse(name: str, said: str, remedy: str, live: bool) -> Check:
    """Return a finding that keeps live accounts from entries, and is told in a rehearsal."""
    if live:
        return Check(name, Light.RED, said, remedy)
    return Check(name, Light.YELLOW, f"{said}; live would refuse", remedy)


def _hosted(users: Sequence[User], live: bool) -> Check:
    lacking = [user.user_id for user in users if not user.algo_id]
    if not lacking:
        said = f"{BROKER_HOSTED}: algo ids are there; whether you are empanelled is not seen from here"
        return Check("deployment", Light.YELLOW, said, "It is for a program that runs at the broker's.")
    return _would_refuse(
        "deployment",
        f"{BROKER_HOSTED} needs a provider empanelled with the exchange and a registered algo id for each "
        f"user, and has none of {', '.join(lacking)}",
        "Register the algorithm, then `trading users edit USER --algo-id ID`.",
        live,
    )


def _calendar(today: date, known_year: bool) -> Check:
    if known_year:
        return Check("calendar", Light.GREEN, f"knows {today.year}")
    return Check(
        "calendar",
        Light.RED,
        f"NSE's holidays of {today.year} are not in it",
        "Update this project, or add the year's holidays to data/nse_calendar.json.",
    )


def _instruments(today: date, list_day: str, live: bool) -> Check:
    days = (today - date.fromisoformat(list_day)).days if list_day else MOST_DAYS + 1
    said = f"the list is {days} days old, of {list_day}" if list_day else "the list is of an unknown day"
    if not live or -1 <= days <= MOST_DAYS:
        return Check("instruments", Light.GREEN, said)
    return Check(
        "instruments",
        Light.RED,
        f"{said}; at most {MOST_DAYS}",
        "`trading instruments refresh`, then start the run anew.",
    )


# -- of an account -------------------------------------------------------------------------------------


def _session(user: User, seen: Seen) -> Check:
    if seen.needs_code:
        remedy = "`trading arm` at a terminal asks for it."
        return Check("session", Light.RED, "a one-time code is needed", remedy)
    if seen.trouble:
        remedy = f"`trading users credentials check {user.user_id}` looks at the login."
        return Check("session", Light.RED, seen.trouble, remedy)
    return Check("session", Light.GREEN, "logged in, the books are read")


def _address(seen: Seen) -> Check:
    if seen.local:  # traffic to this machine leaves by nobody's egress
        said = f"loopback, seen as {seen.address}" if seen.address else "loopback"
        return Check("address", Light.GREEN, said)
    if not seen.address:
        return Check("address", Light.RED, seen.address_trouble, "Set ADDRESS_CHECK_URL to another service.")
    if not seen.registered:
        remedy = "Say which one is: ANGEL_ONE_REGISTERED_ADDRESS, or `trading users credentials set`."
        return Check("address", Light.YELLOW, f"seen as {seen.address}; none is registered here", remedy)
    if seen.address == seen.registered:
        return Check("address", Light.GREEN, f"seen as {seen.address}, as registered")
    return Check(
        "address",
        Light.RED,
        f"seen as {seen.address}, registered is {seen.registered}",
        "The broker would refuse orders (AG7002): send from the registered address, or register this one.",
    )


def _funds(user: User, seen: Seen) -> Check:
    counted = rupees(whole_paise(user.limits.capital_inr))
    if seen.cash_paise is None:
        return Check("funds", Light.YELLOW, f"not read; the limits count on ₹{counted:,.2f}")
    there = rupees(seen.cash_paise)
    if there >= counted:
        return Check("funds", Light.GREEN, f"₹{there:,.2f} there, the limits count on ₹{counted:,.2f}")
    less = f", or `trading users limits {user.user_id} capital_inr={int(there)}`" if there >= 1 else ""
    said = f"₹{there:,.2f} there, the limits count on ₹{counted:,.2f}"
    return Check("funds", Light.YELLOW, said, f"Put money there{less}.")


def _books(seen: Seen) -> Check:
    if seen.trouble:
        return Check("books", Light.RED, "not compared")
    if seen.differences:
        remedy = "Look into the broker's own books; `trading orders review` lists what waits for you."
        return Check("books", Light.RED, "; ".join(seen.differences), remedy)
    held = f"{len(seen.held)} positions carried" if seen.held else "nothing is held"
    return Check("books", Light.GREEN, f"{held}, as the broker has it")


def _orders(seen: Seen) -> Check:
    said = [f"{seen.working} of ours at work"] if seen.working else []
    said += [f"{seen.foreign} of others today"] if seen.foreign else []
    said += seen.doubts
    state = Light.YELLOW if seen.foreign or seen.doubts else Light.GREEN
    return Check("orders", state, "; ".join(said) or "none at work, none of others")


def _delivery(user: User, seen: Seen) -> Check:
    terms = any(each.product is Product.DELIVERY for each in user.subscriptions.values())
    if not terms and Product.DELIVERY.value not in seen.held:
        return Check("delivery", Light.GREEN, "nothing of DELIVERY")
    return Check(
        "delivery",
        Light.YELLOW,
        "whether shares may be sold (DDPI, or eDIS of the day) is unknown: the broker does not tell",
        "Look in the broker's app; without DDPI authorise the day's sales there.",
    )


def _strategies(user: User, now: Fingerprints, before: Fingerprints) -> list[Check]:
    found = []
    wanted = [name for name, terms in sorted(user.subscriptions.items()) if not terms.leaving]
    for name in wanted:
        if name not in now:
            found.append(f"{name}: is not configured here")
        elif name in before:
            found += [f"{name}: {said}"] if (said := changes(before[name], now[name])) else []
        elif before:
            found.append(f"{name}: new since this account was last armed")
    if found:
        return [Check("strategy", Light.YELLOW, each) for each in found]
    how = "as last armed" if before else "armed for the first time"
    return [Check("strategy", Light.GREEN, f"{', '.join(wanted) or 'none'}, {how}")]
