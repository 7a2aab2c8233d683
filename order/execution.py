"""From a decided order to fills and books: claim, send, record, match, withdraw.

The half of the deciding core that knows venues; `order.desk` knows signals. Paper walks
NEW → SENDING → ACCEPTED → FILLED within one transaction; a remote venue's claim is committed before
its one send.
"""

from __future__ import annotations

from broker.base import VenueCancel, VenueFill, VenueWake
from order.books import Book
from order.lifecycle import FILLED_AT_ONCE, PLACED, Event
from order.memory import Memory
from order.orders import Changes, Order, Purpose
from order.risk import Refused
from order.slippage import slippage_bps
from order.wire import Wire
from shared.clock import ist_day
from shared.models import DONE_STATES, EXPOSED_STATES, OrderState, Product, Quote, Target

WITHDRAWN = "an exit came first"

# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_ENTRY, _DELIVERY, _FLAT = Purpose.ENTRY, Product.DELIVERY, Target.FLAT


class Execution(Memory):
    """What happens to an order once it is decided."""

    def moved(self, order: Order, event: Event, now_us: int) -> None:
        """Move *order* along the table and see to what follows: rows, journal, reservations."""
        was_exposed = order.state in EXPOSED_STATES or order.queued
        if event is Event.NOT_SENT and order.purpose is not Purpose.EXIT:
            self._reserve(order, -order.remaining)  # an exit stays latched, with its shares reserved
        if event is Event.EXPIRE and order.wire is not None and order.wire.held:
            order.rule = f"not sent: {order.wire.held}"
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
        self.crossings.note(order, order.placed_us)
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
        if isinstance(fill, VenueFill) and fill.quantity == order.quantity:
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
        if isinstance(fill, VenueCancel):
            order.rule = fill.reason
            self.moved(order, Event.CANCEL, now_us)
        elif fill is not None:
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
