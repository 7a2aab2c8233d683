"""The nouns of the flow: tick, bar, signal, order, fill, position, user.

What travels is a frozen `msgspec.Struct`. Market-side prices are floats (statistics are made of
them); order-side prices and money are exact: `Decimal` rupees at every interface, whole paise inside
the stores. Instants are UTC: aware `datetime` at interfaces, microseconds since the epoch (`*_us`)
where millions of them pass. Quantities are whole shares.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import msgspec

SIGNAL_SCHEMA = 1
"""Version of `Signal` on the wire; a reader refuses one that it does not know."""

PAISE = Decimal(100)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Side(StrEnum):
    """Direction of one order."""

    __hash__ = str.__hash__

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """How an order is priced. MARKET goes to a broker as a LIMIT with protection, chased for a while."""

    __hash__ = str.__hash__

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    SL_LIMIT = "SL_LIMIT"
    """A LIMIT that sleeps until the price trades at its trigger."""


class Product(StrEnum):
    """INTRADAY is squared off the same day; DELIVERY is taken into the demat account."""

    __hash__ = str.__hash__

    INTRADAY = "INTRADAY"
    DELIVERY = "DELIVERY"


class SignalType(StrEnum):
    """What a strategy wants. BUY and SELL are read against what the user holds; HOLD is never sent."""

    __hash__ = str.__hash__

    BUY = "BUY"
    SELL = "SELL"
    HOLD = "HOLD"
    ENTER_LONG = "ENTER_LONG"
    EXIT_LONG = "EXIT_LONG"
    ENTER_SHORT = "ENTER_SHORT"
    EXIT_SHORT = "EXIT_SHORT"
    REVERSE = "REVERSE"


class Target(StrEnum):
    """The state that a strategy wants for one instrument."""

    __hash__ = str.__hash__

    FLAT = "FLAT"
    LONG = "LONG"
    SHORT = "SHORT"


class OrderState(StrEnum):
    """Where an order is. REFUSED is us, REJECTED is the broker or the exchange."""

    __hash__ = str.__hash__  # the default calls back into Python at every look-up

    NEW = "NEW"
    SENDING = "SENDING"
    UNKNOWN = "UNKNOWN"
    ACCEPTED = "ACCEPTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    ABSENT = "ABSENT"
    REVIEW = "REVIEW"


DONE_STATES = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.REJECTED,
        OrderState.REFUSED,
        OrderState.EXPIRED,
        OrderState.ABSENT,
    }
)
"""Nothing more happens to these by itself."""

AT_VENUE_STATES = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})
"""The venue holds the order and may fill it."""

EXPOSED_STATES = frozenset({OrderState.SENDING, OrderState.UNKNOWN, OrderState.REVIEW}) | AT_VENUE_STATES
"""What is not filled yet and may still be: it counts as exposure."""


class Disposition(StrEnum):
    """How one signal ended for one user."""

    ORDERED = "ORDERED"
    ALREADY_THERE = "ALREADY_THERE"
    NOTHING_TO_EXIT = "NOTHING_TO_EXIT"
    TOO_SMALL = "TOO_SMALL"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    ABSENT = "ABSENT"
    REVIEW = "REVIEW"


class Tick(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One trade or quote print of an instrument.

    Attributes:
        symbol: Trading symbol, as in `data/symbol_token_map.json`.
        at_us: Exchange time, microseconds since the epoch, UTC.
        price: Last traded price, rupees.
        volume: Shares traded since the previous tick (not the day's total).
    """

    symbol: str
    at_us: int
    price: float
    volume: int = 0

    @property
    def at(self) -> datetime:
        """Exchange time as an aware UTC instant."""
        return instant(self.at_us)


class Bar(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One closed bar.

    Attributes:
        symbol: Trading symbol.
        timeframe: `1m`, `5m`, `1d`, …
        start_us: First instant of the bar, microseconds since the epoch, UTC.
        close_us: First instant after the bar; a decision on this bar happens then.
        open, high, low, close: Rupees.
        volume: Shares traded within the bar.
    """

    symbol: str
    timeframe: str
    start_us: int
    close_us: int
    open: float
    high: float
    low: float
    close: float
    volume: int = 0

    @property
    def closed_at(self) -> datetime:
        """Closing instant, aware UTC."""
        return instant(self.close_us)


class Quote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The latest price of an instrument as the order side sees it.

    Attributes:
        symbol: Trading symbol.
        price_paise: Last traded price, paise.
        at_us: Market time of the price, microseconds since the epoch, UTC.
        volume: Shares traded in the bar or tick that gave this price; bounds a paper fill.
        received_us: Wall time at which it reached us; 0 where the market time is all there is.
        bid_paise, ask_paise: The touch; 0 where not known.
        lower_paise, upper_paise: Circuit limits; 0 where not known.
    """

    symbol: str
    price_paise: int
    at_us: int
    volume: int = 0
    received_us: int = 0
    bid_paise: int = 0
    ask_paise: int = 0
    lower_paise: int = 0
    upper_paise: int = 0

    @property
    def price(self) -> Decimal:
        """Last traded price, rupees."""
        return Decimal(self.price_paise) / PAISE


class Signal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A strategy's wish for one instrument, as it travels on the bus.

    Attributes:
        signal_id: 32 hex characters; see `shared.ids.signal_id`.
        run: Whose clock it lives on: `live`, `sim`, or `replay-<fingerprint>[.n]`.
        price: Reference price at the decision, rupees on the tick grid; never a limit.
        bar_close: Market time of the decision.
        bar_volume: Shares traded in the deciding bar.
        accepted_at: Wall time at which the engine accepted it.
        valid_until: Wall time after which an entry is EXPIRED; an exit never is.
        confidence: 0 to 1, meaning stated by the strategy; filters entries, never sizes.
        stop, target: Protective and profit price, rupees, where the strategy gives them.
        add: Adds to an existing position of the same direction instead of ALREADY_THERE.
        leg: Distinguishes several signals of one strategy on one bar.
        quantity: Shares that the strategy names, for users who take a multiple of it; 0: none.
    """

    schema: int = SIGNAL_SCHEMA
    signal_id: str
    run: str
    strategy_id: str
    symbol: str
    timeframe: str
    signal_type: SignalType
    price: Decimal
    bar_close: datetime
    accepted_at: datetime
    valid_until: datetime
    confidence: float = 1.0
    reason: str = ""
    bar_volume: int = 0
    stop: Decimal | None = None
    target: Decimal | None = None
    add: bool = False
    leg: int = 0
    quantity: int = 0

    @property
    def action(self) -> SignalType:
        """The same as `signal_type`."""
        return self.signal_type


class OrderResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `OrderManager.execute_order` returns.

    Attributes:
        order_id: Our tag, 17 characters; the same for a repeated `client_order_id`.
        average_price: Rupees per share over the filled quantity; 0 while nothing is filled.
    """

    order_id: str
    status: OrderState
    filled_quantity: int
    average_price: Decimal
    message: str

    def to_dict(self) -> dict[str, object]:
        """Return a plain dict; `average_price` stays a `Decimal`."""
        return msgspec.structs.asdict(self)


def is_rehearsal(run: str) -> bool:
    """Return whether *run* is a market of our own making: always in session, on a clock of its own."""
    return run == "sim" or run.startswith("sandbox")


def instant(at_us: int) -> datetime:
    """Return *at_us* (microseconds since the epoch) as an aware UTC datetime, exactly."""
    return EPOCH + timedelta(microseconds=at_us)


def microseconds(at: datetime) -> int:
    """Return an aware *at* as whole microseconds since the epoch.

    Raises:
        ValueError: *at* is naive; an instant without a zone is a guess.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone; give an aware datetime")
    return (at - EPOCH) // _MICROSECOND


def paise(price: Decimal) -> int:
    """Return *price* in rupees as whole paise.

    Raises:
        ValueError: *price* has a fraction of a paisa or is not finite.
    """
    scaled = price * PAISE
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"{price} is not a whole number of paise")
    return int(scaled)


def rupees(amount_paise: int) -> Decimal:
    """Return whole paise as exact rupees with two decimals."""
    return Decimal(amount_paise).scaleb(-2)
