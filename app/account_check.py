"""The doctor's look at the Angel One account: each credential, then whether the broker takes them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from app.credentials import pin_problem, totp_problem
from app.doctor import Finding
from app.plan import (
    BROKER,
    CREDENTIALS,
    ENDPOINTS,
    account_of,
    is_local,
    missing_credentials,
    stored_accounts,
)
from broker.account import BrokerAccount, BrokerConnection
from broker.registry import connection
from shared.clock import SystemClock
from shared.errors import ConfigurationError, TradingError, VenueUnavailable
from shared.instruments import Instruments
from shared.secret import masked_code
from shared.settings import Settings

T = TypeVar("T")


def look(settings: Settings) -> Iterator[Finding]:
    """Look at names, forms, then at a login; yields one finding for each."""
    missing = missing_credentials(settings)
    urls = [name for name in ENDPOINTS if getattr(settings, name.lower())]
    users = stored_accounts(settings)
    for number, each in enumerate(users):
        kept = f"{masked_code(each.client_code.reveal())} is kept"
        serves = " and serves the market data" if not number and len(missing) == len(CREDENTIALS) else ""
        advice = f"`trading users credentials check {each.user_id}` logs in with it."
        yield Finding(f"account of {each.user_id}", True, kept + serves, advice)
    if len(missing) == len(CREDENTIALS) and users:
        missing = []
    elif len(missing) == len(CREDENTIALS) and not urls:
        advice = f"To read from Angel One set {', '.join(CREDENTIALS)} (env.template says what each is)."
        yield Finding("account", True, "none: a sandbox of our own serves the market data", advice)
        return
    for name in missing:
        yield Finding(name, False, "is not set", f"It is {CREDENTIALS[name]}.")
    wrong = list(_forms(settings))
    yield from wrong
    try:
        account = account_of(settings, others=bool(users))
    except ConfigurationError as error:
        if not missing:
            yield Finding("account", False, error.what, error.remedy)
        return
    if account is None or wrong:
        return
    where = account.base_url if is_local(account) else "Angel One"
    yield login(account, settings, where)
    if not is_local(account):
        yield address(account, settings)


def _forms(settings: Settings) -> Iterator[Finding]:
    """Yield what cannot be right whatever the broker says; the values themselves never show."""
    pin, totp = settings.angel_one_password, settings.angel_one_totp_secret
    if pin is not None and (why := pin_problem(pin.reveal())):
        remedy = "Angel One logs in with the four digits of the PIN, not with the old password."
        yield Finding("ANGEL_ONE_PASSWORD", False, why, remedy)
    if totp is not None and (why := totp_problem(totp.reveal())):
        yield Finding("ANGEL_ONE_TOTP_SECRET", False, why, f"It is {CREDENTIALS['ANGEL_ONE_TOTP_SECRET']}.")


def login(account: BrokerAccount, settings: Settings, where: str, code: str = "") -> Finding:
    """Look whether the broker takes the credentials, with a typed one-time *code* where there is one."""

    async def attempt(made: BrokerConnection) -> None:
        await made.open(code)

    try:
        _with_connection(account, settings, attempt)
    except TradingError as error:
        return Finding("login", False, error.what, error.remedy)
    return Finding("login", True, f"{where} takes the credentials of {account.user_id}")


def address(account: BrokerAccount, settings: Settings) -> Finding:
    """Look at where the account's traffic comes from; the broker takes orders from one address only."""

    async def ask(made: BrokerConnection) -> str:
        return await made.seen_address(settings.address_check_url)

    registered = account.egress.registered_address
    try:
        seen = _with_connection(account, settings, ask)
    except VenueUnavailable as error:
        return Finding("address", False, error.what, error.remedy)
    if not registered:
        advice = (
            "Orders are taken from the registered IPv4 address only (else AG7002): set "
            "ANGEL_ONE_REGISTERED_ADDRESS to compare it with the one that is seen."
        )
        return Finding("address", True, f"seen as {seen}; the registered one is not known here", advice)
    if seen == registered:
        return Finding("address", True, f"seen as {seen}, as registered")
    remedy = (
        "Angel One would refuse orders (AG7002). Send from the registered address (ANGEL_ONE_SOURCE_ADDRESS "
        "or ANGEL_ONE_PROXY), or register this one; it can be changed once a week."
    )
    return Finding("address", False, f"seen as {seen}, registered is {registered}", remedy)


def _with_connection(
    account: BrokerAccount, settings: Settings, work: Callable[[BrokerConnection], Coroutine[Any, Any, T]]
) -> T:
    async def run(home: Path) -> T:
        made = connection(
            BROKER,
            account,
            home=home,
            clock=SystemClock(),
            instruments=Instruments.load(),
            key=settings.secrets_key,
        )
        try:
            return await work(made)
        finally:
            await made.close()

    # A folder that goes away: a kept token would answer for credentials that are wrong by now.
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        return asyncio.run(run(Path(folder)))
