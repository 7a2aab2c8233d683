"""Angel One's REST calls: typed in, typed out. Reads raise; order calls return what they came to.

A read may log in anew and be asked again once. An order call is sent ONCE, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from broker.angel_one import endpoints as at
from broker.angel_one import records as read
from broker.angel_one.endpoints import Bucket, Endpoint
from broker.angel_one.envelope import EMPTY_CODES, Reason, ReplyError
from broker.angel_one.fields import BadRow
from broker.angel_one.limits import Limiter, Slot
from broker.angel_one.outcome import lost, never_left, of_data, of_error
from broker.angel_one.session import REMEDIES, Session
from broker.angel_one.transport import AnswerLost, NeverLeft, Transport
from broker.base import PlaceOutcome
from shared.errors import VenueUnavailable

T = TypeVar("T")
QUOTE_MOST = 50
SEEN = "/sandbox/address"
"""Where a service on this machine tells which address a request comes from."""
Body = Mapping[str, object]


class Rest:
    """The calls of one account.

    Args:
        transport: Sends.
        session: Signs.
        limiter: Of this client code.

    Attributes:
        placed: Requests for a new order that were handed to the wire.
    """

    def __init__(self, transport: Transport, session: Session, limiter: Limiter) -> None:
        self._transport = transport
        self.session = session
        self._limiter = limiter
        self.placed = 0

    # -- orders: one send, an outcome ------------------------------------------------------------

    async def order_slot(self, *, entry: bool) -> Slot:
        """Wait for a place among the order calls."""
        return await self._limiter.slot(Bucket.ORDERS, entry=entry)

    def sent_before(self, sends: Sequence[tuple[float, bool]]) -> None:
        """Count order calls of an earlier process: seconds ago, and whether they were entries."""
        self._limiter.sent_before(Bucket.ORDERS, sends)

    async def place(self, body: Body, slot: Slot) -> PlaceOutcome:
        """Place an order."""
        return await self._order_call(at.PLACE, body, slot, intraday=body.get("variety") != "AMO")

    async def modify(self, body: Body, slot: Slot) -> PlaceOutcome:
        """Modify an order."""
        return await self._order_call(at.MODIFY, body, slot, intraday=False)

    async def cancel(self, orderid: str, variety: str, slot: Slot) -> PlaceOutcome:
        """Cancel an order."""
        body = {"variety": variety, "orderid": orderid}
        return await self._order_call(at.CANCEL, body, slot, intraday=False)

    async def gtt_create(self, body: Body) -> PlaceOutcome:
        """Create a GTT rule; one whose answer is lost is settled by the rule list, never sent again."""
        return await self._gtt(at.GTT_CREATE, body)

    async def gtt_modify(self, body: Body) -> PlaceOutcome:
        """Modify a GTT rule."""
        return await self._gtt(at.GTT_MODIFY, body)

    async def gtt_cancel(self, rule_id: str, token: str, exchange: str = "NSE") -> PlaceOutcome:
        """Cancel a GTT rule."""
        return await self._gtt(at.GTT_CANCEL, {"id": rule_id, "symboltoken": token, "exchange": exchange})

    @property
    def local(self) -> bool:
        """Whether its root is on this machine."""
        return self._transport.local

    async def seen_address(self, url: str) -> str:
        """Return the address that *url* sees us come from; on this machine the service itself is asked.

        Raises:
            VenueUnavailable: It does not tell.
        """
        return await self._transport.seen_address(f"{self._transport.root}{SEEN}" if self.local else url)

    # -- reads -----------------------------------------------------------------------------------

    async def profile(self) -> read.Profile:
        """Return who is logged in."""
        return _one(await self._read(at.PROFILE), read.profile)

    async def order_book(self) -> tuple[list[read.OrderRow], list[str]]:
        """Return the day's orders, and what of it could not be understood."""
        return _rows(await self._read(at.ORDER_BOOK), read.order_row)

    async def trade_book(self) -> tuple[list[read.TradeRow], list[str]]:
        """Return the day's executions, and what of it could not be understood."""
        return _rows(await self._read(at.TRADE_BOOK), read.trade_row)

    async def order_details(self, uniqueid: str) -> read.OrderRow:
        """Return one order by its unique id."""
        return _one(await self._read(at.DETAILS, more=quote(uniqueid, safe="")), read.order_row)

    async def positions(self) -> tuple[list[read.PositionRow], list[str]]:
        """Return the positions, and what of it could not be understood."""
        return _rows(await self._read(at.POSITIONS), read.position_row)

    async def holdings(self) -> tuple[list[read.HoldingRow], list[str]]:
        """Return the holdings, and what of it could not be understood."""
        return _rows(await self._read(at.HOLDINGS), read.holding_row)

    async def all_holdings(self) -> tuple[list[read.HoldingRow], list[str]]:
        """Return the holdings by way of the call that also has totals."""
        data = await self._read(at.ALL_HOLDINGS)
        return _rows(_object(data).get("holdings"), read.holding_row)

    async def funds(self) -> read.Funds:
        """Return the funds."""
        return _one(await self._read(at.RMS), read.funds)

    async def ltp(self, exchange: str, trading_symbol: str, token: str) -> int:
        """Return the last price, paise."""
        body = {"exchange": exchange, "tradingsymbol": trading_symbol, "symboltoken": token}
        data = await self._read(at.LTP, body)
        return _one(data, lambda row: read.quote_row({**row, "symbolToken": token})).last

    async def quotes(
        self, mode: str, tokens: Mapping[str, Sequence[str]]
    ) -> tuple[list[read.QuoteRow], list[str]]:
        """Return quotes of any number of tokens, fifty at a time, and what could not be had.

        Args:
            mode: LTP, OHLC or FULL.
            tokens: By exchange.
        """
        pairs = [(exchange, token) for exchange, each in tokens.items() for token in each]
        found: list[read.QuoteRow] = []
        missing: list[str] = []
        for start in range(0, len(pairs), QUOTE_MOST):
            asked: dict[str, list[str]] = {}
            for exchange, token in pairs[start : start + QUOTE_MOST]:
                asked.setdefault(exchange, []).append(token)
            data = _object(await self._read(at.QUOTE, {"mode": mode, "exchangeTokens": asked}))
            rows, unread = _rows(data.get("fetched"), read.quote_row)
            found += rows
            missing += unread
            gone, unread = _rows(data.get("unfetched"), _unfetched)
            missing += gone + unread
        return found, missing

    async def candles(
        self, exchange: str, token: str, interval: str, start: str, end: str
    ) -> tuple[list[read.CandleRow], list[str]]:
        """Return one request's candles.

        Args:
            exchange, token: The instrument.
            interval: ONE_MINUTE … ONE_DAY.
            start, end: `YYYY-MM-DD HH:MM`, IST.
        """
        body = {
            "exchange": exchange,
            "symboltoken": token,
            "interval": interval,
            "fromdate": start,
            "todate": end,
        }
        return _rows(await self._read(at.CANDLES, body), read.candle_row)

    async def search(self, exchange: str, text: str) -> list[read.Found]:
        """Return instruments whose name begins with *text*."""
        data = await self._read(at.SEARCH, {"exchange": exchange, "searchscrip": text})
        found, _ = _rows(
            data, lambda row: read.Found(row["exchange"], row["tradingsymbol"], row["symboltoken"])
        )
        return found

    async def margin(self, positions: Sequence[Body]) -> int:
        """Return the margin that a basket needs, paise."""
        data = await self._read(at.MARGIN, {"positions": list(positions)})
        return _one(data, read.margin)

    async def charges(self, orders: Sequence[Body]) -> read.Estimate:
        """Return the estimated charges of orders."""
        return _one(await self._read(at.CHARGES, {"orders": list(orders)}), read.estimate)

    async def intraday_permitted(self) -> dict[str, Decimal]:
        """Return the leverage of each symbol that may be traded INTRADAY."""
        found, _ = _rows(await self._read(at.INTRADAY), read.leverage)
        return dict(found)

    async def gtt_details(self, rule_id: str) -> read.RuleRow:
        """Return one GTT rule."""
        # The rule itself does not say its id.
        data = await self._read(at.GTT_DETAILS, {"id": rule_id})
        return _one(data, lambda row: read.rule_row({"id": rule_id, **row}))

    async def gtt_list(
        self, statuses: Sequence[str], page: int = 1, count: int = 50
    ) -> tuple[list[read.RuleRow], list[str]]:
        """Return a page of GTT rules, and what of it could not be understood."""
        body = {"status": list(statuses), "page": page, "count": count}
        return _rows(await self._read(at.GTT_LIST, body), read.rule_row)

    # -- inside ----------------------------------------------------------------------------------

    async def _order_call(
        self, endpoint: Endpoint, body: Body, slot: Slot, *, intraday: bool
    ) -> PlaceOutcome:
        """Send a call that changes something.

        Args:
            endpoint, body: What.
            slot: Reserved for it.
            intraday: An order id of the next session's kind is no acceptance.
        """
        tokens = self.session.current
        slot.use()
        too_many = gone = False
        self.placed += endpoint is at.PLACE
        try:
            answer = await self._transport.send(
                endpoint, endpoint.path, self.session.headers(), msgspec.json.encode(body)
            )
            return of_data(self.session.parsed(answer), intraday=intraday)
        except NeverLeft as error:
            return never_left(str(error))
        except AnswerLost as error:
            gone = True
            return lost(str(error))
        except ReplyError as error:
            too_many = error.reason is Reason.TOO_MANY
            if error.reason is Reason.SESSION:
                self.session.expired(tokens)
            return of_error(error)
        finally:
            slot.answered(too_many=too_many, lost=gone)

    async def _gtt(self, endpoint: Endpoint, body: Body) -> PlaceOutcome:
        slot = await self._limiter.slot(endpoint.bucket)
        return await self._order_call(endpoint, body, slot, intraday=False)

    async def _read(self, endpoint: Endpoint, body: Body | None = None, more: str = "") -> Any:
        """Return a read's data; log in and ask once more where the session is over.

        Raises:
            VenueUnavailable: No answer, or none that can be believed.
            LoginRefused: No session can be had.
        """
        encoded = msgspec.json.encode(body) if body is not None else b""
        for again in (True, False):
            tokens = await self.session.tokens()
            try:
                return await self._ask(endpoint, endpoint.path + more, encoded)
            except ReplyError as error:
                if error.reason is Reason.SESSION and again:
                    await self.session.renew(tokens)
                    continue
                if error.well_formed and error.status < 500 and error.code in EMPTY_CODES:
                    return None
                remedy = REMEDIES.get(error.code, "It is tried again later.")
                raise VenueUnavailable(f"{_name(endpoint)}: {error}.", remedy=remedy) from None
        raise AssertionError("the second time returns or raises")

    async def _ask(self, endpoint: Endpoint, path: str, body: bytes) -> Any:
        slot = await self._limiter.slot(endpoint.bucket)
        slot.use()
        too_many = gone = False
        try:
            answer = await self._transport.send(endpoint, path, self.session.headers(), body)
            return self.session.parsed(answer)
        except ReplyError as error:
            too_many = error.reason is Reason.TOO_MANY
            raise
        except (NeverLeft, AnswerLost) as error:
            gone = isinstance(error, AnswerLost)
            raise VenueUnavailable(
                f"{_name(endpoint)}: no answer ({error}).", remedy="It is tried again later."
            ) from None
        finally:
            slot.answered(too_many=too_many, lost=gone)


def _name(endpoint: Endpoint) -> str:
    return endpoint.path.rstrip("/").rpartition("/")[2]


def _one(data: Any, make: Callable[[Any], T]) -> T:
    """Return the one thing that was asked for.

    Raises:
        VenueUnavailable: It cannot be read.
    """
    try:
        return make(_object(data))
    except (BadRow, AttributeError, KeyError, TypeError) as error:
        raise VenueUnavailable(f"Angel One answered what cannot be read: {error}.") from None


def _unfetched(row: Any) -> str:
    return f"{row.get('symbolToken')}: {row.get('message')} ({row.get('errorCode')})"


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise VenueUnavailable("Angel One answered with something else than was asked for.")
    return data


def _rows(data: Any, make: Callable[[Any], T]) -> tuple[list[T], list[str]]:
    """Return what could be read of a list and, in words, what could not; null is an empty list."""
    if data is None or data == "":
        return [], []
    if not isinstance(data, list):
        raise VenueUnavailable("Angel One answered with something else than a list.")
    found: list[T] = []
    unread: list[str] = []
    for row in data:
        try:
            found.append(make(row))
        except (BadRow, AttributeError, KeyError, TypeError) as error:
            unread.append(f"{type(error).__name__}: {error}"[:200])
    return found, unread
