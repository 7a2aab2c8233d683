"""The books as the accounts at brokers use them: readings in, what is due out. One transaction each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from broker.base import ChangeOutcome, PlaceOutcome, VenueBook, VenuePosition, VenueRule
from order.amend import Amendment
from order.books import BookKey
from order.by_hand import Change
from order.desk import Desk
from order.fingerprint import Fingerprint
from order.guards import Guard
from order.levels import Levels
from order.nights import RuleStep
from order.orders import Order, Purpose
from order.reconcile import Reconciliation, net_shares
from order.record import Recorder
from order.review import Case, Verdict
from order.switches import Level, SwitchView, TurnRequest, turned
from shared.clock import Clock, ist_day
from shared.errors import ConfigurationError
from shared.models import Quote
from shared.quotes import Quotes


class AccountBooks:
    """The half of the bookkeeper that lanes talk to; see `order.bookkeeper`."""

    desk: Desk
    recorder: Recorder
    armed: dict[int, bool]
    _clock: Clock
    _port: Quotes

    @property
    def clock(self) -> Clock:
        """Whose time all decisions here go by."""
        return self._clock

    def report(
        self, user_no: int, book: VenueBook, positions: Sequence[VenuePosition] | None = None
    ) -> list[Order]:
        """Take one reading of a broker's books, and of the positions just after them where they were read."""
        now_us = self._clock.now_us()
        nets = None if positions is None else net_shares(positions)
        held = None if positions is None else [_plain(each) for each in positions]
        return self._commit(
            lambda desk: desk.report(user_no, book, now_us, nets),
            *("report", now_us, user_no, lambda: self.recorder.reading(user_no, book), held),
        )

    def note_account(self, user_no: int, kind: str, what: str, value: str) -> None:
        """Note *value* on an account, durably."""
        now_us = self._clock.now_us()
        self._commit(
            lambda desk: desk.note_account(user_no, kind, what, value, now_us),
            *("note_account", now_us, user_no, kind, what, value),
        )

    def cases(self) -> list[Case]:
        """Return what waits for a human, and what may come to it."""
        return self.desk.cases()

    def settle(self, verdict: Verdict) -> tuple[Case, list[Order]]:
        """Settle an order as a human says; return how it stands then.

        Raises:
            ConfigurationError: There is no such order, or what is said cannot be true of it.
        """
        now_us = self._clock.now_us()
        settled: list[Order] = []
        sends = self._commit(
            lambda desk: settled.append(desk.settle(verdict, now_us)),
            *("settle", now_us, msgspec.to_builtins(verdict)),
        )
        return self.desk.case(settled[0]), sends

    def change(self, wish: Change) -> Order:
        """Change a direct order, or ask its broker to; see `order.by_hand`.

        Raises:
            ConfigurationError: There is no such order, or it cannot be changed like that (now).
            RefusedBySafety: A rule forbids what it would become.
        """
        now_us = self._clock.now_us()
        changed: list[Order] = []
        self._commit(
            lambda desk: changed.append(desk.change(wish, now_us)),
            *("change", now_us, msgspec.to_builtins(wish)),
        )
        return changed[0]

    def protect(self, wanted: Levels) -> tuple[str, list[Order]]:
        """Protect a position as a human says; return its protection in words and what has to go out.

        Raises:
            ConfigurationError: There is no such position, or a level makes no sense for it.
        """
        now_us = self._clock.now_us()
        made: list[Guard] = []
        sends = self._commit(
            lambda desk: made.append(desk.protect(wanted, now_us)),
            *("protect", now_us, msgspec.to_builtins(wanted)),
        )
        return made[0].told, sends

    def turn(self, asked: TurnRequest) -> tuple[list[SwitchView], list[Order]]:
        """Turn a switch for a human; return those that are on then, and exits that have to go out.

        Raises:
            ConfigurationError: There is no such user or strategy, or a stronger switch stands there already.
        """
        desk, now_us = self.desk, self._clock.now_us()
        user_no = _user_no(desk, asked.user_id)
        _require_strategy(desk, asked.strategy_id)
        scope = user_no, asked.strategy_id, ""
        wanted = [turned(desk.switches.get(scope), scope, asked.level, asked.why, now_us)]
        if asked.level is Level.OFF:  # what a rule has turned in one market is resumed with it
            kept = [each for each in desk.switches if each.scope[:2] == scope[:2]]
            wanted = [replace(each, level=Level.OFF, why=asked.why, at_us=now_us) for each in kept]

        def turn(desk: Desk) -> None:
            for each in wanted:
                desk.turn(each, now_us)

        sends = self._commit(turn, "turn", now_us, msgspec.to_builtins(asked))
        return self.desk.views(), sends

    def stops(self, order: Order) -> bool:
        """Whether a switch, silence or its account forbids to send *order*, an entry, now; on any thread."""
        desk = self.desk
        if order.purpose is not Purpose.ENTRY:
            return False
        if self.armed.get(order.user.user_no) is False:  # closed since its claim
            return True
        if not (desk.switches or desk.silent):
            return False
        if order.run in desk.silent:
            return True
        return desk.switches.refusal(*desk.scope_of(order.book), ist_day(order.placed_us)) is not None

    def needs_positions(self, user_no: int) -> bool:
        """Whether an exit's fate hangs on the positions, too."""
        return any(order.purpose is Purpose.EXIT for order in self.desk.doubts(user_no))

    def steps(self, user_no: int, *, closing: bool = False) -> tuple[list[Amendment], int, list[Order]]:
        """Return requests that are due, how many orders are not done, and exits to be sent again."""
        now_us = self._clock.now_us()
        found: list[tuple[list[Amendment], int]] = []

        def look(desk: Desk) -> None:
            desk.watch(user_no, now_us)
            if not closing:
                desk.retry_exits(user_no, now_us)
            found.append(desk.steps(user_no, now_us, closing=closing))
            if not found[0][1] and desk.changes.empty:
                self.recorder.drop()  # where nothing is at work, a look changes nothing

        sends = self._commit(look, "steps", now_us, user_no, closing)
        return *found[0], sends

    def wake_exits(self, user_no: int) -> list[Order]:
        """Return a user's exits that could not leave before: their broker answers again."""
        now_us = self._clock.now_us()

        def wake(desk: Desk) -> None:
            if not desk.wake_exits(user_no, now_us):
                self.recorder.drop()

        return self._commit(wake, "wake_exits", now_us, user_no)

    def claim_amendment(self, user_no: int, tag: str, number: int) -> Amendment | None:
        """Claim request *number* about the order *tag*, durably; None where it shall not go out."""
        now_us = self._clock.now_us()
        claimed: list[Amendment | None] = []
        self._commit(
            lambda desk: claimed.append(desk.claim_amendment(user_no, tag, number, now_us)),
            *("claim_amendment", now_us, user_no, tag, number),
        )
        return claimed[0]

    def answer_amendment(self, user_no: int, tag: str, number: int, outcome: ChangeOutcome) -> None:
        """Book what a broker answered to a request about an order."""
        now_us = self._clock.now_us()
        said = [type(outcome).__name__, msgspec.to_builtins(outcome)]
        self._commit(
            lambda desk: desk.answer_amendment(user_no, tag, number, outcome, now_us),
            *("answer_amendment", now_us, user_no, tag, number, said),
        )

    def account_prices(self, user_no: int, quotes: list[Quote]) -> None:
        """Take prices that an account's own connection told, for exits that have no fresh one."""
        now_us = self._clock.now_us()
        self._commit(
            lambda desk: desk.account_prices(user_no, quotes), "account_prices", now_us, user_no, quotes
        )

    def reconcile(
        self,
        user_no: int,
        when: str,
        positions: Sequence[VenuePosition],
        held: dict[str, int],
        cash_paise: int,
        fresh_cash: bool = True,
    ) -> Reconciliation:
        """Hold the broker's account against our books, on the latest reading, and keep how it went.

        Where the cash could not be read, *cash_paise* is what was read before, and not *fresh_cash*.
        """
        now_us = self._clock.now_us()
        run = self._port.run
        made: list[Reconciliation] = []
        self._commit(
            lambda desk: made.append(
                desk.reconcile(user_no, run, when, positions, held, cash_paise, now_us, fresh_cash=fresh_cash)
            ),
            *("reconcile", now_us, user_no, when, msgspec.to_builtins(positions), held, cash_paise),
            *(() if fresh_cash else (fresh_cash,)),
        )
        return made[0]

    def rules_due(self, user_no: int) -> bool:
        """Whether the list of a user's rules at the broker has to be read; see `order.nights`."""
        return self.desk.rules_due(user_no, self._clock.now_us())

    def rule_steps(self, user_no: int, rules: list[VenueRule]) -> tuple[list[RuleStep], list[Order]]:
        """Take the list of a user's rules; return requests about them, claimed, and orders to be sent."""
        now_us = self._clock.now_us()
        steps: list[RuleStep] = []

        def look(desk: Desk) -> None:
            steps.extend(desk.rule_steps(user_no, rules, now_us))
            if desk.changes.empty:
                self.recorder.drop()

        sends = self._commit(look, "rule_steps", now_us, user_no, msgspec.to_builtins(rules))
        return steps, sends

    def answer_rule(self, book: BookKey, outcome: PlaceOutcome) -> None:
        """Book what a broker answered to a request about a rule."""
        now_us = self._clock.now_us()
        said = [type(outcome).__name__, msgspec.to_builtins(outcome)]
        self._commit(
            lambda desk: desk.answer_rule(book, outcome, now_us), "answer_rule", now_us, list(book), said
        )

    def note_arming(
        self, user_no: int, words: str, told: list[str], prints: dict[str, Fingerprint]
    ) -> None:
        """Keep, durably, that a user's account takes entries; see `order.outside`."""
        now_us = self._clock.now_us()
        self._commit(
            lambda desk: desk.note_arming(user_no, words, told, prints, now_us),
            *("note_arming", now_us, user_no, words, told, msgspec.to_builtins(prints)),
        )

    def note_disarming(self, user_no: int) -> None:
        """Keep, durably, that a human has closed a user's account for entries."""
        now_us = self._clock.now_us()
        self._commit(
            lambda desk: desk.note_disarming(user_no, now_us), "note_disarming", now_us, user_no
        )

    def held(self, user_no: int) -> dict[tuple[str, str], int]:
        """Return a user's net shares in the market at hand by symbol and product."""
        return self.desk.positions(user_no, self._port.run)

    def engaged(self, user_no: int) -> bool:
        """Whether a user holds something in the market at hand, or has an order that is not done."""
        return self.desk.engaged_at_broker(user_no, self._port.run)

    def _commit(
        self, decide: Callable[[Desk], object], kind: str, now_us: int, *given: object
    ) -> list[Order]:
        raise NotImplementedError


def _user_no(desk: Desk, user_id: str) -> int:
    if not user_id:
        return 0
    known = {user.user_id: user.user_no for user in desk.users.values()}
    if user_id not in known:
        raise ConfigurationError(
            f"There is no user {user_id!r}.", remedy=f"Known: {', '.join(sorted(known))}."
        )
    return known[user_id]


def _require_strategy(desk: Desk, strategy_id: str) -> None:
    known = {name for user in desk.users.values() for name in user.subscriptions}
    if strategy_id and strategy_id not in known and desk.known_number("strategy", strategy_id) is None:
        raise ConfigurationError(
            f"Nobody subscribes to {strategy_id!r}, and it has no orders.",
            remedy=f"Known: {', '.join(sorted(known)) or 'none'}.",
        )


def _plain(each: VenuePosition) -> list[object]:
    return [each.symbol, each.product.value, each.quantity]
