"""What happens to our account outside of us: comparisons, closes by the user's hand and by the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import structlog

from broker.base import VenueFill, VenueOrder, VenuePosition
from order.books import Book
from order.cash import (
    at_rest,
    money_moved,
    money_of_orders,
    money_of_positions,
    moved_paise,
    turnover_paise,
)
from order.fingerprint import ARMED_WITH, Fingerprint, Fingerprints
from order.lifecycle import Event
from order.orders import MANUAL, OWN_ENGINE, Order, Purpose
from order.reconcile import FINAL, RECONCILED, Finding, Kind, Reconciliation, Sight, compare, net_shares
from order.review import Reviews
from order.store import Loaded
from shared.calendar import at_ist, day_of
from shared.clock import ist_day
from shared.ids import direct_id
from shared.models import EXPOSED_STATES, OrderState, OrderType, Product, Side

ARMED, DISARMED = "armed", "disarmed"
"""Kinds of journal entries: a human opened an account for entries, by which words, and what was told of it; a
human closed it."""

BOOKED, OWNED, PAUSED = "booked", "owned", "paused"
"""Kinds of marks: shares of others' orders in our books, and beside them; symbols that rest for a day."""

FINAL_AT = "16:05"
"""From this time (IST) on a broker's books of a trading day are final."""

CLOSES = (Kind.BY_HAND, Kind.BROKER_SQUAREOFF)

log = structlog.get_logger(__name__)


class Outside(Reviews):
    """Compares, and books closes of our positions that the broker's own trades show."""

    def remember(self, loaded: Loaded) -> None:
        """Take what the store remembers of accounts, at start, after the orders."""
        super().remember(loaded)
        for (user_no, kind, what), value in loaded.marks.items():
            line = self.line(user_no)
            if kind == BOOKED:
                line.booked[what] = int(value)
            elif kind == OWNED:
                line.owned[what] = int(value)
            elif kind == PAUSED:
                line.paused[what] = int(value)
            elif kind == ARMED_WITH:
                line.armed_with[what] = msgspec.json.decode(value, type=Fingerprint)
            elif kind == FINAL:
                line.final_day = max(line.final_day, int(what))
            elif kind == RECONCILED:
                line.compared = msgspec.json.decode(value, type=Reconciliation)

    def paused(self, user_no: int, strategy_no: int, symbol_no: int, day: int) -> bool:
        """Whether a strategy rests in a symbol on *day*, because the user closed its position by hand."""
        line = self.lines.get(user_no)
        return line is not None and line.paused.get(f"{strategy_no}:{symbol_no}") == day

    def reconcile(
        self,
        user_no: int,
        run: str,
        when: str,
        positions: Sequence[VenuePosition],
        held: Mapping[str, int],
        cash_paise: int,
        now_us: int,
        *,
        fresh_cash: bool = True,
    ) -> Reconciliation:
        """Hold the broker's positions and money against ours, on the latest reading of its books.

        A close from outside is booked when two comparisons in a row show the same; until then it is a
        difference.
        """
        line, nets = self.line(user_no), net_shares(positions)
        ours = self.positions(user_no, run)
        sight = Sight(
            ours, nets, line.rows, lambda row: self._is_ours(user_no, row), line.booked, held, line.owned
        )
        found = compare(sight)
        again = {each for each in found if each in line.findings}
        line.findings = tuple(found)
        for each in found:
            if each.kind in CLOSES and each in again:
                self._close_outside(user_no, run, each, now_us)
        told = tuple(each if each.kind not in CLOSES or each in again else _not_yet(each) for each in found)
        line.closing = {(e.symbol, e.product) for e in found if e.kind in CLOSES and e not in again}
        unclear = {(each.symbol, each.product) for each in found if each.kind is not Kind.EXTERNAL}
        doubt = any(o.state in (OrderState.SENDING, OrderState.UNKNOWN) for o in line.orders.values())
        if not doubt and line.cover.orders_us == line.asked_us:
            fresh = {(each.symbol, each.product) for each in found if each not in again}
            line.cover.compared(nets, self.positions(user_no, run), unclear & fresh, now_us)
        line.nets = dict(nets)
        line.uncovered = {(each.symbol, each.product) for each in told if not each.covered}
        others = [row for row in line.rows if not self._is_ours(user_no, row)]
        self._own(user_no, unclear, others, now_us)
        told += (*money_of_orders(line.rows, line.orders), *money_of_positions(line.rows, positions))
        clean = not line.doubled and all(each.kind is not Kind.DIFFERENCE for each in told)
        # What left us while the account was read is not in its books yet, and may block money already.
        rests = fresh_cash and not any(order.state in EXPOSED_STATES for order in line.orders.values())
        final = when == "minute" and run == "live" and self._final(line.final_day, now_us)
        made = Reconciliation(
            at_us=now_us, when="close" if final else when, clean=clean, findings=told,
            orders=len(line.rows), foreign=len(others), cash_paise=cash_paise,
            at_rest=rests and at_rest(line.rows, positions), turnover_paise=turnover_paise(line.rows),
        )  # fmt: skip
        moved = moved_paise(line.compared, made)
        made = msgspec.structs.replace(
            made, moved_paise=moved, findings=(*told, *money_moved(moved))
        )
        before = line.reconciled.notes if line.reconciled is not None else []
        for note in made.notes:
            if note in before and note not in line.told:
                line.told.add(note)  # once may be a fill between two answers
                log.error("a difference between the broker and our books", user=user_no, what=note)
        line.told &= set(made.notes)
        line.reconciled = line.compared = made
        told_as = msgspec.json.encode(made).decode()
        self.note_account(user_no, RECONCILED, "", told_as, now_us)
        if final:
            line.final_day = ist_day(now_us)
            self.note_account(user_no, FINAL, str(line.final_day), told_as, now_us)
        self.journal_moves("reconcile", now_us, [user_no, when])
        return made

    def note_arming(
        self, user_no: int, words: str, told: list[str], prints: Fingerprints, now_us: int
    ) -> None:
        """Keep that a user's account takes entries, and with which strategies; others stay as they were.

        Args:
            user_no: Whose.
            words: What was typed.
            told: What was found that is not as it should be.
            prints: The strategies.
            now_us: Wall time.
        """
        head: list[object] = [user_no, words, told, sorted(prints)]
        self.changes.journal.append(self.journal.entry(now_us, ARMED, head))
        kept = self.line(user_no).armed_with
        for strategy_id, now in prints.items():
            if kept.get(strategy_id) != now:
                kept[strategy_id] = now
                self.note_account(user_no, ARMED_WITH, strategy_id, msgspec.json.encode(now).decode(), now_us)

    def note_disarming(self, user_no: int, now_us: int) -> None:
        """Keep that a human has closed a user's account for entries."""
        self.changes.journal.append(self.journal.entry(now_us, DISARMED, [user_no]))

    def engaged_at_broker(self, user_no: int, run: str) -> bool:
        """Whether a user holds something in market *run*, or has an order that is not done; on any thread."""
        at_work = (order for orders in list(self.at_work.values()) for order in list(orders.values()))
        return bool(self.positions(user_no, run)) or any(each.user.user_no == user_no for each in at_work)

    # -- inside ----------------------------------------------------------------------------------

    def _final(self, done: int, now_us: int) -> bool:
        """Whether the books of a trading day are final and have not been compared as such."""
        day = day_of(now_us)
        traded = self.calendar.session(day) is not None
        return traded and done < ist_day(now_us) and now_us >= at_ist(day, FINAL_AT)

    def _is_ours(self, user_no: int, row: VenueOrder) -> bool:
        line = self.line(user_no)
        return row.tag in line.orders or row.tag in line.ended

    def _own(
        self, user_no: int, unclear: set[tuple[str, str]], others: list[VenueOrder], now_us: int
    ) -> None:
        """Note what others have filled beside ours: it closes nothing of ours later."""
        line = self.line(user_no)
        for row in others:
            order_id = row.venue_order_id
            shares = row.filled - line.booked.get(order_id, 0)
            if shares > line.owned.get(order_id, 0) and (row.symbol, row.product.value) not in unclear:
                line.owned[order_id] = shares
                self.note_account(user_no, OWNED, order_id, str(shares), now_us)

    def _close_outside(self, user_no: int, run: str, finding: Finding, now_us: int) -> None:
        """Book a close from outside out of the broker's own trades, and let the strategy rest."""
        line = self.line(user_no)
        row = next(row for row in line.rows if row.venue_order_id == finding.order_id)
        left = finding.shares
        for book in self._books_of(user_no, run, finding):
            shares = min(left, abs(book.quantity))
            if shares <= 0:
                continue
            left -= shares
            order = self._close_book(book, row, shares, f"{finding.kind}: order {row.venue_order_id}", now_us)
            self._make_room(book, order.rule, now_us)
            if finding.kind is Kind.BY_HAND and self._names[book.key[1]] != MANUAL:
                what = f"{book.key[1]}:{book.key[2]}"
                line.paused[what] = ist_day(order.placed_us)
                self.note_account(user_no, PAUSED, what, str(line.paused[what]), now_us)
            log.warning("a position was closed from outside", tag=order.tag, why=order.rule, shares=shares)
        done = line.booked.get(row.venue_order_id, 0) + finding.shares - left
        line.booked[row.venue_order_id] = done
        line.cover.booked((finding.symbol, finding.product), row.side, finding.shares - left)
        self._note_booked(user_no, row, done, now_us)

    def _note_booked(self, user_no: int, row: VenueOrder, shares: int, now_us: int) -> None:
        self.note_account(user_no, BOOKED, row.venue_order_id, str(shares), now_us)

    def _books_of(self, user_no: int, run: str, finding: Finding) -> list[Book]:
        """Return the books that a close takes from: what was ordered by hand comes first."""
        found = [
            book
            for key, book in self._books.items()
            if key[4] == user_no
            and book.quantity
            and self._names[key[0]] == run
            and (self._names[key[2]], key[3]) == (finding.symbol, finding.product)
        ]
        return sorted(found, key=lambda book: (self._names[book.key[1]] != MANUAL, book.key[1]))

    def _close_book(self, book: Book, row: VenueOrder, shares: int, why: str, now_us: int) -> Order:
        market_no, strategy_no, symbol_no, product, user_no = book.key
        signal_no, user = self.next_signal(), self.users[user_no]
        signal_id = direct_id(user.user_id, f"outside {signal_no}")
        payload = msgspec.json.encode({"user_id": user.user_id, "symbol": row.symbol, "outside": why})
        self.changes.inbox.append(
            (
                signal_no, user.group, OWN_ENGINE, "", signal_no, signal_id, market_no, strategy_no,
                symbol_no, 1, payload, now_us,
            )
        )  # fmt: skip
        at_us = row.trades[-1].at_us if row.trades else row.updated_us or now_us
        order = Order(
            signal_no, signal_id, self.account(user, market_no), 0, book, self.instruments.get(row.symbol),
            self._names[market_no], Purpose.EXIT, Side.SELL if book.quantity > 0 else Side.BUY,
            Product(product), OrderType.LIMIT, shares, row.price_paise, at_us,
        )  # fmt: skip
        order.rule = why
        order.apply(Event.CLAIM, now_us)
        self._note(order)
        self._keep(order)
        self._reserve(order, shares)
        for trade in reversed(row.trades):
            part = min(trade.quantity, order.remaining)
            if part:
                price, traded_us = trade.price_paise, trade.at_us
                self._record(order, VenueFill(part, price, traded_us, price, traded_us), now_us)
        return order

    def _make_room(self, book: Book, why: str, now_us: int) -> None:
        """Take back exits of shares that are gone."""
        market = self._names[book.key[0]], self._names[book.key[2]]
        for order in list(self.at_work.get(market, {}).values()):
            if order.book is not book or order.purpose is not Purpose.EXIT:
                continue
            if book.exiting <= abs(book.quantity):
                return
            if order.state is OrderState.NEW:
                if not order.queued:
                    book.exiting -= order.quantity
                order.rule = why
                self.moved(order, Event.WITHDRAW, now_us)
            elif order.wire is not None:
                order.wire.cancel = True


def _not_yet(each: Finding) -> Finding:
    return msgspec.structs.replace(each, kind=Kind.DIFFERENCE, covered=False)

