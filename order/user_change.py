"""What may change of a user, and who they are then: pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import msgspec

from order.users import Limits, Sizing, SizingMethod, Terms, User, check_user
from shared.errors import ConfigurationError

KEEP, FLATTEN = "keep", "flatten"
CREDENTIALS = "credentials"
"""The kind of mark that says, by change, who changed a user's credentials last; never what they are."""


class UserChange(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Changes of one user; what is left out stays.

    Attributes:
        limits: New values by name, see `order.users.Limits`.
        subscribe: By strategy id: new terms of a subscription, the fields of `order.users.Terms`; `sizing` is
            [method, value].
        enabled: False: they enter nothing more.
        holdings: Of someone who is disabled: what becomes of what is open, `keep` or `flatten`.
        leave: By strategy id: what becomes of a position that the strategy holds for this user, `keep`
            (its exits and stops go on, it enters nothing more) or `flatten`; empty where there is none.
    """

    name: str | None = None
    family: str | None = None
    algo_id: str | None = None
    broker: str | None = None
    enabled: bool | None = None
    limits: dict[str, Decimal | bool] = {}
    subscribe: dict[str, dict[str, Any]] = {}
    leave: dict[str, Literal["", "keep", "flatten"]] = {}
    holdings: Literal["", "keep", "flatten"] = ""


def changed(user: User, change: UserChange, open_in: Mapping[str, str]) -> User:
    """Return *user* after *change*.

    Args:
        user: As stored.
        change: What is asked for.
        open_in: Products in which strategies hold something for the user, or have an order at work.

    Raises:
        ConfigurationError: With every finding.
    """
    found: list[str] = []
    limits = _limits(user.limits, change.limits, found)
    subscriptions = dict(user.subscriptions)
    for strategy_id, given in change.subscribe.items():
        before = subscriptions.get(strategy_id)
        terms = _terms(strategy_id, before or Terms(), given, found)
        if strategy_id in open_in and terms.product != open_in[strategy_id]:
            held = open_in[strategy_id]
            found.append(f"{strategy_id} holds a position in {held}: its product changes once that is flat")
        subscriptions[strategy_id] = terms
    for strategy_id, how in change.leave.items():
        if strategy_id not in subscriptions:
            found.append(f"{strategy_id}: {user.user_id} is not subscribed to it")
        elif strategy_id not in open_in:
            del subscriptions[strategy_id]
        elif not how:
            found.append(f"{strategy_id} holds a position for {user.user_id}: say --keep or --flatten")
        else:
            subscriptions[strategy_id] = msgspec.structs.replace(subscriptions[strategy_id], leaving=True)
    if change.enabled is False and user.enabled and open_in and not change.holdings:
        found.append(f"{', '.join(open_in)} hold positions: say --keep or --flatten")
    if found:
        raise ConfigurationError(f"User {user.user_id!r} stays as they are: {'; '.join(found)}.")
    plain = {
        name: value
        for name in ("name", "family", "algo_id", "broker", "enabled")
        if (value := getattr(change, name)) is not None
    }
    after = msgspec.structs.replace(user, limits=limits, subscriptions=subscriptions, **plain)
    check_user(after.user_id, limits, subscriptions, after.algo_id)
    return after


def _limits(limits: Limits, given: Mapping[str, object], found: list[str]) -> Limits:
    unknown = sorted(set(given) - set(limits.__struct_fields__))
    if unknown:
        known = ", ".join(limits.__struct_fields__)
        found.append(f"no limit is called {', '.join(unknown)}; there are {known}")
        return limits
    try:
        wanted = {name: each if isinstance(each, bool) else str(each) for name, each in given.items()}
        return msgspec.convert({**msgspec.to_builtins(limits), **wanted}, Limits, strict=False)
    except msgspec.ValidationError as error:
        found.append(f"limits: {error}")
        return limits


def _terms(strategy_id: str, terms: Terms, given: Mapping[str, Any], found: list[str]) -> Terms:
    try:
        more = dict(given)
        if "sizing" in more:
            method, value = more["sizing"]
            more["sizing"] = Sizing(SizingMethod(method), msgspec.convert(value, Decimal, strict=False))
        kept = {**msgspec.to_builtins(terms), "leaving": False}
        return msgspec.convert({**kept, **msgspec.to_builtins(more)}, Terms, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        found.append(f"{strategy_id}: {error}")
        return terms
