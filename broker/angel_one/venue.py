"""An Angel One account as a venue: our orders as LIMIT or SL-LIMIT, its books as ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from broker.angel_one.limits import Slot as LimiterSlot
from broker.angel_one.order_feed import OrderFeed, OrderUpdate
from broker.angel_one.outcome import AFTER_MARKET
from broker.angel_one.records import OrderRow, PositionRow, RuleRow, TradeRow
from broker.angel_one.rest import Rest
from broker.base import (
    ChangeOutcome,
    OrderTerms,
    PlaceOutcome,
    RuleState,
    Slot,
    VenueBook,
    VenueOrder,
    VenuePosition,
    VenueRule,
    VenueState,
    VenueTrade,
)
from shared.clock import DAY_US, IST_OFFSET_US, Clock, ist_day
from shared.errors import ConfigurationError, VenueUnavailable
from shared.instruments import Instrument, Instruments
from shared.models import OrderType, Product, Quote, Side

STATES = {
    "open": VenueState.WORKING,
    "open pending": VenueState.WORKING,
    "trigger pending": VenueState.WORKING,
    "validation pending": VenueState.WORKING,
    "put order req received": VenueState.WORKING,
    "modified": VenueState.WORKING,
    "modify pending": VenueState.WORKING,
    "modify validation pending": VenueState.WORKING,
    "not modified": VenueState.WORKING,
    "cancel pending": VenueState.WORKING,
    "not cancelled": VenueState.WORKING,
    "pending": VenueState.WORKING,
    "after market order req received": VenueState.WORKING,
    "modify after market order req received": VenueState.WORKING,
    "amo req received": VenueState.WORKING,
    "complete": VenueState.COMPLETE,
    "cancelled": VenueState.CANCELLED,
    "cancelled after market order": VenueState.CANCELLED,
    "rejected": VenueState.REJECTED,
}
"""The service's words for where an order is."""

RULE_STATES = {
    "NEW": RuleState.WAITING,
    "ACTIVE": RuleState.WAITING,
    "SENTTOEXCHANGE": RuleState.SENT,
    "CANCELLED": RuleState.ENDED,
}
"""The service's words for where a rule is; asked for by name, all of them."""

RULES_A_PAGE, MOST_PAGES = 50, 20
RULE_DAYS = 365

_VARIETY = {OrderType.LIMIT: "NORMAL", OrderType.SL_LIMIT: "STOPLOSS"}
_TYPE = {OrderType.LIMIT: "LIMIT", OrderType.SL_LIMIT: "STOPLOSS_LIMIT"}


class AngelOneVenue:
    """One account's orders.

    Args:
        rest: Its calls, with its session.
        feed: Its order feed: a hint, never the truth.
        instruments: Symbols and tokens.
        clock: The wall's time marks each reading of the books.
        account: Fit for a screen.
        identity: See `RemoteVenue`.
        modify_quantity: What the quantity of a modify means at the broker, `total` or `remaining`; nobody
            outside knows for sure.
        registered_address: See `RemoteVenue`.
    """

    name = "angel_one"

    def __init__(
        self,
        rest: Rest,
        feed: OrderFeed,
        instruments: Instruments,
        clock: Clock,
        account: str,
        identity: str,
        modify_quantity: str = "total",
        registered_address: str = "",
    ) -> None:
        self.account = account
        self.local = rest.local
        self.registered_address = registered_address
        self.identity = identity
        self._rest = rest
        self._feed = feed
        self._instruments = instruments
        self._by_token = {each.token: each for each in instruments if each.token}
        self._clock = clock
        self._modify_quantity = modify_quantity
        self._hints: list[Callable[[str], None]] = []
        feed.listen(self._hint)

    @property
    def placed(self) -> int:
        """Requests for a new order that went out over the wire so far."""
        return self._rest.placed

    @property
    def needs_code(self) -> bool:
        """Whether nobody but the account's owner can begin its next session."""
        return self._rest.session.needs_code

    async def log_in(self, code: str) -> None:
        """Begin a session with a one-time code that the owner has typed."""
        await self._rest.session.log_in(code)
        self._feed.start()

    async def seen_address(self, url: str) -> str:
        """Return the address that this account's traffic is seen to come from."""
        return await self._rest.seen_address(url)

    async def slot(self, *, entry: bool) -> Slot:
        """Wait for a place within the rate limits."""
        self._feed.start()
        return await self._rest.order_slot(entry=entry)

    def sent_before(self, sends: Sequence[tuple[float, bool]]) -> None:
        """Count order calls of an earlier process within the rate limits: seconds ago, and if an entry."""
        self._rest.sent_before(sends)

    async def place(self, tag: str, terms: OrderTerms, slot: Slot | None = None) -> PlaceOutcome:
        """Send one order, once."""
        return await self._rest.place(self._order(tag, terms), await self._own(slot, terms.entry))

    async def modify(
        self, venue_order_id: str, terms: OrderTerms, slot: Slot | None = None
    ) -> ChangeOutcome:
        """Ask once for new terms; the book shows whether they hold."""
        if self._modify_quantity == "remaining":
            terms = msgspec.structs.replace(terms, quantity=max(terms.quantity - terms.filled, 1))
        body = {"orderid": venue_order_id, **self._order("", terms)}
        body["variety"] = _variety(venue_order_id, terms)
        for name in ("ordertag", "transactiontype", "squareoff", "stoploss"):
            body.pop(name, None)
        return await self._rest.modify(body, await self._own(slot, False))

    async def cancel(
        self, venue_order_id: str, terms: OrderTerms, slot: Slot | None = None
    ) -> ChangeOutcome:
        """Ask once to cancel."""
        variety = _variety(venue_order_id, terms)
        return await self._rest.cancel(venue_order_id, variety, await self._own(slot, False))

    async def book(self) -> VenueBook:
        """Return the day's orders with their trades.

        The orders are read first: a trade that comes in between belongs to an order that is known.

        Raises:
            VenueUnavailable: A book cannot be read.
        """
        asked_us = self._clock.now_us()
        orders, unread = await self._rest.order_book()
        trades: dict[str, list[TradeRow]] = {}
        if any(order.filled for order in orders):
            rows, bad = await self._rest.trade_book()
            unread += bad
            for row in rows:
                trades.setdefault(row.orderid, []).append(row)
        found = []
        for order in orders:
            state = STATES.get(order.status)
            if state is None:
                unread.append(f"order {order.orderid}: status {order.status!r} is not known")
                continue
            if order.filled > order.quantity:
                unread.append(f"order {order.orderid}: {order.filled} of {order.quantity} shares filled")
                continue
            if order.side not in Side.__members__:
                unread.append(f"order {order.orderid}: side {order.side!r:.20} is not known")
                continue
            day = ist_day(order.updated_us or asked_us)
            found.append(self._venue_order(order, state, trades.get(order.orderid, []), day))
        return VenueBook(asked_us, tuple(found), tuple(unread))

    async def positions(self) -> list[VenuePosition]:
        """Return the day's net positions.

        Raises:
            VenueUnavailable: They cannot be read, or not all of them.
        """
        rows, unread = await self._rest.positions()
        if unread:
            raise VenueUnavailable(f"A position cannot be read: {unread[0]}.")
        return [
            VenuePosition(
                *(self._symbol(row), Product(row.product), row.net, max(row.last, 0)),
                *(row.bought, row.sold, row.paid, row.received),
            )
            for row in rows
            if row.product in Product.__members__
        ]

    async def prices(self, symbols: Sequence[str]) -> list[Quote]:
        """Return the prices of now of those *symbols* that can be had.

        Raises:
            VenueUnavailable: They cannot be read.
        """
        asked = {each.token: each for each in map(self._instruments.get, symbols)}
        tokens: dict[str, list[str]] = {}
        for each in asked.values():
            tokens.setdefault(each.exchange, []).append(each.token)
        rows, _ = await self._rest.quotes("FULL", tokens)
        now_us = self._clock.now_us()
        return [
            Quote(
                asked[row.token].symbol, row.last, row.feed_us or now_us, row.volume, now_us,
                row.bid, row.ask, row.lower, row.upper,
            )
            for row in rows
            if row.token in asked and row.last > 0
        ]  # fmt: skip

    async def holdings(self) -> dict[str, int]:
        """Return the shares in the demat account by symbol, those on their way included.

        Raises:
            VenueUnavailable: They cannot be read, or not all of them.
        """
        rows, unread = await self._rest.holdings()
        if unread:
            raise VenueUnavailable(f"A holding cannot be read: {unread[0]}.")
        held: dict[str, int] = {}
        for row in rows:
            known = self._by_token.get(row.token)
            symbol = known.symbol if known is not None else row.trading_symbol
            held[symbol] = held.get(symbol, 0) + row.quantity + row.t1
        return held

    async def cash_paise(self) -> int:
        """Return what is available, as the broker reckons it.

        Raises:
            VenueUnavailable: It cannot be read.
        """
        return (await self._rest.funds()).available

    async def rules(self) -> list[VenueRule]:
        """Return all rules, page by page.

        Raises:
            VenueUnavailable: They cannot be read, or not all of them.
        """
        found: list[VenueRule] = []
        for page in range(1, MOST_PAGES + 1):
            rows, unread = await self._rest.gtt_list(list(RULE_STATES), page, RULES_A_PAGE)
            for row in rows:
                if row.status not in RULE_STATES or row.side not in Side.__members__:
                    unread.append(f"rule {row.rule_id}: {row.status!r:.20} {row.side!r:.20}")
                elif row.product in Product.__members__:
                    found.append(self._rule(row))
            if unread:
                raise VenueUnavailable(f"A rule cannot be read: {unread[0]}.")
            if len(rows) < RULES_A_PAGE:
                return found
        raise VenueUnavailable(f"There are more than {MOST_PAGES * RULES_A_PAGE} rules.")

    async def put_rule(self, terms: OrderTerms) -> PlaceOutcome:
        """Ask once for a rule."""
        instrument = self._instruments.get(terms.symbol)
        return await self._rest.gtt_create(
            {
                "tradingsymbol": instrument.trading_symbol,
                "symboltoken": instrument.token,
                "exchange": instrument.exchange,
                "transactiontype": terms.side.value,
                "producttype": terms.product.value,
                "price": rupees_text(terms.price_paise),
                "qty": str(terms.quantity),
                "triggerprice": rupees_text(terms.trigger_paise),
                "disclosedqty": str(terms.quantity),
                "timeperiod": str(RULE_DAYS),
            }
        )

    async def drop_rule(self, rule_id: str, symbol: str) -> ChangeOutcome:
        """Ask once to cancel a rule."""
        instrument = self._instruments.get(symbol)
        return await self._rest.gtt_cancel(rule_id, instrument.token, instrument.exchange)

    def on_hint(self, listener: Callable[[str], None]) -> None:
        """Call *listener* with the tag of each order that has changed."""
        self._hints.append(listener)
        self._feed.start()

    async def close(self) -> None:
        """Close the order feed; harmless when repeated."""
        await self._feed.close()

    # -- inside ----------------------------------------------------------------------------------

    async def _own(self, slot: Slot | None, entry: bool) -> LimiterSlot:
        if isinstance(slot, LimiterSlot) and slot.usable:
            return slot
        return await self._rest.order_slot(entry=entry)

    def _order(self, tag: str, terms: OrderTerms) -> dict[str, object]:
        if terms.order_type not in _TYPE:
            raise ConfigurationError(
                f"{terms.order_type} orders are not sent to Angel One.",
                remedy="A LIMIT with protection is; see docs/adr.",
            )
        instrument = self._instruments.get(terms.symbol)
        body: dict[str, object] = {
            "variety": _VARIETY[terms.order_type],
            "tradingsymbol": instrument.trading_symbol,
            "symboltoken": instrument.token,
            "transactiontype": terms.side.value,
            "exchange": instrument.exchange,
            "ordertype": _TYPE[terms.order_type],
            "producttype": terms.product.value,
            "duration": "DAY",
            "price": rupees_text(terms.price_paise),
            "squareoff": "0",
            "stoploss": "0",
            "quantity": str(terms.quantity),
        }
        if terms.order_type is OrderType.SL_LIMIT:
            body["triggerprice"] = rupees_text(terms.trigger_paise)
        if tag:
            body["ordertag"] = tag
        return body

    def _venue_order(
        self, order: OrderRow, state: VenueState, trades: list[TradeRow], day: int
    ) -> VenueOrder:
        day_us = day * DAY_US - IST_OFFSET_US
        made = tuple(
            VenueTrade(trade.fill_id, trade.quantity, trade.price, day_us + trade.time_us)
            for trade in sorted(trades, key=_fill_order)
        )
        return VenueOrder(
            order.tag,
            order.orderid,
            self._symbol(order),
            Side(order.side),
            Product(order.product) if order.product in Product.__members__ else Product.INTRADAY,
            state,
            order.quantity,
            order.filled,
            order.price,
            order.updated_us,
            made,
            order.trigger,
            order.text,
            order.variety == "AMO",
            order.status,
        )

    def _rule(self, row: RuleRow) -> VenueRule:
        known = self._by_token.get(row.token)
        symbol = known.symbol if known is not None else row.trading_symbol
        return VenueRule(
            row.rule_id, RULE_STATES[row.status], symbol, Side(row.side), Product(row.product), row.quantity,
            row.price, row.trigger,
        )  # fmt: skip

    def _symbol(self, row: OrderRow | PositionRow) -> str:
        if row.exchange not in ("NSE", ""):
            # BSE names its shares as we do, `RELIANCE`: they are not ours.
            return f"{row.exchange}:{row.trading_symbol}"
        known: Instrument | None = self._by_token.get(row.token)
        return known.symbol if known is not None else row.trading_symbol

    def _hint(self, update: OrderUpdate) -> None:
        for listener in self._hints:
            listener(update.tag)


def _variety(venue_order_id: str, terms: OrderTerms) -> str:
    """Return the variety under which an order is known, whatever it shall become.

    A stop that becomes an exit is a LIMIT of the variety STOPLOSS; and the broker may have taken an order for
    the next day.
    """
    if venue_order_id.endswith(AFTER_MARKET):
        return "AMO"
    return _VARIETY[OrderType.SL_LIMIT if terms.stop else terms.order_type]


def rupees_text(paise: int) -> str:
    """Return paise as the service wants rupees: text with two decimals."""
    return f"{paise // 100}.{paise % 100:02d}"


def _fill_order(trade: TradeRow) -> tuple[int, int, str]:
    """Order of execution: the clock, then the number where it is one."""
    digits = trade.fill_id.isascii() and trade.fill_id.isdigit() and len(trade.fill_id) < 30
    number = int(trade.fill_id) if digits else 0
    return trade.time_us, number, trade.fill_id
