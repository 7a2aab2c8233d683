"""Users, what they subscribe to, how their orders are sized, and their limits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from shared.errors import ConfigurationError
from shared.ids import order_tag
from shared.models import Product, paise, rupees

T = TypeVar("T")

LAKH_INR = Decimal(100_000)
HIGHEST = 1_000_000_000_000
"""No limit, size or sum of money is above it, so that all of them fit a store's integers."""

MOST_TIMES = 1_000

_ALGO_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class SizingMethod(StrEnum):
    """How a quantity comes from a signal; confidence never sizes."""

    FIXED_QUANTITY = "fixed_quantity"
    """*value* shares."""
    FIXED_VALUE = "fixed_value"
    """Shares for *value* rupees at the reference price, rounded down."""
    PERCENT_OF_ALLOCATION = "percent_of_allocation"
    """Shares for *value* percent of the strategy's allocation, rounded down."""
    RISK_PERCENT = "risk_percent"
    """So many shares that *value* percent of the allocation is lost from the price to the stop, rounded down;
    none where the entry has no stop."""
    SIGNAL_MULTIPLE = "signal_multiple"
    """*value* times the shares that the signal names, rounded down; none where it names none."""


class Sizing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sizing method and its number.

    Attributes:
        method: See `SizingMethod`.
        value: Shares, rupees, percent or times, as the method says; > 0.
    """

    method: SizingMethod = SizingMethod.FIXED_QUANTITY
    value: Decimal = Decimal(1)


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user's limits; there is no unlimited default.

    Attributes:
        capital_inr: What the user gives to the system, rupees.
        max_order_inr: Value of one entry, rupees.
        max_positions: Open positions at a time.
        max_open_orders: Entries that rest or wait at a time.
        max_gross: Gross exposure as a multiple of the capital.
        day_loss_percent: Day's loss (realised, unrealised, charges) that stops entries, of capital.
        strategy_loss_percent: The same for one strategy.
        max_entries_day: Entries a day, all symbols.
        max_entries_symbol_day: Entries a day in one symbol.
        max_orders_second, max_orders_minute: Orders in a rolling second and minute.
        max_risk_percent: What one entry may lose down to its stop, percent of the capital.
        min_price_inr: Cheaper shares are not entered.
        min_turnover_crore: Nor shares that turn over less a day, crores of rupees, where that is known.
        max_deviation_percent: Price against a fresh quote.
        long_only: No short entries.
        allow_btst: DELIVERY shares may be sold while they are on the way (buy today, sell tomorrow).
    """

    capital_inr: Decimal = LAKH_INR
    max_order_inr: Decimal = Decimal(25_000)
    max_positions: int = 3
    max_open_orders: int = 10
    max_gross: Decimal = Decimal(1)
    day_loss_percent: Decimal = Decimal(2)
    strategy_loss_percent: Decimal = Decimal(1)
    max_entries_day: int = 20
    max_entries_symbol_day: int = 3
    max_orders_second: int = 2
    max_orders_minute: int = 30
    max_risk_percent: Decimal = Decimal("0.5")
    min_price_inr: Decimal = Decimal(20)
    min_turnover_crore: Decimal = Decimal(10)
    max_deviation_percent: Decimal = Decimal("0.5")
    long_only: bool = True
    allow_btst: bool = False

    def problems(self) -> list[str]:
        """Return what is wrong with these limits, one line each; empty where all is well."""
        found = []
        for name in self.__struct_fields__:
            number = getattr(self, name)
            if isinstance(number, bool):
                continue
            if not Decimal(number).is_finite() or not 0 < number <= HIGHEST:
                found.append(f"limits.{name} is {number}; it must be a number above 0 and at most {HIGHEST}")
        return found


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one user takes part in one strategy.

    Attributes:
        sizing: Quantity of an entry.
        product: INTRADAY or DELIVERY.
        allow_short: Lets SELL open a short position; INTRADAY only.
        allocation_percent: Share of the user's capital that this strategy may use.
        trail_percent: Distance of a trailing stop from the best price since the entry, percent; 0: none.
        leaving: It enters nothing more; exits and stops of what it holds go on.
    """

    sizing: Sizing = Sizing()
    product: Product = Product.INTRADAY
    allow_short: bool = False
    allocation_percent: Decimal = Decimal(100)
    trail_percent: Decimal = Decimal(0)
    leaving: bool = False


def mode_of(broker: str, environment: str) -> str:
    """Return what becomes of the orders of whoever is with *broker*.

    Args:
        broker: Name in the broker registry.
        environment: Of the store: `paper`, `sandbox`, `proof`, `live`.

    Returns:
        `paper`: filled here; `shadow`: decided, told and not sent; else where they go: `sandbox` or `live`.
    """
    if broker in ("paper", "shadow"):
        return broker
    return "live" if environment == "live" else "sandbox"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A trading account's owner as the store keeps them.

    Attributes:
        user_no: Small number that orders carry; never reused.
        group: Which subscriber process serves this user.
        family: Whose PAN-related accounts belong together: their orders must not cross; empty: alone.
        algo_id: What the exchange has registered their orders under, where it has; no order carries it, for
            the broker's wire has no field for it.
        broker: Name in the broker registry.
        account: Stands in the tags of their orders; the first broker's name, and the same for good.
        profile: A label, e.g. `demo`.
        subscriptions: Terms by strategy id, active ones only.
    """

    user_no: int
    user_id: str
    name: str = ""
    group: str = "default"
    family: str = ""
    algo_id: str = ""
    broker: str = "paper"
    account: str = ""
    enabled: bool = True
    profile: str = ""
    limits: Limits = Limits()
    subscriptions: dict[str, Terms] = {}

    def tag(self, signal_id: str, leg: int = 0, slice_no: int = 0, attempt: int = 0) -> str:
        """Return the tag of this user's order of that key, whichever broker they are with today."""
        return order_tag(self.account or self.broker, self.user_id, signal_id, leg, slice_no, attempt)


class ShownUser(User, frozen=True, kw_only=True):
    """A user with what becomes of their orders; see `mode_of`."""

    mode: str


def shown_users(users: Iterable[User], environment: str) -> list[ShownUser]:
    """Return *users* of a store that is marked with *environment*."""
    return [
        ShownUser(**msgspec.structs.asdict(user), mode=mode_of(user.broker, environment)) for user in users
    ]


DEMO_LIMITS = Limits(
    capital_inr=10 * LAKH_INR,
    max_order_inr=3 * LAKH_INR,
    max_positions=10,
    max_open_orders=100,
    max_entries_day=200,
    max_entries_symbol_day=50,
    max_orders_second=9,
    max_orders_minute=200,
    max_risk_percent=Decimal(5),
)
"""Room for the specification's 100 × ₹2,500 and for a lively demonstration; labelled `demo`."""


def demo_users(strategy_ids: list[str]) -> list[dict[str, Any]]:
    """Return the three users of a first start, each sized in another way.

    Args:
        strategy_ids: What they subscribe to; the allocation is shared evenly.
    """
    sizings = [
        ("user_001", "Asha (demo)", Sizing(SizingMethod.FIXED_QUANTITY, Decimal(10))),
        ("user_002", "Bharat (demo)", Sizing(SizingMethod.FIXED_VALUE, Decimal(50_000))),
        ("user_003", "Chitra (demo)", Sizing(SizingMethod.PERCENT_OF_ALLOCATION, Decimal(10))),
    ]
    share = (Decimal(100) / max(1, len(strategy_ids))).quantize(Decimal("0.01"), rounding="ROUND_DOWN")
    return [
        {
            "user_id": user_id,
            "name": name,
            "profile": "demo",
            "limits": DEMO_LIMITS,
            "subscriptions": {s: Terms(sizing=sizing, allocation_percent=share) for s in strategy_ids},
        }
        for user_id, name, sizing in sizings
    ]


def check_user(
    user_id: str, limits: Limits, subscriptions: dict[str, Terms], algo_id: str = ""
) -> None:
    """Check a user before they are stored.

    Raises:
        ConfigurationError: With every finding.
    """
    found = limits.problems()
    if not user_id or len(user_id) > 64 or not user_id.replace("_", "").replace("-", "").isalnum():
        found.append(f"user_id {user_id!r} must be 1 to 64 letters, digits, '_' or '-'")
    if algo_id and not _ALGO_ID.fullmatch(algo_id):
        found.append(f"algo_id {algo_id!r} must be 1 to 32 letters, digits, '_' or '-'")
    total = Decimal(0)
    for strategy_id, terms in subscriptions.items():
        share = terms.allocation_percent
        if not share.is_finite() or not 0 < share <= 100:
            found.append(f"{strategy_id}: allocation_percent is {share}; it must be above 0 and at most 100")
        else:
            total += share
    if total > 100:
        found.append(f"allocations sum to {total} %; at most 100")
    for strategy_id, terms in subscriptions.items():
        value = terms.sizing.value
        if not value.is_finite() or not 0 < value <= HIGHEST:
            found.append(f"{strategy_id}: sizing value is {value}; it must be above 0 and at most {HIGHEST}")
        elif terms.sizing.method is SizingMethod.SIGNAL_MULTIPLE and value > MOST_TIMES:
            found.append(f"{strategy_id}: {value} times the signal's quantity; at most {MOST_TIMES}")
        elif terms.sizing.method is SizingMethod.FIXED_QUANTITY and value != value.to_integral_value():
            found.append(f"{strategy_id}: a fixed quantity of {value} shares is not whole")
        trail = terms.trail_percent
        if not trail.is_finite() or not 0 <= trail <= 50 or trail * 100 != (trail * 100).to_integral_value():
            found.append(f"{strategy_id}: trail_percent is {trail}; it must be 0 to 50 in steps of 0.01")
        if terms.allow_short and terms.product is not Product.INTRADAY:
            found.append(f"{strategy_id}: short positions need the product INTRADAY")
    if found:
        raise ConfigurationError(f"user {user_id!r}: " + "; ".join(found) + ".")


# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_FIXED = SizingMethod.FIXED_QUANTITY


def shares(
    sizing: Sizing, terms: Terms, limits: Limits, price_paise: int, stop_paise: int = 0, named: int = 0
) -> int:
    """Return how many shares an entry at *price_paise* takes; 0 means too small, never rounded up.

    Args:
        sizing: Method and number.
        terms: For the allocation.
        limits: For the capital.
        price_paise: Reference price, > 0.
        stop_paise: Where the entry's stop stands; 0: it has none.
        named: Shares that the signal names; 0: none.
    """
    if sizing.method is _FIXED:
        return int(sizing.value)
    if sizing.method is SizingMethod.FIXED_VALUE:
        return int(sizing.value * 100) // price_paise
    if sizing.method is SizingMethod.SIGNAL_MULTIPLE:
        return int(named * sizing.value)
    allocation = limits.capital_inr * terms.allocation_percent / 100
    if sizing.method is SizingMethod.RISK_PERCENT:
        risk_paise = abs(price_paise - stop_paise) if stop_paise else 0
        return int(allocation * sizing.value) // risk_paise if risk_paise else 0
    return int(allocation * sizing.value) // price_paise  # percent of rupees = paise


@lru_cache(maxsize=4096)
def _one(value: T) -> T:
    return value


def thrifty(user: User) -> User:
    """Return *user* with limits and terms that are the same objects for all who have the same.

    What a thousand users share stays in the processor's cache while a signal is decided for them.
    """
    terms = {strategy_id: _one(each) for strategy_id, each in user.subscriptions.items()}
    return msgspec.structs.replace(user, limits=_one(user.limits), subscriptions=terms)


def too_small(sizing: Sizing, price_paise: int, stop_paise: int) -> str:
    """Return why *sizing* gives no share at a price."""
    if sizing.method is SizingMethod.SIGNAL_MULTIPLE:
        return f"the signal names no quantity of which {sizing.value} times is a share"
    price = f"{rupees(price_paise)}"
    if sizing.method is not SizingMethod.RISK_PERCENT:
        return f"one share costs {price}"
    if not stop_paise:
        return "it is sized by its risk and has no stop"
    return f"one share at {price} with a stop at {rupees(stop_paise)} risks more"


def user_rows(user: User, at_us: int) -> dict[str, list[tuple[object, ...]]]:
    """Return what a store keeps of a user saved at *at_us*: rows of `users` and `subscriptions`.

    A store keeps the time of the first saving, and ends subscriptions that are not among the rows.
    """
    limits = msgspec.json.encode(user.limits).decode()
    plain = (user.user_no, user.user_id, user.name, user.group, user.broker, int(user.enabled), user.profile)
    return {
        "users": [(*plain, limits, at_us, user.account, user.family, user.algo_id)],
        "subscriptions": [
            (user.user_no, strategy_id, msgspec.json.encode(terms).decode(), 1, at_us)
            for strategy_id, terms in user.subscriptions.items()
        ],
    }


def whole_paise(amount_inr: Decimal) -> int:
    """Return a limit in paise, rounded down to a whole one."""
    return paise(amount_inr.quantize(Decimal("0.01"), rounding="ROUND_DOWN"))
