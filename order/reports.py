"""Orders at a broker: claimed one by one, followed by what its books say, and by nothing else.

The half of the deciding core that faces a wire. An answer that is lost makes an order UNKNOWN; only the
broker's books say what became of it: found by its tag, or absent in several good readings long enough
after the send. A reading that lacks orders seen before proves nothing, and nothing ever goes backwards.
"""

from __future__ import annotations

import structlog

from broker.base import (
    Accepted,
    NotSent,
    PlaceOutcome,
    Rejected,
    VenueBook,
    VenueFill,
    VenueOrder,
    VenueState,
)
from order import chase
from order.accounts import Account
from order.books import Book
from order.cover import Cover
from order.lifecycle import Event
from order.orders import CORRECTION_LEG, MANUAL, Order, Purpose
from order.resolver import FATE_UNKNOWN, Evidence, Nets, Resolver, pause_us
from order.risk import STALE_QUOTE_US, Refused, quote_age_us
from order.wire import Line, Wire
from shared.clock import ist_day
from shared.models import DONE_STATES, EXPOSED_STATES, OrderState, OrderType, Product, Quote, Side

UNCOVERED_US = 5_000_000
"""An exit of what the broker does not show is looked at again after so long."""

log = structlog.get_logger(__name__)


class Reports(Resolver):
    """Claims, answers, and readings of a broker's books."""

    def claim(self, order: Order, now_us: int) -> bool:
        """Claim *order*, which has a place within the rate limits; False where it shall not go out (now).

        What was decided when it was queued is looked at again: minutes may have passed.
        """
        wire = order.wire
        if wire is None or not wire.queued or order.state is not OrderState.NEW:
            return False
        quote = self.latest(order.run, order.instrument.symbol)
        reaches = self._reaches_open_market(order, now_us)
        if not reaches or (order.purpose is Purpose.EXIT and not self._covered(order, wire, now_us)):
            if not reaches:
                self._too_late(order, wire, now_us)
            self.journal_moves("claim", now_us, [order.tag])
            return False
        if order.purpose is Purpose.ENTRY and not self._still_wanted(order, quote, now_us):
            self.journal_moves("claim", now_us, [order.tag])
            return False
        if order.purpose is not Purpose.ENTRY:
            quote, fresh = self.exit_price_now(order, now_us)
            wire.blind = not fresh
        arrival = chase.touch(order.side, quote) if quote is not None else order.price_paise
        wire.queued = wire.cancel = False
        wire.limit_paise = 0
        wire.sent_us = wire.anchored_us = wire.changed_us = now_us
        wire.lost_us = wire.settled_us = 0
        wire.stuck_us = wire.stuck_us or now_us
        wire.arrival_paise = wire.anchor_paise = arrival
        if order.order_type is OrderType.MARKET:
            wire.limit_paise = self._limit(order, wire, quote, 0.0, now_us) or arrival
        else:
            wire.limit_paise = order.price_paise
        wire.first_paise = wire.limit_paise
        order.apply(Event.CLAIM, now_us)
        self.crossings.note(order, self.market_us(order.run, order.instrument, now_us))
        self._note(order)
        self._write(order)
        self.line(order.user.user_no).orders[order.tag] = order
        self.journal_moves("claim", now_us, [order.tag, wire.limit_paise])
        return True

    def answer(self, order: Order, outcome: PlaceOutcome, now_us: int) -> None:
        """Book what a broker answered to one send; a lost answer is UNKNOWN, never a guess.

        The books may have told more in the meantime: what they say counts.
        """
        wire, state = order.wire, order.state
        assert wire is not None, "only claimed orders are sent"
        undecided = state in (OrderState.SENDING, OrderState.UNKNOWN)
        if isinstance(outcome, Accepted):
            if state not in DONE_STATES:
                self._accepted(order, outcome.venue_order_id, now_us)
        elif isinstance(outcome, Rejected):
            if undecided:
                order.rule = outcome.reason
                self.fate_known(order, now_us)
                self.moved(order, Event.REJECT, now_us)
                self.try_exit_again(order, now_us)
            else:
                log.error("refused, and at the broker all the same", tag=order.tag, why=outcome.reason)
        elif isinstance(outcome, NotSent):
            if undecided:
                self.moved(order, Event.NOT_SENT, now_us)
                wire.sent_us = 0
                wire.not_before_us = now_us + pause_us(wire.failures)
                wire.failures += 1
                wire.held = outcome.reason
                if order.purpose is Purpose.ENTRY and 0 < order.valid_until_us < now_us:
                    self.moved(order, Event.EXPIRE, now_us)
        elif state is OrderState.SENDING:
            order.rule = outcome.reason
            self.lost(order, now_us)
            log.warning("an order's fate is not known", tag=order.tag, why=outcome.reason)
        self.journal_moves("answer", now_us, [type(outcome).__name__])

    def report(self, user_no: int, book: VenueBook, now_us: int, nets: Nets | None = None) -> None:
        """Take one reading of a broker's books, and of the positions just after them where they were read."""
        line = self.line(user_no)
        today = ist_day(book.asked_us)
        _open_day(line, today)
        rows: dict[str, list[VenueOrder]] = {}
        for row in book.orders:
            rows.setdefault(row.tag, []).append(row)
        ids = {row.venue_order_id for row in book.orders}
        whole = not book.unread and line.known_ids <= ids and line.day == ist_day(now_us) == today
        self._know_ids(user_no, ids)
        line.asked_us, line.rows, line.foreign = book.asked_us, book.orders, 0
        if nets is not None:
            line.nets = dict(nets)
        if whole:
            line.cover.read(
                book.orders,
                lambda row: row.tag in line.orders or row.tag in line.ended,
                *(line.booked, book.asked_us),
            )
        for tag, found in rows.items():
            order = line.orders.get(tag)
            if order is None:
                line.foreign += 0 if tag in line.ended else len(found)
                continue
            ours = [row for row in found if _same(order, row)]
            if len(ours) < len(found):
                log.error("another order carries the tag of one of ours", tag=tag)
                line.foreign += len(found) - len(ours)
                whole = False
            if len(ours) > 1:
                self.doubled(order, len(ours), now_us)
            if ours:
                known = order.wire.venue_order_id if order.wire is not None else ""
                first = next((row for row in ours if row.venue_order_id == known), ours[0])
                self._resize(order, first)
                self._seen(order, first, now_us)
                self._read_back(order, first, book.asked_us, now_us)
        evidence = Evidence(book.asked_us, whole, nets)
        for tag, order in list(line.orders.items()):
            if tag not in rows:
                self._not_seen(order, evidence, now_us)
        self.journal_moves("report", now_us, [user_no])

    # -- inside ----------------------------------------------------------------------------------

    def _too_late(self, order: Order, wire: Wire, now_us: int) -> None:
        """Send nothing into a closed market: an exit stays latched, everything else is over."""
        if order.purpose is Purpose.ENTRY:
            self.refuse(order, Refused("session", "the market had closed when its turn came"), now_us)
        elif order.purpose is Purpose.STOP:
            order.rule = "the market had closed when its turn came"
            self.moved(order, Event.WITHDRAW, now_us)
        else:
            wire.queued = False
            log.error("EXIT_HELD: the market is closed", tag=order.tag, symbol=order.instrument.symbol)

    def _covered(self, order: Order, wire: Wire, now_us: int) -> bool:
        """Bring an exit down to what the position has and the broker shows; False where that is nothing now.

        What the broker's account does not show stays latched: it may be a reading between two fills, or a
        close from outside that is booked soon.
        """
        if order.leg == CORRECTION_LEG:
            return True
        line, key = self.line(order.user.user_no), (order.instrument.symbol, order.product.value)
        held = order.book.quantity if order.side is Side.SELL else -order.book.quantity
        held = max(held - (order.book.exiting - order.quantity), 0)
        if held < order.quantity:
            shares = order.quantity
            log.warning("an exit is larger than the position", tag=order.tag, held=held, shares=shares)
            if not held:
                order.rule = "nothing is left to exit"
                self.moved(order, Event.WITHDRAW, now_us)
                return False
            self._shrink(order, held)
        most = self.cover(order.account, order.book, order.side, now_us, [order])
        if most is None:
            # Missing data holds up no exit: the book stands, but for what the last comparison lacked.
            most = 0 if order.product is Product.DELIVERY and key in line.uncovered else order.quantity
        if key in line.closing:
            most = 0
        if most >= order.quantity:
            return True
        log.error(
            "EXIT_HELD: the broker's position is less than ours", tag=order.tag, symbol=key[0],
            shares=order.quantity, shown=most,
        )  # fmt: skip
        if not most:
            wire.queued = False
            wire.not_before_us = now_us + UNCOVERED_US
            return False
        self.latch_part(order, order.quantity - most, Wire(not_before_us=now_us + UNCOVERED_US))
        order.book.exiting += order.quantity - most
        self._shrink(order, most)
        return True

    def _shrink(self, order: Order, quantity: int) -> None:
        self._reserve(order, quantity - order.quantity)
        order.quantity = quantity
        self._note(order)

    def cover(self, account: Account, book: Book, side: Side, now_us: int, but: list[Order]) -> int | None:
        """Return how many shares of *book* may be sold or bought back by what the broker shows.

        None where no reading is young enough, and for DELIVERY, whose shares lie in the demat account, too.

        Args:
            account, book: What to leave.
            side: Of the order that does.
            now_us: Wall time.
            but: The orders that do; all others that are at the broker may fill before.
        """
        _, _, symbol_no, product, user_no = book.key
        if product == Product.DELIVERY:
            return None
        line, books = self.line(user_no), account.open_books.values()
        ours = sum(each.quantity for each in books if each.key[2:4] == (symbol_no, product))
        net = line.cover.net((self._names[symbol_no], product), ours, now_us)
        if net is None:
            return None
        at_work = sum(
            each.remaining
            for each in line.orders.values()
            if each.state in EXPOSED_STATES
            and each.purpose is not Purpose.ENTRY
            and (each.book.key[2:4], each.side) == ((symbol_no, product), side)
            and not any(each is one for one in but)
        )
        return max((net if side is Side.SELL else -net) - at_work, 0)

    def _still_wanted(self, order: Order, quote: Quote | None, now_us: int) -> bool:
        """End an entry that has become too old or too blind to go out."""
        at_us, symbol = self.market_us(order.run, order.instrument, now_us), order.instrument.symbol
        closed = self.no_entries(order.user, order.book.key, ist_day(at_us))
        crossing = self.crossing(order.user, order.run, symbol, order.side, at_us)
        frozen = self.frozen(order.user.user_no, order.instrument.symbol)
        if order.valid_until_us and now_us > order.valid_until_us:
            self.moved(order, Event.EXPIRE, now_us)
        elif closed is not None:
            self.refuse(order, Refused(*closed), now_us)
        elif frozen is not None:
            self.refuse(order, Refused("frozen", f"the fate of order {frozen} is not known"), now_us)
        elif crossing is not None:
            self.refuse(order, Refused("crossing", crossing), now_us)
        elif (order.order_type is OrderType.MARKET or order.run != MANUAL) and (
            quote is None or quote_age_us(order.run, quote, now_us) > STALE_QUOTE_US
        ):
            self.refuse(order, Refused("stale_quote", "no fresh price when its turn came"), now_us)
        else:
            return True
        return False

    def _accepted(self, order: Order, venue_order_id: str, now_us: int) -> None:
        wire = order.wire
        assert wire is not None, "only claimed orders are at a broker"
        if venue_order_id and not wire.venue_order_id:
            wire.venue_order_id = venue_order_id
            wire.failures = wire.absent_reads = 0
            _open_day(self.line(order.user.user_no), ist_day(now_us))
            self._know_ids(order.user.user_no, {venue_order_id})
            self._write(order)
        elif venue_order_id and venue_order_id != wire.venue_order_id:
            self.doubled(order, 2, now_us)
        if order.state in FATE_UNKNOWN:
            if order.state is not OrderState.SENDING:
                order.rule = ""  # why its fate was not known is in the journal
            self.fate_known(order, now_us)
            self.moved(order, Event.ACCEPT, now_us)
        elif order.state in (OrderState.ABSENT, OrderState.REJECTED):
            self._shown_after_all(order, now_us)

    def _know_ids(self, user_no: int, ids: set[str]) -> None:
        """Remember orders that the broker has shown or named: a later reading without them is not whole."""
        line = self.line(user_no)
        fresh = ids - line.known_ids
        line.known_ids |= fresh
        self.changes.seen_ids.extend((user_no, line.day, order_id) for order_id in sorted(fresh))

    def _seen(self, order: Order, row: VenueOrder, now_us: int) -> None:
        """Follow one order as the books show it; an older reading changes nothing."""
        wire = order.wire
        assert wire is not None, "only claimed orders are at a broker"
        given_up = order.state in (OrderState.ABSENT, OrderState.REJECTED)
        if given_up and not row.filled and row.state in (VenueState.REJECTED, VenueState.CANCELLED):
            return  # the broker's own note of what came to nothing
        if order.state is OrderState.NEW:
            self._sent_after_all(order, wire, now_us)
        self._accepted(order, row.venue_order_id, now_us)
        if row.after_market and not wire.cancel:
            log.error("an order waits for the next session; it is cancelled", tag=order.tag)
            wire.cancel = True
        # Shares booked without the broker's id, as by a human's hand, are not booked again.
        skip = order.filled - sum(wire.fills.values())
        for trade in row.trades:
            if trade.fill_id in wire.fills:
                continue
            passed = min(skip, trade.quantity)
            fresh = min(trade.quantity - passed, order.remaining)
            skip -= passed
            wire.fills[trade.fill_id] = passed + fresh
            self.changes.trades.append((*order.key(), trade.fill_id, passed + fresh))
            if fresh:
                price, at_us = trade.price_paise, trade.at_us
                self.fill(order, VenueFill(fresh, price, at_us, price, at_us), now_us)
        if sum(trade.quantity for trade in row.trades) < row.filled or order.state in DONE_STATES:
            return  # its last trades come with the next reading
        if row.state is VenueState.COMPLETE and row.quantity == row.filled == order.filled:
            order.rule = f"the broker's order was for {row.quantity}"
            self.moved(order, Event.CANCEL, now_us)
            self.try_exit_again(order, now_us)
        elif row.state is VenueState.CANCELLED:
            order.rule = order.rule or row.reason or "cancelled at the broker"
            self.moved(order, Event.CANCEL, now_us)
            self.try_exit_again(order, now_us)
        elif row.state is VenueState.REJECTED:
            order.rule = row.reason or "rejected by the exchange"
            self.moved(order, Event.REJECT, now_us)
            self.try_exit_again(order, now_us)

    def _sent_after_all(self, order: Order, wire: Wire, now_us: int) -> None:
        """An order that was said not to have left us is at the broker: it must not go out once more."""
        log.error("an order that was not sent is at the broker", tag=order.tag)
        if order.purpose is not Purpose.EXIT and not wire.queued:
            wire.queued = True
            self._reserve(order, order.remaining)
        wire.queued = False
        wire.sent_us = now_us
        order.apply(Event.CLAIM, now_us)

    def fill(self, order: Order, fill: VenueFill, now_us: int) -> None:
        """Book a fill, also of an order that was done: a cancel that lost the race."""
        held = order.book.quantity
        if order.state not in DONE_STATES:
            self._record(order, fill, now_us)
        else:
            log.error("a fill came after the end of an order", tag=order.tag, shares=fill.quantity)
            self._book(order, fill)
            order.account.note(order.book)
            order.apply(Event.FILL if order.remaining else Event.COMPLETE, now_us)
            self._note(order)
        self._correct(order, held, fill)


def _open_day(line: Line, day: int) -> None:
    """Begin a new day where *day* is one."""
    if day > line.day:
        # Those that ended on an earlier day are not in today's books; at the start the day is not known.
        if line.day:
            line.orders = {tag: order for tag, order in line.orders.items() if order.state not in DONE_STATES}
        line.day, line.known_ids, line.cover = day, set(), Cover()


def _same(order: Order, row: VenueOrder) -> bool:
    """Whether a row under an order's tag can be that order: nobody else's."""
    return (row.symbol, row.side, row.product) == (order.instrument.symbol, order.side, order.product)
