"""Stops for the night: rules at the broker (GTT) for DELIVERY positions while the market is closed.

No stop of the day survives the close. The rule is put once the market has closed, and taken off when it
opens: then a stop of the day takes over. While a rule may still sell, no stop and no exit goes out beside it;
they wait as they wait for a stop that rests.

A rule has no tag. One whose answer is lost is settled by the list of all rules and never sent again; a
rule that becomes an order is known by its symbol, quantity and limit, and what it fills is booked as ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from broker.base import (
    Accepted,
    NotSent,
    OrderTerms,
    PlaceOutcome,
    Rejected,
    RuleState,
    VenueOrder,
    VenueRule,
    VenueState,
)
from order import stops
from order.books import BookKey
from order.guards import Guard
from order.night import NIGHT, Night, NightState
from order.protection import Protection
from order.slippage import slippage_bps
from order.store import Loaded
from shared.clock import ist_day
from shared.models import OrderType, Product, Quote, Side, rupees

AFTER_CLOSE_US = 10 * 60_000_000
BEFORE_OPEN_US = 15 * 60_000_000
"""A night begins so long after the close, auction included, and ends so long before the open."""

AGAIN_US = 5_000_000
"""A rule that was taken off and still stands is taken off again after so long: it can only be gone."""

LOOK_US = 60_000_000
"""Between two lists where all rules rest."""

SETTLE_US = 60_000_000
ENOUGH_READS = 3
"""A lost rule was never made where so many lists, each so long after it was asked for, do not show it."""

log = structlog.get_logger(__name__)


class RuleStep(msgspec.Struct, frozen=True):
    """One request about a rule, claimed: put it where `terms` are given, else take it off."""

    book: BookKey
    symbol: str
    terms: OrderTerms | None = None
    rule_id: str = ""


class Nights(Protection):
    """Keeps the rules of all DELIVERY positions at brokers."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.nights: dict[BookKey, Night] = {}
        self._listed: dict[int, int] = {}

    def remember(self, loaded: Loaded) -> None:
        """Take the rules that the store remembers, at start."""
        super().remember(loaded)
        for (_, kind, _), value in loaded.marks.items():
            if kind != NIGHT:
                continue
            night = Night.stored(value)
            self.nights[night.book] = night
            if night.holds:
                self.book(night.book).stopping += night.quantity

    def rules_due(self, user_no: int, now_us: int) -> bool:
        """Whether the list of a user's rules has to be read: for what is to be done, or once a minute."""
        late = now_us >= self._listed.get(user_no, 0) + LOOK_US
        for guard in self._sellers(user_no):
            night = self._night(guard)
            rests = night.state is NightState.RESTING and self._wanted(guard, night, now_us)
            if (late or not rests) if night.holds else self._due(guard, now_us):
                return True
        return False

    def rule_steps(self, user_no: int, rules: Sequence[VenueRule], now_us: int) -> list[RuleStep]:
        """Take the list of all rules; return what has to be asked for now, claimed.

        Args:
            user_no: Whose.
            rules: All of the account, just read.
            now_us: Wall time.
        """
        self._listed[user_no] = now_us
        by_id = {rule.rule_id: rule for rule in rules}
        steps: list[RuleStep] = []
        for guard in self._sellers(user_no):
            night = self._night(guard)
            if night.holds:
                self._follow(guard, night, by_id, now_us)
            if night.state is NightState.RESTING and not self._wanted(guard, night, now_us):
                self._note_night(night, now_us, NightState.DROPPING)
                night.asked_us = 0
            if night.state is NightState.DROPPING and now_us >= night.asked_us + AGAIN_US:
                night.asked_us = now_us
                self._note_night(night, now_us, NightState.DROPPING)
                steps.append(RuleStep(night.book, guard.instrument.symbol, rule_id=night.rule_id))
            elif not night.holds and self._due(guard, now_us):
                steps.append(self._begin(guard, rules, now_us))
        self.journal_moves("rules", now_us, [user_no])
        return steps

    def answer_rule(self, book: BookKey, outcome: PlaceOutcome, now_us: int) -> None:
        """Take what the broker answered to a request; what becomes of a rule taken off, the list says."""
        night = self.nights[book]
        if night.state is not NightState.ASKED:
            return
        if isinstance(outcome, Accepted):
            night.rule_id = outcome.venue_order_id
            self._note_night(night, now_us, NightState.RESTING)
        elif isinstance(outcome, Rejected | NotSent):
            self._end(night, now_us, outcome.reason)
            if isinstance(outcome, NotSent):
                night.day = 0  # nothing was asked for: it is tried again
        else:
            self._note_night(night, now_us, NightState.UNKNOWN)

    # -- inside ----------------------------------------------------------------------------------

    def _sellers(self, user_no: int) -> list[Guard]:
        """Return what protects long DELIVERY books at a broker, and whatever has a rule that holds."""
        return [
            guard
            for key, guard in self.guards_of.get(user_no, {}).items()
            if key[3] == Product.DELIVERY
            and guard.account.user.broker not in self.venues
            and (guard.side is Side.SELL or self._night(guard).holds)
        ]

    def _night(self, guard: Guard) -> Night:
        return self.nights.get(guard.book.key) or Night(
            guard.book.key, 0, 0, 0, 0, 0, [], NightState.ENDED
        )

    def _is_night(self, guard: Guard, now_us: int) -> bool:
        if guard.run != "live":
            return not self._open(guard, None, now_us)
        return not any(
            self.calendar.is_open(at_us)
            for at_us in (now_us - AFTER_CLOSE_US, now_us, now_us + BEFORE_OPEN_US)
        )

    def _due(self, guard: Guard, now_us: int) -> bool:
        if not guard.stop_paise or guard.orders or guard.book.entering:
            return False
        if guard.side is not Side.SELL or self._night(guard).day == ist_day(now_us):
            return False
        if (guard.instrument.symbol, guard.book.key[3]) in self.line(guard.book.key[4]).uncovered:
            return False  # the broker has fewer than we do: what is not there must not be sold
        return self._is_night(guard, now_us) and self._sellable(guard, now_us) > 0

    def _sellable(self, guard: Guard, now_us: int) -> int:
        """Return how many shares may be sold when the market opens next; those on the way are not."""
        at_us = self.calendar.next_open(now_us) if guard.run == "live" else now_us
        have = self.deliveries.quantities(guard.book.key, ist_day(at_us))
        limits = guard.account.user.limits
        most = have.sellable(trade_to_trade=guard.instrument.trade_to_trade, btst=limits.allow_btst)
        return min(guard.book.quantity, most, self._most(guard))

    def _wanted(self, guard: Guard, night: Night, now_us: int) -> bool:
        """Whether a rule stays as it is."""
        if guard.book.quantity < night.quantity or guard.stop_paise != night.trigger_paise:
            return False
        return not self._open(guard, None, now_us)

    def _begin(self, guard: Guard, rules: Sequence[VenueRule], now_us: int) -> RuleStep:
        instrument, trigger = guard.instrument, guard.stop_paise
        night = Night(
            guard.book.key, self._sellable(guard, now_us), trigger,
            stops.stop_limit(Side.SELL, trigger, instrument.tick_paise), now_us, ist_day(now_us), [],
        )  # fmt: skip
        night.known = [rule.rule_id for rule in rules if night.is_rule(rule, instrument.symbol)]
        self.nights[night.book] = night
        guard.book.stopping += night.quantity
        self._note_night(night, now_us, NightState.ASKED)
        terms = OrderTerms(
            Side.SELL, night.quantity, OrderType.SL_LIMIT, Product.DELIVERY, night.limit_paise, False, now_us,
            instrument.symbol, instrument.tick_paise, slippage_bps(instrument), trigger_paise=trigger,
            stop=True,
        )  # fmt: skip
        return RuleStep(night.book, instrument.symbol, terms)

    def _follow(self, guard: Guard, night: Night, rules: Mapping[str, VenueRule], now_us: int) -> None:
        """Bring *night* to where the list of rules says that it is."""
        if night.state in (NightState.ASKED, NightState.UNKNOWN):
            # Whoever asks waits for the answer before the next list: one that is still ASKED was lost.
            self._settle_rule(guard, night, rules, now_us)
        if night.state in (NightState.RESTING, NightState.DROPPING):
            rule = rules.get(night.rule_id)
            if rule is None or rule.state is RuleState.ENDED:
                dropped = night.state is NightState.DROPPING
                night.day = 0 if dropped else night.day  # another may take its place
                self._end(night, now_us, "taken off" if dropped else "it has ended at the broker", dropped)
            elif rule.state is RuleState.SENT:
                night.asked_us, night.reads = now_us, 0
                self._note_night(night, now_us, NightState.TRIGGERED)
                log.warning("a stop for the night has become an order", symbol=guard.instrument.symbol)
        if night.state is NightState.TRIGGERED:
            self._book_order(guard, night, now_us)

    def _settle_rule(self, guard: Guard, night: Night, rules: Mapping[str, VenueRule], now_us: int) -> None:
        symbol = guard.instrument.symbol
        taken = {other.rule_id for other in self.nights.values() if other is not night and other.holds}
        found = [
            rule
            for rule in rules.values()
            if night.is_rule(rule, symbol) and rule.rule_id not in taken.union(night.known)
        ]
        standing = [rule for rule in found if rule.state is not RuleState.ENDED] or found
        if standing:
            night.rule_id = standing[0].rule_id
            self._note_night(night, now_us, NightState.RESTING)
            return
        if now_us >= night.asked_us + SETTLE_US:
            night.reads += 1
        self._note_night(night, now_us, NightState.UNKNOWN)
        if night.reads >= ENOUGH_READS:
            self._end(night, now_us, "it was never made: its answer was lost, and no list shows it")

    def _book_order(self, guard: Guard, night: Night, now_us: int) -> None:
        """Book the fills of the order that a rule has become, once that is done."""
        user_no, symbol = night.book[4], guard.instrument.symbol
        line = self.line(user_no)
        row = next((each for each in line.rows if self._of_night(user_no, each)), None)
        if row is None:
            if now_us >= night.asked_us + SETTLE_US and line.asked_us >= night.asked_us + SETTLE_US:
                night.reads += 1
                self._note_night(night, now_us, NightState.TRIGGERED)
            if night.reads >= ENOUGH_READS:
                self._end(night, now_us, "it became an order that no book shows: compare by hand")
            return
        if not night.is_order(row, symbol) or row.state is VenueState.WORKING:
            return
        shares = min(row.filled, guard.book.quantity)
        self._end(night, now_us, f"order {row.venue_order_id}: {row.filled} filled", row.filled > 0)
        if shares:
            why = f"stop for the night {rupees(night.trigger_paise)}: order {row.venue_order_id}"
            order = self._close_book(guard.book, row, shares, why, now_us)
            line.booked[row.venue_order_id] = shares
            line.cover.booked((symbol, Product.DELIVERY), Side.SELL, shares)
            self._note_booked(user_no, row, shares, now_us)
            self._stopped_out(guard.book, order.placed_us, now_us)

    def _is_ours(self, user_no: int, row: VenueOrder) -> bool:
        return super()._is_ours(user_no, row) or self._of_night(user_no, row)

    def _of_night(self, user_no: int, row: VenueOrder) -> bool:
        """Whether *row* can be the order of a rule that holds."""
        line = self.line(user_no)
        if row.tag or row.venue_order_id in line.booked:
            return False
        return any(
            night.holds and night.book[4] == user_no and night.is_order(row, self._names[night.book[2]])
            for night in self.nights.values()
        )

    def _put_stop(self, guard: Guard, shares: int, quote: Quote | None, now_us: int) -> None:
        if not self._night(guard).holds:
            super()._put_stop(guard, shares, quote, now_us)

    def _bare(self, guard: Guard, now_us: int) -> bool:
        if self._night(guard).holds:
            guard.bare_us = 0
            return True
        return super()._bare(guard, now_us)

    def _end(self, night: Night, now_us: int, reason: str, expected: bool = False) -> None:
        night.reason = reason
        if night.holds:
            self.book(night.book).stopping -= night.quantity
        self._note_night(night, now_us, NightState.ENDED)
        guard = self.guards.get(night.book)
        if guard is not None:
            self.touched[night.book] = guard
        if not expected:
            log.error("UNPROTECTED OVERNIGHT", symbol=self._names[night.book[2]], why=reason)

    def _note_night(self, night: Night, now_us: int, state: NightState) -> None:
        night.state = state
        market_no, strategy_no, symbol_no, _, user_no = night.book
        what = f"{market_no}:{strategy_no}:{symbol_no}"
        self.note_account(user_no, NIGHT, what, msgspec.json.encode(night).decode(), now_us)
