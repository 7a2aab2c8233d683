"""From a decided order to fills and books: claim, send, record, match, withdraw.

The half of the deciding core that knows venues; `order.desk` knows signals. Paper walks
NEW → SENDING → ACCEPTED → FILLED within one transaction; a remote venue's claim is committed before
its one send.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.base import StoreVenue, VenueCancel, VenueFill
from order.accounts import Account
from order.books import Book, BookKey
from order.charges import Charges
from order.journal import Journal
from order.lifecycle import FILLED_AT_ONCE, PLACED, Event
from order.orders import Changes, Order, Purpose
from order.risk import Refused
from order.users import Terms, User
from shared.calendar import Calendar
from shared.clock import ist_day
from shared.instruments import Instrument, Instruments
from shared.models import DONE_STATES, EXPOSED_STATES, OrderState, Quote, Target
from shared.quotes import Quotes

WITHDRAWN = "an exit came first"
NIFTY50_BPS, DERIVATIVES_BPS, OTHER_BPS = 3, 6, 30
# NIFTY 500 names would pay 12, but the instrument table does not know them: the dearer class is honest.


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
        seats: Who takes part, by (group, market, strategy, symbol); looked up once until a user changes.
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
    ) -> None:
        self.instruments = instruments
        self.calendar = calendar
        self.charges = charges
        self.venues = venues
        self.journal = journal
        self.port = port
        self.prices: dict[tuple[str, str], Quote] = {}
        self.at_work: dict[tuple[str, str], dict[int, Order]] = {}
        self.changes = Changes()
        self.seats: dict[tuple[str, int, int, int], list[Seat]] = {}
        self.users: dict[int, User] = {}
        self.signal_no = 0
        self.venue_no = 0
        self.fill_no = 0
        self._books: dict[BookKey, Book] = {}
        self._accounts: dict[tuple[int, int], Account] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._names: dict[int, str] = {}
        self._moved: dict[int, Order] = {}

    # -- what there is ---------------------------------------------------------------------------

    def next_signal(self) -> int:
        """Return the number of the next signal taken in."""
        self.signal_no += 1
        return self.signal_no

    def number(self, kind: str, name: str) -> int:
        """Return the small number that stands for *name* in the hot tables, making it where new."""
        number = self._numbers.get((kind, name))
        if number is None:
            number = len(self._numbers) + 1
            self.know_name(number, kind, name)
            self.changes.names.append((number, kind, name))
        return number

    def know_name(self, number: int, kind: str, name: str) -> None:
        """Take a stored number and name."""
        self._numbers[kind, name] = number
        self._names[number] = name

    def name_of(self, number: int) -> str:
        """Return the strategy that *number* stands for."""
        return self._names[number]

    def book(self, key: BookKey) -> Book:
        """Return the book at *key*, empty where there was none."""
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = Book(key)
        return book

    def know_book(self, book: Book) -> None:
        """Take a stored book at start; its user is known already."""
        self._books[book.key] = book
        user = self.users.get(book.key[4])
        if user is not None:
            self.account(user, book.key[0]).restore(book)

    def account(self, user: User, market_no: int) -> Account:
        """Return *user* in one market."""
        account = self._accounts.get((user.user_no, market_no))
        if account is None:
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

    def mark(self, run: str, symbol_no: int) -> int | None:
        """Return the latest price of an instrument in a market, paise."""
        quote = self.latest(run, self._names[symbol_no])
        return None if quote is None else quote.price_paise

    def latest(self, run: str, symbol: str) -> Quote | None:
        """Return the latest quote of *symbol* in market *run*."""
        if run == self.port.run and not run.startswith("replay"):
            return self.port.latest(symbol)
        return self.prices.get((run, symbol))

    # -- what happens to an order ----------------------------------------------------------------

    def moved(self, order: Order, event: Event, now_us: int) -> None:
        """Move *order* along the table and see to what follows: rows, journal, reservations."""
        was_exposed = order.state in EXPOSED_STATES
        if event is Event.NOT_SENT and order.purpose is Purpose.ENTRY:
            self._reserve(order, -order.remaining)  # an exit stays latched, with its shares reserved
        order.apply(event, now_us)
        self._note(order)
        if order.state in DONE_STATES:
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
        if order.purpose is Purpose.ENTRY:
            account.day_entries += 1
            book.day_entries += 1
        venue = self.venues.get(account.user.broker)
        if venue is None:
            order.apply(Event.CLAIM, now_us)
            self._reserve(order, order.quantity)
            self._note(order)
            self._keep(order)
            self.changes.sends.append(order)
            return
        self.venue_no += 1
        order.venue_no = self.changes.venue_no = self.venue_no
        fill = venue.place(order.terms(_slippage_bps(order.instrument)), quote)
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

    def match(self, order: Order, quote: Quote, now_us: int) -> None:
        """Let an in-store venue hold a resting order against a new price."""
        venue = self.venues.get(order.account.user.broker)
        if venue is None or order.state is OrderState.SENDING:
            return
        answer = venue.match(order.terms(_slippage_bps(order.instrument)), quote)
        order.met = order.met or quote.at_us > order.placed_us
        if isinstance(answer, VenueFill):
            self._record(order, answer, now_us)
        elif isinstance(answer, VenueCancel):
            order.rule = answer.reason
            self.moved(order, Event.CANCEL, now_us)

    def withdraw_entries(self, book: Book, now_us: int) -> None:
        """Take a book's entries off the venue, or off the waiting list, before an exit."""
        at_work = self.at_work.get((self._names[book.key[0]], self._names[book.key[2]]))
        if not at_work or not (book.entering or book.target is Target.FLAT):
            return
        for order in list(at_work.values()):
            if order.book is not book or order.purpose is not Purpose.ENTRY:
                continue
            if order.state is OrderState.NEW:
                order.rule = WITHDRAWN
                self.moved(order, Event.WITHDRAW, now_us)
            elif order.account.user.broker in self.venues:
                # Only a venue in this store cancels by our word; elsewhere it may be filled by now.
                order.rule = WITHDRAWN
                self.moved(order, Event.CANCEL, now_us)

    def journal_moves(self, kind: str, now_us: int, head: list[object]) -> None:
        """Journal all steps since the last call as one entry; nothing where nothing moved."""
        if self._moved or kind in ("signal", "direct"):
            self.changes.orders.update(self._moved)
            body = [head, [order.move() for order in self._moved.values()]]
            self.changes.journal.append(self.journal.entry(now_us, kind, body))
            for order in self._moved.values():
                order.path = order.state
            self._moved = {}

    def drain(self) -> Changes:
        """Return what has to be written and begin anew."""
        changes, self.changes = self.changes, Changes()
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
        total = self.charges.order_paise(order.side, order.product, order.value_paise, day)
        charges = total - order.charges_paise
        order.charges_paise = total
        if account.day < day:
            account.open_day(day)
        if book.day < day:
            book.open_day(day)
        realised = book.fill(order.side, quantity, fill.price_paise, charges)
        account.add_profit(book.key[1], realised - charges)
        self.fill_no += 1
        self.changes.fill_no = self.fill_no
        self.changes.fills.append(
            (
                order.signal_no,
                account.user.user_no,
                order.leg,
                order.slice_no,
                order.attempt,
                self.fill_no,
                quantity,
                fill.price_paise,
                charges,
                fill.at_us,
                fill.quote_paise,
                fill.quote_at_us,
            )
        )

    def _reserve(self, order: Order, quantity: int) -> None:
        book = order.book
        if order.purpose is Purpose.ENTRY:
            if order.state is not OrderState.NEW:
                book.entering += quantity
                book.entering_paise += quantity * order.price_paise
        else:
            book.exiting += quantity
        order.account.note(book)

    def _settle(self, order: Order) -> None:
        """After an order is done: a book with nothing in it wants nothing."""
        book = order.book
        if book.idle and book.target is not Target.FLAT:
            book.target = Target.FLAT
            self.changes.books[book.key] = book

    def _note(self, order: Order) -> None:
        if order.filled or order.state in EXPOSED_STATES:
            self.changes.books[order.book.key] = order.book
        self._moved[id(order)] = order

    def _keep(self, order: Order) -> None:
        self.at_work.setdefault((order.run, order.instrument.symbol), {})[id(order)] = order

    def unlist(self, order: Order) -> None:
        """Take *order* off those at work: it is done, or about to be sent anew."""
        orders = self.at_work.get((order.run, order.instrument.symbol))
        if orders is not None and orders.pop(id(order), None) is not None and not orders:
            del self.at_work[order.run, order.instrument.symbol]


def _slippage_bps(instrument: Instrument) -> int:
    if instrument.nifty50:
        return NIFTY50_BPS
    return DERIVATIVES_BPS if instrument.derivatives else OTHER_BPS
