"""One-time codes of accounts whose secret is not kept: typed by their owner, without echo, never stored."""

from __future__ import annotations

import getpass
import sys

from app.connections import users_accounts
from app.plan import Plan, Venue
from shared.errors import ConfigurationError
from shared.secret import masked_code
from shared.settings import Settings

DIGITS = 6


def ask(user_id: str, account: str, *, optional: bool = False) -> str:
    """Return the code that is typed for the account *account* (masked) of a user.

    Args:
        user_id: Whose.
        account: Fit for a screen.
        optional: Nothing is fine, too.

    Raises:
        ConfigurationError: Nobody is there to type, or it is no code.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"The one-time code of {user_id} is needed, and nobody is there to type it.",
            remedy="`trading arm` at a terminal asks for it; a kept TOTP secret makes it by itself.",
        )
    kept = ", Enter where its session of today is kept" if optional else ""
    code = getpass.getpass(f"One-time code of {user_id} ({account}){kept}: ").replace(" ", "")
    if not code and optional:
        return ""
    if len(code) != DIGITS or not code.isdigit():
        raise ConfigurationError(f"What was typed for {user_id} is not {DIGITS} digits; nothing was sent.")
    return code


def typed_codes(
    plan: Plan, settings: Settings, group: str | None = None, *, orders: bool = True
) -> dict[str, str]:
    """Return the codes that a run needs, by user; at a terminal they are asked for, elsewhere it has none.

    Args:
        plan: What the run is.
        settings: As read.
        group: Of its users only; None: of all.
        orders: The run connects the users' accounts.

    Raises:
        ConfigurationError: What is typed is no code.
    """
    if plan.account is None or plan.listening is not None or not sys.stdin.isatty():
        return {}
    trading = users_accounts(plan, settings, group) if orders and plan.orders is not Venue.PAPER else []
    wanted = {each.user_id: each for each in (plan.account, *trading) if not each.totp_secret.reveal()}
    codes = {
        user_id: ask(user_id, masked_code(each.client_code.reveal()), optional=True)
        for user_id, each in wanted.items()
    }
    return {user_id: code for user_id, code in codes.items() if code}
