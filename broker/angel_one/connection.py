"""One account at Angel One: its session, shared by market data and orders."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from broker.account import BrokerAccount
from broker.angel_one.endpoints import REAL_FEED, REAL_ORDER_FEED, REAL_ROOT
from broker.angel_one.kept_token import KeptTokens
from broker.angel_one.limits import Limiter
from broker.angel_one.market import AngelOneMarket
from broker.angel_one.market_feed import MarketFeed
from broker.angel_one.order_feed import OrderFeed
from broker.angel_one.rest import Rest
from broker.angel_one.session import Session
from broker.angel_one.transport import Transport
from broker.angel_one.venue import AngelOneVenue
from shared.calendar import Calendar
from shared.clock import Clock
from shared.errors import LoginRefused, VenueUnavailable
from shared.instruments import Instruments
from shared.models import is_rehearsal
from shared.secret import Secret, masked_code
from shared.vault import Vault


class Connection:
    """See `broker.base.BrokerConnection`.

    Args:
        account: Credentials and endpoints.
        home: The day's token is kept there, encrypted.
        clock: Wall and boot time.
        instruments: Symbols and tokens.
        key: Fernet keys for the token; None: those of the key file. A sandbox's token without a given key is
            not kept: a rehearsal leaves no key file behind.
        limiter: Of the client code, where it has sent already; None: a new one.
    """

    def __init__(
        self,
        account: BrokerAccount,
        home: Path,
        clock: Clock,
        instruments: Instruments,
        key: Secret | None,
        limiter: Limiter | None = None,
    ) -> None:
        self._account = account
        self._home = home
        self._key = key
        self._clock = clock
        self._instruments = instruments
        self._limiter = limiter or Limiter(clock)
        self._root = account.base_url or REAL_ROOT
        self._transport = Transport(self._root, account.egress)
        self._orders: Transport | None = None
        vault = None if self._transport.local and key is None else Vault.open(key)
        kept = KeptTokens(home, account.user_id, vault)
        self._session = Session(account, self._transport, self._limiter, clock, kept)
        self.rest = Rest(self._transport, self._session, self._limiter)

    def __repr__(self) -> str:
        return f"Connection({self._account.user_id})"

    @property
    def good(self) -> bool:
        """Whether there is a session right now, as far as is known here."""
        return self._session.good

    async def open(self, code: str = "") -> None:
        """Go on with the day's kept token, or log in.

        Args:
            code: A one-time code that the owner has typed; empty: made from the account's secret.

        Raises:
            LoginRefused: The broker says no.
            VenueUnavailable: It cannot be reached.
        """
        await self._session.open(code)

    async def renewed(self, account: BrokerAccount) -> Connection:
        """Log in as *account*, the same client code with other credentials; see `BrokerConnection`.

        Raises:
            LoginRefused, VenueUnavailable: As `open`.
        """
        made = Connection(account, self._home, self._clock, self._instruments, self._key, self._limiter)
        try:
            await made._session.log_in_anew()
        except (LoginRefused, VenueUnavailable):
            await made.close()
            raise
        return made

    def venue(self, *, live_orders: bool = False) -> AngelOneVenue:
        """Return the account's orders.

        Args:
            live_orders: Orders may go to the broker's own host. They leave by a transport of their own: what
                reads the market, even with the same session, cannot write.
        """
        account, rest = self._account, self.rest
        if live_orders and not self._transport.local:
            if self._orders is None:
                self._orders = Transport(self._root, account.egress, live_orders=True)
            rest = Rest(self._orders, self._session, self._limiter)
        feed = OrderFeed(
            account.order_feed_url or REAL_ORDER_FEED, self._session, account.egress, self._clock
        )
        return AngelOneVenue(
            rest, feed, self._instruments, self._clock, masked_code(account.client_code.reveal()),
            _identity(account), account.modify_quantity, account.egress.registered_address,
        )  # fmt: skip

    def market(self, run: str, label: str) -> AngelOneMarket:
        """Return the account's market data as *run*."""
        account, calendar, live = self._account, Calendar.load(), not is_rehearsal(run)
        feed = MarketFeed(
            account.feed_url or REAL_FEED,
            self._session,
            account.egress,
            self._clock,
            expected=lambda: not live or calendar.is_open(self._clock.now_us()),
            live=live,
        )
        named = f"{label}, data account {masked_code(account.client_code.reveal())}"
        return AngelOneMarket(self.rest, feed, self._instruments, calendar, self._clock, run, named)

    async def seen_address(self, url: str) -> str:
        """Return the address that *url* sees us come from, on the account's own egress.

        Raises:
            VenueUnavailable: It does not tell.
        """
        return await self._transport.seen_address(url)

    async def end(self) -> None:
        """End the session at the broker, then close."""
        await self._session.logout()
        await self.close()

    async def close(self) -> None:
        """Close the connections; the session stays valid until midnight."""
        await self._session.close()
        await self._transport.close()
        if self._orders is not None:
            await self._orders.close()


def make(
    account: BrokerAccount, home: Path, clock: Clock, instruments: Instruments, key: Secret | None = None
) -> Connection:
    """Return a connection, not open yet; see `broker.registry.connection`."""
    return Connection(account, home, clock, instruments, key)


def _identity(account: BrokerAccount) -> str:
    """Return the account's name among order managers; the code itself is not in it."""
    told = f"{account.base_url or REAL_ROOT} {account.client_code.reveal().upper()}"
    return f"angel_one-{blake2b(told.encode(), digest_size=8).hexdigest()}"
