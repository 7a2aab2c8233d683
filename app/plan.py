"""Where a run's market data comes from and where its orders go: decided once, before anything is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from app.accounts import Listening, read_listening
from app.credentials import CredentialStore
from broker.account import BrokerAccount, Egress
from broker.registry import own_hosts
from shared.errors import ConfigurationError, RefusedBySafety
from shared.secret import Secret
from shared.setting_values import LOOPBACK
from shared.settings import Settings

BROKER = "angel_one"

OWNER = "user_001"
"""Whose account the environment's credentials are."""

CREDENTIALS = {
    "ANGEL_ONE_API_KEY": "the key of your SmartAPI app, from smartapi.angelone.in",
    "ANGEL_ONE_CLIENT_CODE": "your client code, as you log in with",
    "ANGEL_ONE_PASSWORD": "the PIN of your account",
    "ANGEL_ONE_TOTP_SECRET": "the text below the QR code when you enable TOTP, not a six-digit code",
}

ENDPOINTS = ("ANGEL_ONE_BASE_URL", "ANGEL_ONE_FEED_URL", "ANGEL_ONE_ORDER_FEED_URL")


class Data(StrEnum):
    """Where market data comes from."""

    REPLAY = "replay"
    EMBEDDED = "embedded"
    """A sandbox that this run starts for itself."""
    SANDBOX = "sandbox"
    """A sandbox on loopback that somebody else runs."""
    LIVE = "live"


class Venue(StrEnum):
    """Where orders go; the first word of the line that a run begins with."""

    PAPER = "PAPER"
    SANDBOX = "SANDBOX"
    LIVE = "LIVE"
    """The broker's own hosts: of users in mode live, once somebody has armed their accounts for the day."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is.

    Attributes:
        account: The data account: the environment's, else the first user's; None where a replay or a sandbox
            of our own needs none.
        users: The accounts that users have at the same place; the environment's is its owner's, where they
            have no credentials of their own.
        listening: A sandbox with an account for each user, which somebody else runs.
        proof: Stores are marked so, and processes may end themselves.
    """

    orders: Venue
    data: Data
    account: BrokerAccount | None = None
    users: tuple[BrokerAccount, ...] = ()
    listening: Listening | None = None
    proof: bool = False

    @property
    def environment(self) -> str:
        """What the stores are marked with."""
        return "proof" if self.proof else self.orders.value.lower()


def plan(settings: Settings, *, replay: bool = False) -> Plan:
    """Return what a run with *settings* is.

    Raises:
        ConfigurationError: Credentials or endpoints are there in part only.
        RefusedBySafety: An endpoint is no host of the broker's, or a proof would leave this machine.
    """
    venue = Venue.PAPER if settings.paper_trading else Venue.SANDBOX
    proof = settings.proof
    if (settings.failpoint or settings.mutant) and not proof:
        raise ConfigurationError(
            "FAILPOINT and MUTANT break things on purpose.", remedy="They need TRADING_PROOF=true."
        )
    if replay:
        if venue is not Venue.PAPER:
            raise ConfigurationError(
                "A replay trades on paper only.", remedy="Leave out --replay, or set PAPER_TRADING=true."
            )
        return Plan(venue, Data.REPLAY, proof=proof)
    stored = () if settings.sandbox_accounts is not None else stored_accounts(settings)
    account = account_of(settings, others=bool(stored))
    if settings.sandbox_accounts is not None:
        return _several(settings, settings.sandbox_accounts, account, venue)
    account, users = _shared_out(account, stored)
    if account is None:
        return Plan(venue, Data.EMBEDDED, proof=proof)
    if is_local(account):
        return Plan(venue, Data.SANDBOX, account, users, proof=proof)
    if proof:
        raise RefusedBySafety(
            "A proof works on loopback alone.", remedy="Leave out TRADING_PROOF, or the ANGEL_ONE_… settings."
        )
    return Plan(venue if venue is Venue.PAPER else Venue.LIVE, Data.LIVE, account, users)


def _several(settings: Settings, path: Path, account: BrokerAccount | None, venue: Venue) -> Plan:
    if account is not None:
        raise ConfigurationError(
            "SANDBOX_ACCOUNTS and ANGEL_ONE_… settings name two places.", remedy="Leave one of them out."
        )
    listening = read_listening(path)
    first = listening.of([OWNER])[0]
    if not is_local(first):
        raise RefusedBySafety(
            f"SANDBOX_ACCOUNTS: {first.base_url} is not on this machine.",
            remedy="It is for a `trading sandbox` on loopback.",
        )
    return Plan(venue, Data.SANDBOX, first, listening=listening, proof=settings.proof)


def _shared_out(
    account: BrokerAccount | None, stored: tuple[BrokerAccount, ...]
) -> tuple[BrokerAccount | None, tuple[BrokerAccount, ...]]:
    """Return the data account, and the accounts of users: what is stored for a user counts more.

    An account has one session: where a user has stored the environment's account, theirs serves as both.
    """
    if account is None:
        return (stored[0] if stored else None), stored
    same = next((each for each in stored if each.client_code == account.client_code), None)
    if same is not None:
        return same, stored
    if any(each.user_id == OWNER for each in stored):
        return replace(account, user_id="data account"), stored
    return account, (account, *stored)


def stored_accounts(settings: Settings, *only: str) -> tuple[BrokerAccount, ...]:
    """Return the accounts of users who have credentials, at the endpoints of the settings.

    Args:
        settings: As read.
        only: Of these users; none: of all whose credentials can be read.

    Raises:
        ConfigurationError: Credentials cannot be read: of one of these users, or any that there are.
        RefusedBySafety: An endpoint is no host of the broker's.
    """
    store = CredentialStore(settings.home, settings.secrets_key)
    urls = _endpoints(settings)
    base, feed, order_feed = urls.values()
    lost = {} if only else unreadable(settings)
    if lost and len(lost) == len(store.users()) and missing_credentials(settings):
        # Without any account a run would take a sandbox of its own for what it was to trade with.
        raise next(iter(lost.values()))
    found = [store.load(user_id) for user_id in only or store.users() if user_id not in lost]
    if found:
        _require_own(urls)
    return tuple(
        BrokerAccount(
            each.user_id, Secret(each.api_key), Secret(each.client_code), Secret(each.pin),
            Secret(each.totp_secret), base, feed, order_feed, each.egress, settings.angel_one_modify_quantity,
        )
        for each in found
        if each is not None
    )  # fmt: skip


def unreadable(settings: Settings) -> dict[str, ConfigurationError]:
    """Return whose credentials are kept and cannot be read, and why."""
    store, found = CredentialStore(settings.home, settings.secrets_key), {}
    for user_id in store.users():
        try:
            store.load(user_id)
        except ConfigurationError as error:
            found[user_id] = error
    return found


def account_of(settings: Settings, *, others: bool = False) -> BrokerAccount | None:
    """Return the environment's account, or None where nothing is configured.

    Args:
        settings: As read.
        others: Users have accounts of their own, which the endpoints may be for.

    Raises:
        ConfigurationError: Something of it is missing; every name is told with what belongs there.
        RefusedBySafety: An endpoint is no host of the broker's.
    """
    missing = missing_credentials(settings)
    urls = _endpoints(settings)
    given = [name for name, url in urls.items() if url]
    none = len(missing) == len(CREDENTIALS)
    if none and not given:
        return None
    found = [] if none and others else [f"{name}: {CREDENTIALS[name]}" for name in missing]
    if given and len(given) < len(ENDPOINTS):
        found += [f"{name}: set all three endpoints or none" for name in ENDPOINTS if name not in given]
    if len({is_loopback(url) for url in urls.values() if url}) == 2:
        found.append(f"{', '.join(ENDPOINTS)}: some are on loopback and some are not")
    if found:
        raise ConfigurationError(
            "\n  ".join(["The Angel One account is not complete:", *found]),
            remedy="Set them in .env, or leave all of it out: then a local sandbox serves.",
        )
    if none:
        return None
    _require_own(urls)
    key, code, pin, totp = (
        settings.angel_one_api_key,
        settings.angel_one_client_code,
        settings.angel_one_password,
        settings.angel_one_totp_secret,
    )
    assert key and code and pin and totp, "checked above"
    egress = Egress(
        settings.angel_one_source_address or "",
        settings.angel_one_proxy or "",
        settings.angel_one_registered_address or "",
    )
    base, feed, order_feed = urls.values()
    quantity = settings.angel_one_modify_quantity
    return BrokerAccount(OWNER, key, code, pin, totp, base, feed, order_feed, egress, quantity)


def _endpoints(settings: Settings) -> dict[str, str]:
    return {name: str(getattr(settings, name.lower()) or "") for name in ENDPOINTS}


def _require_own(urls: Mapping[str, str]) -> None:
    """Make sure that endpoints are on this machine or the broker's own: no other host gets a credential.

    Raises:
        RefusedBySafety: One is elsewhere.
    """
    for name, url in urls.items():
        if url and not is_loopback(url) and (host := urlsplit(url).hostname) not in own_hosts(BROKER):
            raise RefusedBySafety(
                f"{name}: {host} is neither this machine nor a host of Angel One.",
                remedy="Leave the three endpoints out for Angel One's own, or name a `trading sandbox`.",
            )


def missing_credentials(settings: Settings) -> list[str]:
    """Return the names of the credentials that are not set."""
    return [name for name in CREDENTIALS if not isinstance(getattr(settings, name.lower()), Secret)]


def is_local(account: BrokerAccount) -> bool:
    """Return whether every endpoint of *account* is on loopback."""
    return all(is_loopback(url) for url in (account.base_url, account.feed_url, account.order_feed_url))


def is_loopback(url: str) -> bool:
    """Return whether *url* is on this machine; an empty one stands for the broker's own."""
    return urlsplit(url).hostname in LOOPBACK
