"""The accounts of a sandbox: what it prints on its first line, as accounts of our users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from broker.account import BrokerAccount
from shared.errors import ConfigurationError
from shared.secret import Secret


class _Account(msgspec.Struct):
    api_key: str
    client_code: str
    pin: str
    totp_secret: str


class Listening(msgspec.Struct):
    """First line of `trading sandbox --json`."""

    base_url: str
    feed_url: str
    order_feed_url: str
    accounts: list[_Account]

    def of(self, users: Sequence[str], modify_quantity: str = "total") -> list[BrokerAccount]:
        """Return an account for each of *users*, as far as there are any, in this order.

        Args:
            users: Whose.
            modify_quantity: What the quantity of a modify means there: `total` or `remaining`.
        """
        return [
            BrokerAccount(
                user_id,
                Secret(each.api_key),
                Secret(each.client_code),
                Secret(each.pin),
                Secret(each.totp_secret),
                self.base_url,
                self.feed_url,
                self.order_feed_url,
                modify_quantity=modify_quantity,
            )
            for user_id, each in zip(users, self.accounts, strict=False)
        ]


def read_listening(path: Path) -> Listening:
    """Read a file that holds the first line of `trading sandbox --json`.

    Raises:
        ConfigurationError: It does not, or has no account.
    """
    try:
        found = msgspec.json.decode(path.read_bytes().partition(b"\n")[0], type=Listening)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        found = None
    if found is None or not found.accounts:
        raise ConfigurationError(
            f"SANDBOX_ACCOUNTS: {path} is not what `trading sandbox --json` prints on its first line.",
            remedy="Start `trading sandbox --port 0 --json > FILE` and name that file.",
        )
    return found
