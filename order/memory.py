"""What the order side keeps in memory: names, users, books, accounts, prices, orders at work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from broker.base import StoreVenue
from order.accounts import Account
from order.amend import Amendment
from order.books import Book, BookKey
from order.charges import Charges
from order.crossing import Crossings
from order.day_plan import DayPlans
from order.deliveries import Deliveries
from order.guards import Guard
from order.house import House
from order.journal import Journal
from order.orders import Changes, Order, Purpose
from order.policy import Policy
from order.risk import LIVE
from order.switches import Switches, book_scope
from order.users import Terms, User, thrifty, whole_paise
from order.wire import Line
from order.writer import ONLY_WRITER, Writer
from shared.calendar import Calendar
from shared.clock import IST_OFFSET_US, ist_day
from shared.instruments import Instruments
from shared.models import OrderState, Quote, Side, instant
from shared.quotes import Quotes

# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_ENTRY = Purpose.ENTRY

DEFAULT = Policy()

Seat = tuple[Account, Book, Terms]
"""Account, book and terms of one user who takes part in one strategy on one instrument."""


class Memory:
    """State of the order side.

    Attributes:
        port: Live or simulated prices.
        prices: Price of each replay's latest signal, by (run, symbol): what a replay decides on must
            not depend on how far its quotes have run ahead.
        at_work: Orders that are not done, by (run, symbol), oldest first.
        changes: Rows that the next commit writes.
        armed: Users with an account at a broker, by number: whether it takes entries. Memory only.
        switches: HALT, KILL and FLATTEN.
        silent: Markets whose prices have stopped, with the wall time since when; see `order.dead_man`.
        crossings: What the accounts of each family sent lately.
        deliveries: Shares of DELIVERY books by the day they were bought.
        seats: Who takes part, by (group, market, strategy, symbol); looked up once until a user changes.
        guards: Protection of books; `guards_of` by user, `guarded` by (run, symbol), `touched` those to which
            something has happened.
        houses: Sums over all accounts, by market.
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
        self.silent: dict[str, int] = {}
        self.crossings = Crossings()
        self.lines: dict[int, Line] = {}
        self.deliveries = Deliveries(calendar)
        self.signal_no = self.venue_no = self.fill_no = self.amend_no = writer.base
        self.houses: dict[int, House] = {}
        self._house_bounds = policy.house_gross, policy.house_loss_percent
        self._capital_paise = 0
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
        self.live = policy.live
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

    def know_sends(self, placed: Iterable[tuple[int, int, int]]) -> None:
        """Take the latest orders at start (user, market number, market time), oldest first: limits go on."""
        for user_no, market_no, placed_us in placed:
            if (user := self.users.get(user_no)) is not None:
                self.account(user, market_no).sends.append(placed_us)

    def account(self, user: User, market_no: int) -> Account:
        """Return *user* in one market."""
        if (account := self._accounts.get((user.user_no, market_no))) is None:
            house = self.houses.get(market_no)
            if house is None:
                house = self.houses[market_no] = House()
                house.size(self._capital_paise, *self._house_bounds)
            account = self._accounts[user.user_no, market_no] = Account(user, market_no, house)
        return account

    def know_user(self, user: User) -> None:
        """Take a user, new or changed; their positions and counts stay."""
        user = thrifty(user)
        for each, sign in ((self.users.get(user.user_no), -1), (user, 1)):
            if each is not None and each.enabled:
                self._capital_paise += sign * whole_paise(each.limits.capital_inr)
        for house in self.houses.values():
            house.size(self._capital_paise, *self._house_bounds)
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
        # A copy, for another thread may ask how an account stands.
        for (market_no, _, symbol_no, product, owner), book in list(self._books.items()):
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

    def turnover_crore(self, symbol: str) -> Decimal | None:
        """Return what a share turns over a day, crores of rupees, or None where it is not known."""
        return self.calendar.scrips.turnover_crore(symbol)

    def cash_paise(self, user: User) -> int | None:
        """Return what *user*'s broker says is available; None on paper, and where nobody has asked yet."""
        line = self.lines.get(user.user_no)
        if line is None or line.reconciled is None or user.broker in self.venues:
            return None
        return line.reconciled.cash_paise

    def crossing(self, user: User, run: str, symbol: str, side: Side, at_us: int) -> str | None:
        """Return which order of *user*'s family an entry could meet at the exchange, or None."""
        if not user.family:
            return None
        at_work = self.at_work.get((run, symbol), {}).values()
        return self.crossings.crossing((user.family, run, symbol), user.user_no, side, at_us, at_work)

    def no_entries(self, user: User, key: BookKey, day: int) -> tuple[str, str] | None:
        """Return the rule and the reason why a switch or *user*'s account lets none into a book, or None."""
        stopped = self.switches.refusal(*book_scope(key, self._names), day) if self.switches else None
        if stopped is not None:
            return stopped
        if self.silent and (since_us := self.silent.get(self._names[key[0]])):
            return "feed_silent", f"no price has come since {instant(since_us + IST_OFFSET_US):%H:%M:%S}"
        if user.broker in self.venues:
            return None
        if self.live and (market := self._names[key[0]]) != LIVE:
            return "not_live", f"real money follows the live market alone, not {market}"
        armed = self.armed.get(user.user_no)
        if armed is None:
            return "no_account", f"no account of {user.user_id} at {user.broker} is connected"
        return None if armed else ("not_armed", "the account takes exits only; `trading arm` opens it")

    def latest(self, run: str, symbol: str) -> Quote | None:
        """Return the latest quote of *symbol* in market *run*."""
        if run == self.port.run and not run.startswith("replay"):
            return self.port.latest(symbol)
        return self.prices.get((run, symbol))

    # -- inside ----------------------------------------------------------------------------------

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

    def _keep(self, order: Order) -> None:
        self.at_work.setdefault((order.run, order.instrument.symbol), {})[id(order)] = order
        # What waits unchecked for an exit counts once it has passed the gate.
        if order.purpose is _ENTRY and (order.queued or order.state is not OrderState.NEW):
            order.account.working.add(id(order))

    def unlist(self, order: Order) -> None:
        """Take *order* off those at work: it is done, or about to be sent anew."""
        orders = self.at_work.get((order.run, order.instrument.symbol))
        if orders is not None and orders.pop(id(order), None) is not None:
            order.account.working.discard(id(order))
            if not orders:
                del self.at_work[order.run, order.instrument.symbol]
