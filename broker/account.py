"""One account at a broker: what it logs in with, where its traffic leaves, and its session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from broker.base import RemoteVenue
from shared.feed import LiveMarket
from shared.secret import Secret


@dataclass(frozen=True, slots=True)
class Egress:
    """Where an account's traffic leaves this machine.

    Attributes:
        source_address: IPv4 address of this machine to send from; empty: the system's choice.
        proxy: http:// or https:// proxy; empty: none.
        registered_address: The address registered with the broker, to compare with; empty: not known.
    """

    source_address: str = ""
    proxy: str = field(default="", repr=False)  # may hold a password
    registered_address: str = ""


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """Credentials and endpoints of one account.

    Attributes:
        user_id: Whose it is.
        api_key, client_code, pin, totp_secret: As given by the broker; never shown. Without a secret its
            owner types the one-time code.
        base_url, feed_url, order_feed_url: Endpoints; empty: the broker's own.
        modify_quantity: What the quantity of a modify means there: `total` or `remaining`.
    """

    user_id: str
    api_key: Secret
    client_code: Secret
    pin: Secret
    totp_secret: Secret
    base_url: str = ""
    feed_url: str = ""
    order_feed_url: str = ""
    egress: Egress = Egress()
    modify_quantity: str = "total"


class BrokerConnection(Protocol):
    """One account's session, shared by its market data and its orders."""

    @property
    def good(self) -> bool:
        """Whether there is a session right now, as far as is known here."""
        ...

    async def open(self, code: str = "") -> None:
        """Go on with the day's kept token, or log in.

        Args:
            code: A one-time code that the owner has typed; empty: made from the account's secret.

        Raises:
            LoginRefused: The broker says no; says why and what to do.
            VenueUnavailable: It cannot be reached.
        """
        ...

    def venue(self, *, live_orders: bool = False) -> RemoteVenue:
        """Return the account's orders; its order feed is opened on first use.

        Args:
            live_orders: Orders may leave for the broker itself; else only for a service on this machine.
        """
        ...

    def market(self, run: str, label: str) -> LiveMarket:
        """Return the account's market data as *run*."""
        ...

    async def seen_address(self, url: str) -> str:
        """Return the IPv4 address that *url* sees this account's traffic come from.

        Raises:
            VenueUnavailable: It does not tell.
        """
        ...

    async def renewed(self, account: BrokerAccount) -> BrokerConnection:
        """Return a connection, logged in with the other credentials of *account*: the same client code.

        This one stays as it is; what it has sent counts on in the limits of the new one.

        Raises:
            LoginRefused, VenueUnavailable: As `open`.
        """
        ...

    async def end(self) -> None:
        """End the session at the broker, then close; what fails is only logged."""
        ...

    async def close(self) -> None:
        """Close feeds and connections; the session stays valid until midnight."""
        ...
