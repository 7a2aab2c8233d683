"""What `trading users credentials` does."""

from __future__ import annotations

import asyncio
import getpass
import os
import pwd
from contextlib import closing
from pathlib import Path

import msgspec

from app.credentials import NAMES, Credentials, CredentialStore, checked, from_file
from app.plan import ENDPOINTS, stored_accounts
from app.review import environment_of, keeper
from order.reading import Reader
from order.user_door import CONNECTED, EXITS_ONLY, LEFT, REMOVED, SET
from order.users import User
from shared.errors import ConfigurationError, TradingError
from shared.models import DONE_STATES, OrderState
from shared.secret import masked_code
from shared.settings import Settings

BROKER, SHADOW = "angel_one", "shadow"

PROMPTS = {
    "client_code": "Client code",
    "api_key": "API key",
    "pin": "PIN, four digits",
    "totp_secret": "TOTP secret, the text below the QR code",
    "registered_address": "IPv4 address registered with the broker",
    "source_address": "IPv4 address of this machine to send from",
    "proxy": "Proxy, http://[user:password@]host:port",
}
"""In the order in which they are asked for."""

ALONE = "alone"
"""Nothing runs that could be connected."""

MOST_ORDERS = 1000
"""Of the latest orders so many are looked at for one that is not done."""

NEEDED = ("client_code", "api_key", "pin", "totp_secret")


class Shown(msgspec.Struct, frozen=True):
    """What may be told of credentials.

    Attributes:
        client_code: Its middle masked.
        totp: `kept`, or `asked` of its owner.
        proxy: Whether there is one; it may hold a password.
    """

    user_id: str
    client_code: str
    api_key: str
    pin: str
    totp: str
    registered_address: str
    source_address: str
    proxy: str


class NotConnected(TradingError):
    """Credentials are kept, but do not lead to an account yet."""


def keep(user_id: str, file: Path | None, *, ask_totp: bool) -> None:
    """Keep credentials out of *file*, or typed, and let a running system connect them.

    Raises:
        ConfigurationError: There is no such user, or something is wrong with what was given.
        NotConnected: A running system could not log in with them; they are kept.
    """
    settings = Settings.load()
    user = _user(settings, user_id)
    store = CredentialStore(settings.home, settings.secrets_key)
    if file is not None:
        credentials = from_file(user_id, file, ask_totp=ask_totp)
    else:
        credentials = checked(user_id, _typed(_known(store, user_id), ask_totp), ask_totp=ask_totp)
    _require_same(settings, store, user, credentials)
    store.save(credentials)
    print(f"{user_id}: the credentials of {masked_code(credentials.client_code)} are kept, encrypted.")
    became = _noted(settings, user, SET)
    if user.broker == SHADOW:
        print(f"{user_id} is on shadow: the account is read, and no order goes to it.")
    elif user.broker != BROKER:
        mode = "live" if environment_of(settings) == "live" else "sandbox"
        print(f"{user_id} trades on {user.broker} until `trading users edit {user_id} --mode {mode}`.")
    elif became == CONNECTED:
        print(f"{user_id} is connected: `trading arm --user {user_id}` opens the account for entries.")
    elif became != ALONE:
        urls = ", ".join(ENDPOINTS)
        print(f"The running system connects nobody: it trades on paper, or on a sandbox of its own ({urls}).")


def show(user_id: str | None, *, as_json: bool) -> None:
    """Print what is set, for one user or all.

    Raises:
        ConfigurationError: The user has none, or they cannot be read.
    """
    settings = Settings.load()
    store = CredentialStore(settings.home, settings.secrets_key)
    found = [store.load(each) for each in ([user_id] if user_id else store.users())]
    shown = [_shown(each) for each in found if each is not None]
    if user_id and not shown:
        raise ConfigurationError(
            f"{user_id} has no credentials here.", remedy=f"`trading users credentials set {user_id}`."
        )
    if as_json:
        for each in shown:
            print(msgspec.json.encode(each).decode())
        return
    if not shown:
        print("No credentials are kept here.")
    width = max(len(name) for name in Shown.__struct_fields__)
    for each in shown:
        for name in Shown.__struct_fields__:
            print(f"{name.replace('_', ' '):<{width}}  {getattr(each, name) or '–'}")


def check(user_id: str) -> None:
    """Log in with a user's credentials and look at the address, as the doctor does for the data account.

    Raises:
        ConfigurationError: There are none.
        NotConnected: Something is wrong; it is printed before.
    """
    # Imported here: the doctor's room is large.
    from app.account_check import address, login
    from app.one_time_code import ask
    from app.plan import is_local

    settings = Settings.load()
    found = stored_accounts(settings, user_id)
    if not found:
        raise ConfigurationError(
            f"{user_id} has no credentials here.", remedy=f"`trading users credentials set {user_id}`."
        )
    (account,) = found
    code = ""
    if not account.totp_secret.reveal():
        code = ask(user_id, masked_code(account.client_code.reveal()))
    local = is_local(account)
    findings = [login(account, settings, account.base_url if local else "Angel One", code)]
    if not local and findings[0].ok:
        findings.append(address(account, settings))
    for finding in findings:
        print(f"{finding.name}: {finding.what}" + (f"\n  → {finding.remedy}" if finding.remedy else ""))
    if not all(finding.ok for finding in findings):
        raise NotConnected(f"The account of {user_id} cannot be used as it is.")


def remove(user_id: str) -> None:
    """Remove a user's credentials, and let a running system end the session.

    Raises:
        ConfigurationError: There are none.
        NotConnected: They are removed, and a running system could not be told.
    """
    settings = Settings.load()
    CredentialStore(settings.home, settings.secrets_key).remove(user_id)
    print(f"{user_id}: the credentials are removed.")
    with closing(Reader(settings.home, settings.postgres_url)) as reader:
        user = next((each for each in reader.users() if each.user_id == user_id), None)
    became = ALONE if user is None else _noted(settings, user, REMOVED)
    if became == EXITS_ONLY:
        print(f"{user_id} has something open: the account stays connected for exits, and takes no entries.")
    elif became == LEFT:
        print(f"{user_id} is not connected any more.")


def rotate(*, drop_old: bool) -> None:
    """Encrypt everything anew.

    Raises:
        ConfigurationError: Something cannot be read, or old keys are not ours to drop.
    """
    settings = Settings.load()
    ours = settings.secrets_key is None
    if drop_old and not ours:
        raise ConfigurationError(
            "The keys come from SECRETS_KEY.", remedy="Rotate first, then drop the old ones there."
        )
    count = CredentialStore(settings.home, settings.secrets_key).rotate(drop_old=drop_old)
    if ours:
        old = "the old ones are dropped" if drop_old else "the old ones stay for other state folders"
        print(f"{count} files are encrypted with a new key; {old}.")
    else:
        print(f"{count} files are encrypted with the first key of SECRETS_KEY; the others may go.")


# -- inside --------------------------------------------------------------------------------------------


def _user(settings: Settings, user_id: str) -> User:
    with closing(Reader(settings.home, settings.postgres_url)) as reader:
        known = {user.user_id: user for user in reader.users()}
    if user_id not in known:
        raise ConfigurationError(
            f"There is no user {user_id!r}.",
            remedy=f"Known: {', '.join(known) or 'none'}; `trading users add {user_id}`.",
        )
    return known[user_id]


def _known(store: CredentialStore, user_id: str) -> dict[str, str]:
    """Return what is kept, as far as it can be read: what is typed takes its place."""
    try:
        found = store.load(user_id)
    except ConfigurationError:
        found = None
    return {} if found is None else {name: getattr(found, name) for name in NAMES}


def _require_same(settings: Settings, store: CredentialStore, user: User, new: Credentials) -> None:
    """Make sure that what is open is not left behind in an account that is no longer known."""
    old = _known(store, user.user_id).get("client_code", "")
    if not old or old.upper() == new.client_code.upper() or user.broker != BROKER:
        return
    with closing(Reader(settings.home, settings.postgres_url)) as reader:
        held = [row.symbol for row in reader.positions(user_id=user.user_id) if row.quantity]
        orders = reader.orders(MOST_ORDERS, user_id=user.user_id)
        held += [order.symbol for order in orders if OrderState(order.state) not in DONE_STATES]
    if held:
        raise ConfigurationError(
            f"{user.user_id} has {', '.join(sorted(set(held)))} open in the account {masked_code(old)}.",
            remedy="Close it first: exits would go to the other account.",
        )


def _typed(known: dict[str, str], ask_totp: bool) -> dict[str, str]:
    """Ask for each field, without echo where it is a secret."""
    given = dict(known)
    for name, prompt in PROMPTS.items():
        if name == "totp_secret" and ask_totp:
            continue
        hint = "Enter keeps what there is" if known.get(name) else "" if name in NEEDED else "Enter: none"
        text = f"{prompt}{f' ({hint})' if hint else ''}: "
        shown = name in ("client_code", "registered_address", "source_address")
        value = (input(text) if shown else getpass.getpass(text)).strip()
        if value:
            given[name] = value
    return given


def _shown(credentials: Credentials) -> Shown:
    def told(value: str) -> str:
        return "set" if value else ""

    return Shown(
        credentials.user_id, masked_code(credentials.client_code), told(credentials.api_key),
        told(credentials.pin), "kept" if credentials.totp_secret else "asked for each day",
        credentials.registered_address, credentials.source_address, told(credentials.proxy),
    )  # fmt: skip


def _noted(settings: Settings, user: User, change: str) -> str:
    """Let whoever keeps the books note a change and act upon it; return what became of the account.

    Raises:
        NotConnected: It could not be noted, or the account cannot be had with what is kept now.
    """
    try:
        return asyncio.run(_note(settings, user, change, pwd.getpwuid(os.getuid()).pw_name))
    except TradingError as error:
        done = "removed" if change == REMOVED else "kept"
        raise NotConnected(
            f"They are {done}, but the running system does not go by that: {error.what}", remedy=error.remedy
        ) from error


async def _note(settings: Settings, user: User, change: str, who: str) -> str:
    async with keeper(settings, user.group) as manager:
        became = await manager.credentials(user.user_id, change, who)
        return ALONE if manager.holds_lock else became
