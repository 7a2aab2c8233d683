"""From a decided order to fills and books: claim, send, record, match, withdraw.

The half of the deciding core that knows venues; `order.desk` knows signals. Paper walks
NEW → SENDING → ACCEPTED → FILLED within one transaction; a remote venue's claim is committed before
its one send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.base import StoreVenue, VenueCancel, VenueFill, VenueWake
from order.accounts import Account
from order.amend import Amendment
from order.books import Book, BookKey
from order.charges import Charges
from order.day_plan import DayPlans
from order.deliveries import Deliveries
from order.guards import Guard
from order.journal import Journal
from order.lifecycle import FILLED_AT_ONCE, PLACED, Event
from order.orders import Changes, Order, Purpose
from order.policy import Policy
from order.risk import Refused
from order.slippage import slippage_bps
from order.switches import Switches, book_scope
from order.users import Terms, User
from order.wire import Line, Wire
from order.writer import ONLY_WRITER, Writer
from shared.calendar import Calendar
from shared.clock import ist_day
from shared.instruments import Instruments
from shared.models import DONE_STATES, EXPOSED_STATES, OrderState, Product, Quote, Side, Target
from shared.quotes import Quotes

WITHDRAWN = "an exit came first"

# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_ENTRY, _DELIVERY, _FLAT = Purpose.ENTRY, Product.DELIVERY, Target.FLAT

DEFAULT = Policy()

Seat = tuple[Account, Book, Terms]
"""Account, book and terms of one user who takes part in one strategy on one instrument."""


class Execution:
    """State of the order side, and what happens to an order once it is decided.

    Attributes:
        port: Live or simulated prices.
        prices: Price of each replay's latest signal, by (run, symbol): what a replay decides on must
            not depend on how far its quotes have run ahead.
        at_work: Orders that are not done, by (run, symbol), oldest first.
        changes: Rows that the next commit writes.
        armed: Users with an account at a broker, by number: whether it takes entries. Memory only.
        switches: HALT, KILL and FLATTEN.
        deliveries: Shares of DELIVERY books by the day they were bought.
        seats: Who takes part, by (group, market, strategy, symbol); looked up once until a user changes.
        guards: Protection of books; `guards_of` by user, `guarded` by (run, symbol), `touched` those to which
            something has happened.
        plans, bells: When a day's positions are closed; the next such moment by (run, symbol).
        stop_becomes_exit, modify_is_total: See `order.policy.Policy`.
        amend_no: Number of the latest request about an order at a broker.
    """

    def __init__(
        self,
        *,
        instruments: Instruments,
        calendar: Calendar,
        charges: Charges,
        venues: Mapping[str, StoreVenue],
        journal: Journal,
        port: Quotes,
        armed: dict[int, bool] | None = None,
        policy: Policy = DEFAULT,
        writer: Writer = ONLY_WRITER,
    ) -> None:
        self.instruments = instruments
        self.calendar = calendar
        self.charges = charges
        self.venues = venues
        self.journal = journal
        self.port = port
        self.prices: dict[tuple[str, str], Quote] = {}
        self.at_work: dict[tuple[str, str], dict[int, Order]] = {}
        self.writer = writer
        self.changes = Changes(writer=writer)
        self.seats: dict[tuple[str, int, int, int], list[Seat]] = {}
        self.users: dict[int, User] = {}
        self.armed = armed if armed is not None else {}
        self.switches = Switches()
        self.lines: dict[int, Line] = {}
        self.deliveries = Deliveries(calendar)
        self.signal_no = self.venue_no = self.fill_no = self.amend_no = writer.base
        self._books: dict[BookKey, Book] = {}
        self._accounts: dict[tuple[int, int], Account] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._names: dict[int, str] = {}
        self._moved: dict[int, Order] = {}
        self.guards: dict[BookKey, Guard] = {}
        self.guards_of: dict[int, dict[BookKey, Guard]] = {}
        self.guarded: dict[tuple[str, str], dict[BookKey, Guard]] = {}
        self.touched: dict[BookKey, Guard] = {}
        self.stop_becomes_exit, self.modify_is_total = policy.stop_becomes_exit, policy.modify_is_total
        self.plans = DayPlans(calendar, policy.square_off)
        self.bells: dict[tuple[str, str], int] = {}
        self._amended: dict[int, Amendment] = {}

    # -- what there is ---------------------------------------------------------------------------

    def next_signal(self) -> int:
        """Return the number of the next signal taken in."""
        self.signal_no += 1
        return self.signal_no

    def number(self, kind: str, name: str) -> int:
        """Return the small number that stands for *name* in the hot tables, making it where new."""
        if (number := self._numbers.get((kind, name))) is None:
            number = self.writer.base + len(self._numbers) + 1
            self.know_name(number, kind, name)
            self.changes.names.append((number, kind, name))
        return number

    def known_number(self, kind: str, name: str) -> int | None:
        """Return the number that stands for *name*, or None where there is none yet."""
        return self._numbers.get((kind, name))

    def know_name(self, number: int, kind: str, name: str) -> None:
        """Take a stored number and name."""
        self._numbers[kind, name] = number
        self._names[number] = name

    def name_of(self, number: int) -> str:
        """Return the strategy that *number* stands for."""
        return self._names[number]

    def book(self, key: BookKey) -> Book:
        """Return the book at *key*, empty where there was none."""
        if (book := self._books.get(key)) is None:
            book = self._books[key] = Book(key)
        return book

    def know_book(self, book: Book) -> None:
        """Take a stored book at start; its user is known already."""
        self._books[book.key] = book
        if (user := self.users.get(book.key[4])) is not None:
            self.account(user, book.key[0]).restore(book)

    def know_deliveries(self, fills: Iterable[tuple[BookKey, Side, int, int]]) -> None:
        """Take the stored fills of open DELIVERY books at start (shares, market time), oldest first."""
        for key, side, quantity, at_us in fills:
            instrument = self.instruments.get(self._names[key[2]])
            self.deliveries.fill(key, instrument, side, quantity, ist_day(at_us))

    def account(self, user: User, market_no: int) -> Account:
        """Return *user* in one market."""
        if (account := self._accounts.get((user.user_no, market_no))) is None:
            account = self._accounts[user.user_no, market_no] = Account(user, market_no)
        return account

    def know_user(self, user: User) -> None:
        """Take a user, new or changed; their positions and counts stay."""
        self.users[user.user_no] = user
        self.seats.clear()
        for (user_no, _), account in self._accounts.items():
            if user_no == user.user_no:
                account.become(user)

    def know_order(self, order: Order) -> None:
        """Take a stored order that is not done, at start."""
        order.fresh = False
        order.path = order.state
        self._keep(order)
        self._reserve(order, order.remaining)

    def positions(self, user_no: int, run: str) -> dict[tuple[str, str], int]:
        """Return a user's net shares by symbol and product in market *run*; what is flat is left out."""
        found: dict[tuple[str, str], int] = {}
        for (market_no, _, symbol_no, product, owner), book in self._books.items():
            if owner == user_no and book.quantity and self._names[market_no] == run:
                key = self._names[symbol_no], product
                found[key] = found.get(key, 0) + book.quantity
        return found

    def engaged(self, user_no: int) -> bool:
        """Whether a user holds something, or has an order that is not done."""
        held = (account.open_books for (number, _), account in self._accounts.items() if number == user_no)
        at_work = (order for orders in self.at_work.values() for order in orders.values())
        return any(held) or any(order.user.user_no == user_no for order in at_work)

    def open_books(self, run: str) -> list[Book]:
        """Return the books of market *run* that hold something."""
        return [
            book for key, book in self._books.items() if book.quantity and self._names[key[0]] == run
        ]

    def mark(self, run: str, symbol_no: int) -> int | None:
        """Return the latest price of an instrument in a market, paise."""
        quote = self.latest(run, self._names[symbol_no])
        return None if quote is None else quote.price_paise

    def no_entries(self, user: User, key: BookKey, day: int) -> tuple[str, str] | None:
        """Return the rule and the reason why a switch or *user*'s account lets none into a book, or None."""
        stopped = self.switches.refusal(*book_scope(key, self._names), day) if self.switches else None
        if stopped is not None:
            return stopped
        if user.broker in self.venues:
            return None
        armed = self.armed.get(user.user_no)
        if armed is None:
            return "no_account", f"no account of {user.user_id} at {user.broker} is connected"
        return None if armed else ("not_armed", "the account takes exits only; `trading arm` opens it")

    def latest(self, run: str, symbol: str) -> Quote | None:
        """Return the latest quote of *symbol* in market *run*."""
        if run == self.port.run and not run.startswith("replay"):
            return self.port.latest(symbol)
        return self.prices.get((run, symbol))

    # -- what happens to an order ----------------------------------------------------------------

    def moved(self, order: Order, event: Event, now_us: int) -> None:
        """Move *order* along the table and see to what follows: rows, journal, reservations."""
        was_exposed = order.state in EXPOSED_STATES or order.queued
        if event is Event.NOT_SENT and order.purpose is not Purpose.EXIT:
            self._reserve(order, -order.remaining)  # an exit stays latched, with its shares reserved
        order.apply(event, now_us)
        self._note(order)
        if order.state in DONE_STATES:
            if order.wire is not None:
                order.wire.queued = False
            if was_exposed:
                self._reserve(order, -order.remaining)
            self.unlist(order)
            self._settle(order)

    def refuse(self, order: Order, refused: Refused, now_us: int) -> None:
        """End *order* before it is sent; the row keeps the rule and why."""
        order.rule = str(refused)
        self.moved(order, Event.REFUSE, now_us)

    def wait(self, order: Order) -> None:
        """Keep *order* as NEW: a latched exit, or an entry that waits for a flat book."""
        self._note(order)
        self._keep(order)

    def send(self, order: Order, quote: Quote | None, now_us: int) -> None:
        """Claim *order* and hand it to its venue."""
        account, book = order.account, order.book
        account.sends.append(order.placed_us)
        # What did not leave us before is the same entry when it goes out again.
        if order.purpose is _ENTRY and order.wire is None:
            account.day_entries += 1
            book.day_entries += 1
        venue = self.venues.get(account.user.broker)
        if venue is None:
            self.queue(order)
            return
        self.venue_no += 1
        order.venue_no = self.changes.venue_no = self.venue_no
        fill = venue.place(order.terms(slippage_bps(order.instrument)), quote)
        if fill is not None and fill.quantity == order.quantity:
            # All within this transaction: nothing is ever at work, so nothing is reserved.
            order.walk(FILLED_AT_ONCE, now_us)
            self._book(order, fill)
            account.note(book)
            self._note(order)
            if not book.quantity:
                self._settle(order)
            return
        order.walk(PLACED, now_us)
        self._reserve(order, order.quantity)
        self._note(order)
        self._keep(order)
        if fill is not None:
            self._record(order, fill, now_us)

    def queue(self, order: Order) -> None:
        """Let *order* wait for its turn at its broker, in slices below the exchange's freeze quantity.

        An entry of that size is refused by a rule; an exit has to get out whatever has come together.
        """
        freeze = order.instrument.freeze_quantity
        if freeze is not None and order.quantity >= freeze:
            most = max((freeze - 1) // order.instrument.lot, 1) * order.instrument.lot
            rest, order.quantity = order.quantity - most, most
            number = order.slice_no
            while rest > 0:
                number += 1
                part = order.sibling(number, order.attempt, min(rest, most))
                rest -= part.quantity
                self._queue(part)
        self._queue(order)

    def _queue(self, order: Order) -> None:
        if order.wire is None:
            order.wire = Wire()
        order.wire.queued = True
        self._reserve(order, order.quantity)
        self._note(order)
        self._keep(order)
        self.changes.sends.append(order)

    def match(self, order: Order, quote: Quote, now_us: int) -> None:
        """Let an in-store venue hold a resting order against a new price."""
        venue = self.venues.get(order.account.user.broker)
        if venue is None or order.state is OrderState.SENDING:
            return
        answer = venue.match(order.terms(slippage_bps(order.instrument)), quote)
        order.met = order.met or quote.at_us > order.placed_us
        if isinstance(answer, VenueWake):
            self.set_trigger(order, 0)
            answer = venue.match(order.terms(slippage_bps(order.instrument)), quote)
        if isinstance(answer, VenueFill):
            self._record(order, answer, now_us)
        elif isinstance(answer, VenueCancel):
            order.rule = answer.reason
            self.moved(order, Event.CANCEL, now_us)

    def set_trigger(self, order: Order, trigger_paise: int) -> None:
        """Let *order* sleep until a price, or with 0 wake it."""
        order.trigger_paise = trigger_paise
        self.changes.triggers.append((*order.key(), trigger_paise))
        self._note(order)

    def withdraw_entries(self, book: Book, now_us: int) -> None:
        """Take a book's entries off the venue, or off the waiting list, before an exit."""
        at_work = self.at_work.get((self._names[book.key[0]], self._names[book.key[2]]))
        if not at_work or not (book.entering or book.target is _FLAT):
            return
        for order in list(at_work.values()):
            if order.book is not book or order.purpose is not Purpose.ENTRY:
                continue
            self.withdraw(order, WITHDRAWN, now_us)

    def withdraw(self, order: Order, why: str, now_us: int) -> None:
        """Take an entry off its venue, or off the waiting list."""
        if order.state is OrderState.NEW:
            order.rule = why
            self.moved(order, Event.WITHDRAW, now_us)
        elif order.account.user.broker in self.venues:
            order.rule = why
            self.moved(order, Event.CANCEL, now_us)
        elif order.wire is not None:
            # Only a venue in this store cancels by our word; elsewhere it may be filled by now.
            order.wire.cancel = True

    def journal_moves(self, kind: str, now_us: int, head: list[object]) -> None:
        """Journal all steps since the last call as one entry; nothing where nothing moved."""
        if self.touched and kind != "restart":
            self.look_after(now_us)
        if self._moved or kind in ("signal", "direct"):
            self.changes.orders.update(self._moved)
            body = [head, [order.move() for order in self._moved.values()]]
            self.changes.journal.append(self.journal.entry(now_us, kind, body))
            for order in self._moved.values():
                order.path = order.state
            self._moved = {}

    def end_request(self, order: Order) -> None:
        """Settle the request about an order that has ended."""

    def look_after(self, now_us: int) -> None:
        """See to the stops of all books that something has happened to."""

    def drain(self) -> Changes:
        """Return what has to be written and begin anew."""
        changes, self.changes = self.changes, Changes(writer=self.writer)
        return changes

    # -- inside ----------------------------------------------------------------------------------

    def _record(self, order: Order, fill: VenueFill, now_us: int) -> None:
        """Book a fill of an order that was at work."""
        self._book(order, fill)
        self._reserve(order, -fill.quantity)
        order.apply(Event.FILL if order.filled < order.quantity else Event.COMPLETE, now_us)
        self._note(order)
        if order.state is OrderState.FILLED:
            self.unlist(order)
            self._settle(order)

    def _book(self, order: Order, fill: VenueFill) -> None:
        """Enter a fill into order, book and day, and make its row."""
        quantity, book, account = fill.quantity, order.book, order.account
        order.filled += quantity
        order.value_paise += quantity * fill.price_paise
        day = ist_day(fill.at_us)
        kind = order.instrument.kind
        total = self.charges.order_paise(order.side, order.product, order.value_paise, day, kind)
        charges = total - order.charges_paise
        order.charges_paise = total
        if account.day < day:
            account.open_day(day)
        if book.day < day:
            book.open_day(day)
        if order.product is _DELIVERY:
            self.deliveries.fill(book.key, order.instrument, order.side, quantity, day)
        realised = book.fill(order.side, quantity, fill.price_paise, charges)
        account.add_profit(book.key[1], realised - charges)
        self.fill_no += 1
        self.changes.fill_no = self.fill_no
        self.changes.fills.append(
            (
                *order.key(), self.fill_no, quantity, fill.price_paise, charges, fill.at_us,
                fill.quote_paise, fill.quote_at_us,
            )
        )  # fmt: skip

    def _reserve(self, order: Order, quantity: int) -> None:
        book = order.book
        if order.purpose is _ENTRY:
            if order.state is not OrderState.NEW or order.queued:
                book.entering += quantity
                book.entering_paise += quantity * order.price_paise
        elif order.purpose is Purpose.STOP:
            if order.state is not OrderState.NEW or order.queued:
                book.stopping += quantity
        else:
            book.exiting += quantity
        order.account.note(book)

    def _settle(self, order: Order) -> None:
        """After an order is done: a book with nothing in it wants nothing."""
        book = order.book
        if book.idle and book.target is not _FLAT:
            book.target = _FLAT
            self.changes.books[book.key] = book

    def _note(self, order: Order) -> None:
        if order.filled or order.state in EXPOSED_STATES:
            self.changes.books[order.book.key] = order.book
        self._moved[id(order)] = order
        if order.wire is not None and order.wire.amend is not None:
            self.end_request(order)
        if self.guards:
            guard = self.guards.get(order.book.key)
            if guard is not None:
                self.touched[order.book.key] = guard

    def _keep(self, order: Order) -> None:
        self.at_work.setdefault((order.run, order.instrument.symbol), {})[id(order)] = order

    def unlist(self, order: Order) -> None:
        """Take *order* off those at work: it is done, or about to be sent anew."""
        orders = self.at_work.get((order.run, order.instrument.symbol))
        if orders is not None and orders.pop(id(order), None) is not None and not orders:
            del self.at_work[order.run, order.instrument.symbol]
