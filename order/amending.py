"""Requests about orders at a broker, in the books: asked for, claimed, answered, read back."""

from __future__ import annotations

import msgspec
import structlog

from broker.base import Accepted, ChangeOutcome, NotSent, OrderTerms, Rejected, VenueOrder
from order.amend import OPEN, WITHDRAWN_AT_START, Amendment, AmendState, read_back
from order.execution import Execution
from order.orders import Changes, Order, Purpose
from order.wire import Wire
from shared.models import AT_VENUE_STATES, DONE_STATES, OrderType

MISREAD = "misread"
"""The kind of mark that names the day on which the broker took a modify's quantity for something else."""

log = structlog.get_logger(__name__)


class Amending(Execution):
    """Keeps at most one open request for each order."""

    def ask(self, order: Order, terms: OrderTerms, *, cancel: bool, now_us: int) -> Amendment | None:
        """Ask for a cancel, or for new *terms*; None where another request is still open.

        A cancel takes the place of a modify that waits for its turn, that the broker has taken, or whose
        answer is lost: whichever of the two arrives first, the order ends.
        """
        wire = order.wire
        assert wire is not None, "only orders at a broker are asked about"
        before = wire.amend
        if before is not None:
            if before.state is AmendState.REQUESTED and cancel and not before.cancel:
                self._move(before, AmendState.WITHDRAWN, now_us, "a cancel takes its place")
            elif before.state in (AmendState.TAKEN, AmendState.UNKNOWN) and cancel and not before.cancel:
                self._move(before, AmendState.LAPSED, now_us, "a cancel takes its place")
            else:
                return None
        self.amend_no += 1
        made = Amendment(self.amend_no, order.key(), order.tag, wire.venue_order_id, cancel, terms, now_us)
        wire.amend = self._amended[made.number] = made
        wire.changed_us = now_us
        return made

    def claim_amendment(self, user_no: int, tag: str, number: int, now_us: int) -> Amendment | None:
        """Claim a request that has a place within the rate limits; None where it shall not go out."""
        order, wire, amendment = self._asked(user_no, tag, number)
        if order is None or wire is None or amendment is None or amendment.state is not AmendState.REQUESTED:
            return None
        if order.state not in AT_VENUE_STATES:
            self._move(amendment, AmendState.WITHDRAWN, now_us, f"the order is {order.state.lower()}")
            return None
        if not amendment.cancel and wire.cancel and order.purpose is Purpose.ENTRY:
            self._move(amendment, AmendState.WITHDRAWN, now_us, "the entry is not wanted any more")
            return None
        if not amendment.cancel:
            amendment.terms = order.limit_terms()  # it may have waited: what is wanted now counts
            wire.modified = True
        amendment.sent_us = wire.changed_us = now_us
        self._move(amendment, AmendState.SENT, now_us)
        return amendment

    def answer_amendment(
        self, user_no: int, tag: str, number: int, outcome: ChangeOutcome, now_us: int
    ) -> None:
        """Take what the broker answered; only a reading says what holds."""
        _, wire, amendment = self._asked(user_no, tag, number)
        if wire is None or amendment is None:
            return  # a reading has settled it
        if amendment.state not in (AmendState.SENT, AmendState.UNKNOWN):
            return
        if isinstance(outcome, Accepted):
            self._move(amendment, AmendState.TAKEN, now_us)
        elif isinstance(outcome, Rejected):
            self._move(amendment, AmendState.REFUSED, now_us, outcome.reason)
            wire.amended_us = now_us
            if not amendment.cancel and wire.wish is not None:
                wire.wish, wire.refusal = None, outcome.reason
            log.warning("a request was refused", tag=tag, what=_word(amendment), why=outcome.reason)
        elif isinstance(outcome, NotSent):
            self._move(amendment, AmendState.WITHDRAWN, now_us, outcome.reason)
        elif amendment.state is AmendState.SENT:
            self._move(amendment, AmendState.UNKNOWN, now_us, outcome.reason)
            log.warning("a request's fate is not known", tag=tag, what=_word(amendment))

    def know_amendment(self, row: tuple[int | str | None, ...], now_us: int) -> None:
        """Take a stored request that is open, at start; what was not sent is not wanted any more."""
        key = tuple(int(part or 0) for part in row[:5])
        at_work = (order for orders in self.at_work.values() for order in orders.values())
        order = next((order for order in at_work if order.key() == key), None)
        if order is None or order.wire is None:
            log.error("a request without an order at work", number=row[5])
            return
        amendment = _stored(row, order)
        order.wire.amend = amendment
        if amendment.state is AmendState.REQUESTED:
            self._move(amendment, AmendState.WITHDRAWN, now_us, WITHDRAWN_AT_START)
        elif amendment.state is AmendState.SENT:
            self._move(amendment, AmendState.UNKNOWN, now_us, "no answer before this process began anew")

    def drain(self) -> Changes:
        """Return what has to be written and begin anew."""
        if self._amended:
            self.changes.amendments.extend(each.row() for each in self._amended.values())
            self.changes.amend_no = self.amend_no
            self._amended.clear()
        return super().drain()

    # -- inside ----------------------------------------------------------------------------------

    def _read_back(self, order: Order, row: VenueOrder, asked_us: int, now_us: int) -> None:
        wire = order.wire
        assert wire is not None, "only orders at a broker are read back"
        wire.read_us = max(wire.read_us, asked_us)
        wire.seen_paise, wire.seen_trigger_paise = row.price_paise, row.trigger_paise
        wire.seen_quantity = row.quantity
        amendment = wire.amend
        settled = None if amendment is None else read_back(amendment, row, asked_us)
        if amendment is not None and settled is not None:
            state, reason = settled
            if state is AmendState.LAPSED:
                log.warning("a request had no effect", tag=order.tag, what=_word(amendment))
            if state is AmendState.DONE and amendment.terms.order_type is OrderType.LIMIT:
                wire.converted = True
            self._move(amendment, state, now_us, reason)
            if state is AmendState.DONE and not amendment.cancel:
                self._take_terms(order, wire, amendment.terms)

    def _take_terms(self, order: Order, wire: Wire, terms: OrderTerms) -> None:
        """Let a direct order have the price and the trigger that its owner asked for."""
        if wire.wish == (terms.quantity, terms.price_paise, terms.trigger_paise):
            wire.wish = None
        if order.order_type is OrderType.MARKET or order.purpose is Purpose.STOP:
            return
        self._reserve(order, -order.remaining)
        order.price_paise = wire.limit_paise = terms.price_paise
        self._reserve(order, order.remaining)
        if terms.order_type is OrderType.SL_LIMIT and terms.trigger_paise != order.trigger_paise:
            self.set_trigger(order, terms.trigger_paise)
        self._note(order)

    def _resize(self, order: Order, row: VenueOrder) -> None:
        """Take an order's total quantity from the books; one that nobody asked for ends the order.

        A modify may mean another quantity at the broker than here (total or what remains), or somebody else
        changed the order. Such an order could sell what is not held, and one more modify could be misread
        like the one before. A cancel cannot: what is left goes out anew, a stop for what is held then.
        """
        wire = order.wire
        if order.state in DONE_STATES or row.quantity == order.quantity or row.quantity < order.filled:
            return
        assert wire is not None, "only orders at a broker are in its books"
        amendment = wire.amend
        asked = {wire.want_quantity} | ({amendment.terms.quantity} if amendment is not None else set())
        if row.quantity not in asked:
            self._misread(order, wire, row)
            if order.purpose is Purpose.EXIT and row.quantity < order.quantity:
                return  # the rest of it stays wanted, and latched
        self._reserve(order, row.quantity - order.quantity)
        order.quantity = row.quantity
        self._note(order)

    def _misread(self, order: Order, wire: Wire, row: VenueOrder) -> None:
        if not wire.cancel:
            log.error(
                "an order has another quantity at the broker; it is cancelled", tag=order.tag,
                ours=order.quantity, theirs=row.quantity,
            )  # fmt: skip
        wire.want_quantity = wire.want_quantity or order.quantity
        wire.cancel = True
        line = self.lines.get(order.user.user_no)
        if line is None or not wire.modified or not row.filled or line.misread_day == line.day:
            return
        line.misread_day = line.day
        self.changes.marks[order.user.user_no, MISREAD, ""] = (str(line.day), order.updated_us)
        log.critical(
            "the quantity of a modify means something else at the broker; orders that are partly filled are "
            "cancelled and sent anew today", user=order.user.user_id, remedy="set ANGEL_ONE_MODIFY_QUANTITY",
        )  # fmt: skip

    def end_request(self, order: Order) -> None:
        """See `Execution.end_request`."""
        wire = order.wire
        if wire is not None and wire.amend is not None and order.state in DONE_STATES:
            waits = wire.amend.state is AmendState.REQUESTED
            done = wire.amend.cancel and order.state == "CANCELLED" and not waits
            state = AmendState.DONE if done else AmendState.WITHDRAWN if waits else AmendState.REFUSED
            why = "" if done else f"the order is {order.state.lower()}"
            self._move(wire.amend, state, order.updated_us, why)

    def _move(self, amendment: Amendment, state: AmendState, now_us: int, reason: str = "") -> None:
        amendment.move(state, now_us, reason)
        self._amended[amendment.number] = amendment
        if state not in OPEN:
            _, wire, _ = self._asked(amendment.key[1], amendment.tag, amendment.number)
            if wire is not None:
                wire.amend, wire.changed_us = None, now_us

    def _asked(
        self, user_no: int, tag: str, number: int
    ) -> tuple[Order | None, Wire | None, Amendment | None]:
        """Return an order, and the open request *number* about it, where there is one."""
        line = self.lines.get(user_no)
        order = None if line is None else line.orders.get(tag)
        wire = None if order is None else order.wire
        amendment = None if wire is None else wire.amend
        return order, wire, amendment if amendment is not None and amendment.number == number else None


def _word(amendment: Amendment) -> str:
    return "cancel" if amendment.cancel else "modify"


def _stored(row: tuple[int | str | None, ...], order: Order) -> Amendment:
    """Return the request that `Amendment.row` wrote."""
    wire = order.wire
    assert wire is not None, "only orders at a broker are asked about"
    wanted = msgspec.structs.replace(
        order.limit_terms(),
        order_type=OrderType(str(row[8])),
        quantity=int(row[9] or 0),
        price_paise=int(row[10] or 0),
        trigger_paise=int(row[11] or 0),
    )
    return Amendment(
        int(row[5] or 0), order.key(), order.tag, wire.venue_order_id, row[6] == "CANCEL", wanted,
        int(row[12] or 0), AmendState(str(row[7])), int(row[13] or 0), int(row[14] or 0), str(row[15]),
    )  # fmt: skip
