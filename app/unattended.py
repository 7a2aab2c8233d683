"""The doctor's look at users who trade at a broker and have no account to log in with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from contextlib import closing

from app.connections import user_ids, users_accounts
from app.doctor import Finding
from app.plan import BROKER, plan, unreadable
from order.reading import Reader
from shared.errors import StoreError, TradingError
from shared.settings import Settings


def look(settings: Settings) -> Iterator[Finding]:
    """Yield a fault for each such user, with what they hold; none on paper, where nobody needs an account."""
    if settings.paper_trading:
        return
    try:
        with closing(Reader(settings.home, settings.postgres_url)) as reader:
            users = [user for user in reader.users() if user.broker == BROKER]
            market = reader.latest_market()
            held = {user.user_id: _held(reader, user.user_id, market) for user in users}
    except StoreError:
        return  # the order store's own check tells
    for user in users:
        if not (user.enabled or held[user.user_id]):
            del held[user.user_id]
    lost = unreadable(settings)
    try:
        connected: Set[str] = _connected(settings)
    except TradingError:
        connected = held.keys() - lost.keys()  # what is wrong with the plan is a finding of its own
    for user_id in sorted(held.keys() - connected):
        error = lost.get(user_id)
        why = "no credentials are kept" if error is None else error.what.rstrip(".")
        holds = f"; holds {held[user_id]} and nobody can sell it until then" if held[user_id] else ""
        remedy = f"`trading users credentials set {user_id}`." if error is None else error.remedy
        yield Finding(f"account of {user_id}", False, f"none to trade with: {why}{holds}", remedy)


def _connected(settings: Settings) -> set[str]:
    """Return who has an account in a run with *settings*."""
    made = plan(settings)
    if made.listening is not None:
        return {each.user_id for each in made.listening.of(user_ids(settings))}
    if made.account is None:
        return set(user_ids(settings))  # a sandbox of our own has one for everybody
    return {each.user_id for each in users_accounts(made, settings, None)}


def _held(reader: Reader, user_id: str, market: str | None) -> str:
    """Return what a user holds in *market*, in words; empty where nothing."""
    net: Counter[str] = Counter()
    for each in reader.positions(user_id=user_id, run=market):
        net[each.symbol] += each.quantity
    return ", ".join(f"{symbol} {shares}" for symbol, shares in sorted(net.items()) if shares)
