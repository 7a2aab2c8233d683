"""A broker's account that answers as told: for faults that come when a test wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from broker.base import (
    Accepted,
    ChangeOutcome,
    OrderTerms,
    PlaceOutcome,
    Slot,
    Unknown,
    VenueBook,
    VenueOrder,
    VenuePosition,
    VenueRule,
    VenueState,
    VenueTrade,
)
from shared.errors import VenueUnavailable
from shared.models import Product, Quote, Side

if TYPE_CHECKING:
    from order.amend import Amendment
    from order.orders import Order
    from tests.order.conftest import Room

Answer = PlaceOutcome | BaseException
LOST = Unknown("time-out")


def row(
    tag: str,
    state: VenueState = VenueState.WORKING,
    *,
    filled: int = 0,
    quantity: int = 10,
    side: Side = Side.BUY,
    price: int = 250_000,
    order_id: str = "v1",
    at_us: int = 0,
    trades: tuple[VenueTrade, ...] | None = None,
    reason: str = "",
    after_market: bool = False,
    symbol: str = "RELIANCE",
) -> VenueOrder:
    """Return an order as a broker's book shows it; one trade for all that is filled, unless told."""
    if trades is None:
        trades = (VenueTrade(f"{order_id}-1", filled, price, at_us),) if filled else ()
    return VenueOrder(
        tag, order_id, symbol, side, Product.INTRADAY, state, quantity, filled, price, at_us, trades,
        reason=reason, after_market=after_market,
    )  # fmt: skip


def book(asked_us: int, *orders: VenueOrder, unread: tuple[str, ...] = ()) -> VenueBook:
    """Return one reading."""
    return VenueBook(asked_us, orders, unread)


class Ticket:
    """A place within no limits."""

    def __init__(self) -> None:
        self.freed = False

    def free(self) -> None:
        self.freed = True


class ScriptedVenue:
    """See above.

    Attributes:
        answers: To the next sends, in turn; the last one repeats.
        orders: What the books show.
        broken, broken_quotes: The books, the prices cannot be read.
        cash: Paise; below 0: it cannot be read.
        now_us: Wall time, for the readings.
    """

    name = "wire"
    account = "W***1"

    def __init__(self, *answers: Answer, now_us: Callable[[], int] = lambda: 0) -> None:
        self.now_us = now_us
        self.identity = f"wire-{uuid4().hex}"
        self.answers = list(answers) or [Accepted("v1")]
        self.posts: list[tuple[str, OrderTerms]] = []
        self.changes: list[tuple[str, str, OrderTerms | None]] = []
        self.orders: list[VenueOrder] = []
        self.held: list[VenuePosition] = []
        self.demat: dict[str, int] = {}
        self.quotes: list[Quote] = []
        self.sends: list[tuple[float, bool]] = []
        self.asked: list[list[str]] = []
        self.kept: list[VenueRule] = []
        self.broken = self.broken_quotes = False
        self.needs_code = False
        self.local = True
        self.registered_address = ""
        self.address = "127.0.0.1"
        self.cash = 10_000_000
        self.codes: list[str] = []
        self.reads = 0
        self.tickets: list[Ticket] = []
        self.go = asyncio.Event()
        self.go.set()
        self._hints: list[Callable[[str], None]] = []

    @property
    def placed(self) -> int:
        return len(self.posts)

    async def seen_address(self, url: str) -> str:
        if not self.address:
            raise VenueUnavailable(f"{url} does not tell our address.")
        return self.address

    async def log_in(self, code: str) -> None:
        self.codes.append(code)
        self.needs_code = False

    async def slot(self, *, entry: bool) -> Slot:
        await self.go.wait()
        self.tickets.append(Ticket())
        return self.tickets[-1]

    def sent_before(self, sends: Sequence[tuple[float, bool]]) -> None:
        self.sends = list(sends)

    async def place(self, tag: str, terms: OrderTerms, slot: Slot | None = None) -> PlaceOutcome:
        self.posts.append((tag, terms))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def modify(
        self, venue_order_id: str, terms: OrderTerms, slot: Slot | None = None
    ) -> ChangeOutcome:
        self.changes.append(("modify", venue_order_id, terms))
        return Accepted(venue_order_id)

    async def cancel(
        self, venue_order_id: str, terms: OrderTerms, slot: Slot | None = None
    ) -> ChangeOutcome:
        self.changes.append(("cancel", venue_order_id, terms))
        return Accepted(venue_order_id)

    async def book(self) -> VenueBook:
        self.reads += 1
        if self.broken:
            raise VenueUnavailable("The book is torn.")
        return book(self.now_us(), *self.orders)

    async def positions(self) -> list[VenuePosition]:
        return self.held

    async def prices(self, symbols: Sequence[str]) -> list[Quote]:
        self.asked.append(list(symbols))
        if self.broken_quotes:
            raise VenueUnavailable("No quotes.")
        return [quote for quote in self.quotes if quote.symbol in symbols]

    async def holdings(self) -> dict[str, int]:
        return self.demat

    async def cash_paise(self) -> int:
        if self.cash < 0:
            raise VenueUnavailable("No funds.")
        return self.cash

    async def rules(self) -> list[VenueRule]:
        if self.broken:
            raise VenueUnavailable("The list is torn.")
        return self.kept

    async def put_rule(self, terms: OrderTerms) -> PlaceOutcome:
        self.changes.append(("put_rule", "", terms))
        return Accepted("r1")

    async def drop_rule(self, rule_id: str, symbol: str) -> ChangeOutcome:
        self.changes.append(("drop_rule", rule_id, None))
        return Accepted(rule_id)

    def on_hint(self, listener: Callable[[str], None]) -> None:
        self._hints.append(listener)

    def hint(self, tag: str = "") -> None:
        """Say that something has changed, as the order feed does."""
        for listener in self._hints:
            listener(tag)

    async def close(self) -> None:
        return None


RUN = "sandbox-test"


def price(room: Room, paise: int = 250_000, bid: int = 0, ask: int = 0) -> None:
    """Bring a fresh price."""
    now_us = room.clock.now_us()
    room.board.update([Quote("RELIANCE", paise, room.at_us, 1000, now_us, bid, ask)])


def send(room: Room, kind: str = "BUY") -> Order:
    """Take a signal and claim the order that it makes."""
    (order,) = room.take(room.received(room.signal(kind, run=RUN)))
    assert room.books.claim(order)
    return order


def report(room: Room, reading: VenueBook, held: int | None = None) -> list[Order]:
    """Take one reading of the broker's books, and of its position where told."""
    if held is None:
        return room.books.report(1, reading)
    return room.books.report(1, reading, [VenuePosition("RELIANCE", Product.INTRADAY, held)])


def carry_out(room: Room, step: Amendment, outcome: ChangeOutcome | None = None) -> None:
    """Claim a request about an order and book the broker's answer; it takes it, unless told."""
    assert claim(room, step)
    answer = outcome or Accepted(step.venue_order_id)
    room.books.answer_amendment(step.key[1], step.tag, step.number, answer)


def claim(room: Room, step: Amendment) -> bool:
    """Claim a request about an order; return whether it shall go out."""
    return room.books.claim_amendment(step.key[1], step.tag, step.number) is not None


def amendments(room: Room) -> list[str]:
    """Return kind and stored state of all requests about orders."""
    found = room.query("SELECT kind, state FROM amendments ORDER BY number")
    return [f"{kind} {state}" for kind, state in found]


def states(room: Room) -> list[str]:
    """Return the stored states of all orders."""
    return [each.state for each in room.rows()]


def fills(room: Room) -> list[tuple[int, int]]:
    """Return shares and price of each stored fill."""
    return [
        (int(q), int(p)) for q, p in room.query("SELECT quantity, price_paise FROM fills ORDER BY fill_no")
    ]


def rest(room: Room) -> Order:
    """Let a LIMIT order by hand rest at the broker; nobody follows its price."""
    room.direct(order_type="LIMIT", price=2490)
    order: Order = next(
        each for each in room.books.desk.at_work[RUN, "RELIANCE"].values() if each.state == "NEW"
    )
    assert room.books.claim(order)
    room.books.answer(order, Accepted("v1"))
    report(room, book(room.clock.now_us(), row(order.tag, price=249_000)))
    return order


def hold(room: Room) -> None:
    """Buy ten shares and wait a while."""
    order = send(room)
    room.books.answer(order, Accepted("v1"))
    report(room, book(room.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    assert room.held(run=RUN) == 10
    room.later(5)
    price(room)
