"""What a venue is: the one Protocol behind which paper and Angel One stand.

Two kinds differ in where their truth lies. A `StoreVenue` (paper) has no outside world: the order
room plays its answers into the same transaction that holds the order. A `RemoteVenue` is asked over a
wire: the claim is committed first, then ONE request goes out, and a lost answer is `Unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from shared.models import OrderType, Product, Quote, Side


class OrderTerms(msgspec.Struct, frozen=True, gc=False):
    """What a venue needs to know of an order.

    Attributes:
        side: BUY or SELL.
        quantity: Shares still to be filled, > 0.
        order_type: MARKET, LIMIT or SL_LIMIT; a remote venue never gets MARKET, but a LIMIT with protection.
        product: INTRADAY or DELIVERY.
        price_paise: The limit of a LIMIT or SL_LIMIT order; the reference of a MARKET order.
        entry: False for an exit, which has no time limit.
        placed_us: Market time at which it reached the venue, microseconds since the epoch.
        symbol: Trading symbol.
        tick_paise: Price grid.
        met: A price has been held against it since it was placed.
        slippage_bps: Half spread and slippage of a fill, 1/100 of a percent.
        trigger_paise: Price that wakes an SL_LIMIT; 0 for the others, and for one that is awake.
        filled: Shares filled so far, as we know it.
        stop: It is, or began as, an SL_LIMIT; on paper its fills pay double slippage: many want out at once.
    """

    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    price_paise: int
    entry: bool
    placed_us: int
    symbol: str
    tick_paise: int
    slippage_bps: int
    met: bool = False
    trigger_paise: int = 0
    stop: bool = False
    filled: int = 0


class VenueFill(msgspec.Struct, frozen=True, gc=False):
    """Shares filled at one price, with the quote that gave it.

    Attributes:
        quantity: Shares, > 0.
        price_paise: Per share, on the grid.
        at_us: Market time.
        quote_paise, quote_at_us: The quote used.
    """

    quantity: int
    price_paise: int
    at_us: int
    quote_paise: int
    quote_at_us: int


@dataclass(frozen=True, slots=True)
class VenueCancel:
    """The venue took the rest of the order off its book."""

    reason: str


@dataclass(frozen=True, slots=True)
class VenueWake:
    """The price has met the trigger of an SL_LIMIT order: from now on it is a LIMIT."""


VenueAnswer = VenueFill | VenueCancel | VenueWake | None
"""What an in-store venue says of a resting order at a new price; None: nothing happens."""


class StoreVenue(Protocol):
    """A venue whose answers are played into the order store's own transaction."""

    name: str
    profile: str

    def place(self, terms: OrderTerms, quote: Quote | None) -> VenueFill | VenueCancel | None:
        """Take an order; return what fills at once, or why it ends at once, or None where it rests."""
        ...

    def match(self, terms: OrderTerms, quote: Quote) -> VenueAnswer:
        """Hold a resting order against a newer quote."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue has the order."""

    venue_order_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The venue refused the order, and says so in words that are known to mean it."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """The request provably did not leave us."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer is lost, late or not understood: the order may be at the venue."""

    reason: str


PlaceOutcome = Accepted | Rejected | NotSent | Unknown
"""What one send came to; an order call never raises for a lost answer and is never repeated."""

ChangeOutcome = PlaceOutcome
"""The same for a modify or a cancel: Accepted says that the venue has the request, not that it is done."""


class VenueState(StrEnum):
    """Where an order is at the venue."""

    WORKING = "WORKING"
    """Taken, pending, open, waiting for its trigger, partly filled."""
    COMPLETE = "COMPLETE"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"


class VenueTrade(msgspec.Struct, frozen=True, gc=False):
    """One execution at the venue.

    Attributes:
        fill_id: The venue's, unique within the order.
        price_paise: Per share.
        at_us: Venue time, microseconds since the epoch, UTC.
    """

    fill_id: str
    quantity: int
    price_paise: int
    at_us: int


class VenueOrder(msgspec.Struct, frozen=True, gc=False):
    """One order as the venue's books show it.

    Attributes:
        tag: The `ordertag` that we sent; empty for foreign orders.
        quantity, filled: Shares; `filled` may be ahead of `trades` for a moment.
        price_paise: Its limit now.
        trigger_paise: Its trigger now; 0 where it has none.
        trades: In the order of execution.
        reason: The venue's words for a rejection or cancellation.
        after_market: The venue holds it for the next session.
        raw_status: The venue's word for the state.
    """

    tag: str
    venue_order_id: str
    symbol: str
    side: Side
    product: Product
    state: VenueState
    quantity: int
    filled: int
    price_paise: int
    updated_us: int
    trades: tuple[VenueTrade, ...] = ()
    trigger_paise: int = 0
    reason: str = ""
    after_market: bool = False
    raw_status: str = ""


class VenueBook(msgspec.Struct, frozen=True, gc=False):
    """One reading of a day's orders and trades of one account.

    Attributes:
        asked_us: Wall time just before the reading was asked for: what happened later may be missing.
        orders: All that were understood.
        unread: Rows that could not be understood, in words; a book with such rows proves no absence.
    """

    asked_us: int
    orders: tuple[VenueOrder, ...]
    unread: tuple[str, ...] = ()


class VenuePosition(msgspec.Struct, frozen=True, gc=False):
    """Net shares of one instrument and product at the venue; negative is short.

    Attributes:
        price_paise: Last traded; 0 where it is not told.
        bought, sold: Shares of this day; 0 where they are not told.
        paid_paise, received_paise: What these came to, before charges; 0 where it is not told.
    """

    symbol: str
    product: Product
    quantity: int
    price_paise: int = 0
    bought: int = 0
    sold: int = 0
    paid_paise: int = 0
    received_paise: int = 0


class RuleState(StrEnum):
    """Where a rule that outlives the day is at the venue."""

    WAITING = "WAITING"
    SENT = "SENT"
    """Its price has come: the venue has made an order of it, which carries no tag."""
    ENDED = "ENDED"
    """Cancelled, expired, refused."""


class VenueRule(msgspec.Struct, frozen=True, gc=False):
    """An order that the venue keeps over days until a price comes (GTT); it has no tag.

    Attributes:
        rule_id: The venue's.
        price_paise: Limit of the order that it becomes.
        trigger_paise: Price that it waits for.
    """

    rule_id: str
    state: RuleState
    symbol: str
    side: Side
    product: Product
    quantity: int
    price_paise: int
    trigger_paise: int


class Slot(Protocol):
    """A place within the venue's rate limits, reserved for one order call."""

    def free(self) -> None:
        """Give back a slot that was not used; harmless after use."""
        ...


class RemoteVenue(Protocol):
    """One account at a venue behind a wire."""

    name: str
    account: str
    """Who it is, fit for a screen: the client code with its middle masked."""

    identity: str
    """Name that the same account at the same endpoint has everywhere, and no other; tells no secret."""

    local: bool
    """It is on this machine: nothing that it does is for real."""

    registered_address: str
    """The IPv4 address from which the broker takes orders; empty: not known here."""

    @property
    def placed(self) -> int:
        """Requests for a new order that went out over the wire so far, whoever wanted them."""

    async def slot(self, *, entry: bool) -> Slot:
        """Wait for a place within the rate limits; the claim comes after it, so that no claim gets old.

        Args:
            entry: Entries may use a part of each window only; the rest is kept for exits and cancels.
        """
        ...

    def sent_before(self, sends: Sequence[tuple[float, bool]]) -> None:
        """Count an earlier process's order calls within the rate limits: seconds ago, and if an entry."""

    async def place(self, tag: str, terms: OrderTerms, slot: Slot | None = None) -> PlaceOutcome:
        """Send one order, once; never raise for a lost answer and never retry.

        Args:
            tag: 17 characters, goes out as `ordertag`; at most one venue order may carry it.
            terms: LIMIT or SL_LIMIT.
            slot: Reserved before; without one the call waits for its own.
        """
        ...

    async def modify(
        self, venue_order_id: str, terms: OrderTerms, slot: Slot | None = None
    ) -> ChangeOutcome:
        """Ask for new price, trigger and quantity of an order, once.

        Args:
            venue_order_id: As accepted.
            terms: How the order shall be: its total quantity, not what remains.
            slot: Reserved before; without one the call waits for its own.
        """
        ...

    async def cancel(
        self, venue_order_id: str, terms: OrderTerms, slot: Slot | None = None
    ) -> ChangeOutcome:
        """Ask once to cancel; that it is cancelled shows in the book."""
        ...

    async def book(self) -> VenueBook:
        """Return the day's orders with their trades.

        Raises:
            VenueUnavailable: No answer, or none that can be believed.
        """
        ...

    async def positions(self) -> list[VenuePosition]:
        """Return the day's net positions.

        Raises:
            VenueUnavailable: No answer, or none that can be believed.
        """
        ...

    async def prices(self, symbols: Sequence[str]) -> list[Quote]:
        """Return the prices of now of those *symbols* that can be had, with touch and circuit limits.

        Raises:
            VenueUnavailable: No answer, or none that can be believed.
        """
        ...

    async def holdings(self) -> dict[str, int]:
        """Return the shares in the demat account by symbol, those on their way included.

        Raises:
            VenueUnavailable: No answer, or none that can be believed.
        """
        ...

    async def cash_paise(self) -> int:
        """Return what is available, as the broker reckons it.

        Raises:
            VenueUnavailable: No answer, or none that can be believed.
        """
        ...

    async def rules(self) -> list[VenueRule]:
        """Return all rules, also those that have ended: what is not among them was never made.

        Raises:
            VenueUnavailable: They cannot be read, or not all of them.
        """
        ...

    async def put_rule(self, terms: OrderTerms) -> PlaceOutcome:
        """Ask once for a rule; one whose answer is lost is settled by `rules`, never sent again.

        Args:
            terms: SL_LIMIT, DELIVERY: trigger, limit and quantity.
        """
        ...

    async def drop_rule(self, rule_id: str, symbol: str) -> ChangeOutcome:
        """Ask once to cancel a rule; that it is cancelled shows in `rules`."""
        ...

    @property
    def needs_code(self) -> bool:
        """Whether nobody but the account's owner can begin its next session."""
        ...

    async def log_in(self, code: str) -> None:
        """Begin a session with a one-time *code* that the owner has typed.

        Raises:
            LoginRefused: The broker says no.
            VenueUnavailable: It cannot be reached.
        """
        ...

    async def seen_address(self, url: str) -> str:
        """Return the IPv4 address that this account's traffic is seen to come from.

        Args:
            url: Is asked where the venue is on another machine; one on this machine is asked itself.

        Raises:
            VenueUnavailable: Nobody tells.
        """
        ...

    def on_hint(self, listener: Callable[[str], None]) -> None:
        """Call *listener* with the tag of each order that the order feed says has changed.

        A hint only: the book is the truth. An empty tag is another's order, or a feed that was away.
        """

    async def close(self) -> None:
        """Close connections; harmless when repeated."""
