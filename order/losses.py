"""Limits that turn a switch by themselves: a day's loss closes positions, rejections in a row stop entries.

Losses are looked at with each fill, each refusal for a loss and, but in replays, each second while something
is open. A replay goes by its fills and its signals alone, so that speed changes nothing.
"""

from __future__ import annotations

from typing import Any

from broker.base import VenueFill
from order.accounts import Account
from order.books import Book, BookKey
from order.dead_man import DeadMan
from order.house import House
from order.lifecycle import Event
from order.orders import MANUAL, Order, Purpose
from order.risk import Entry, Refused
from order.rules import check_entry
from order.switches import Level
from shared.models import Quote, rupees

LOOK_US = 1_000_000
"""Between two looks at what is open."""

MOST_REJECTS = 3
"""Entries that a broker rejects in a row, after which nothing is entered."""

_LOSSES = frozenset({"day_loss", "strategy_loss", "house_loss"})
_ENTRY = Purpose.ENTRY


class Losses(DeadMan):
    """Watches them."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._losing: dict[tuple[int, int], Account] = {}
        self._look_us: dict[str, int] = {}

    def look_due(self, run: str, quote: Quote) -> bool:
        """Whether it is time to see what has become of all that is open in market *run*."""
        if (quote.received_us or quote.at_us) < self._look_us.get(run, 0) or run.startswith("replay"):
            return False
        number = self.known_number("market", run)
        house = None if number is None else self.houses.get(number)
        return house is not None and house.gross_paise > 0

    def look_at_losses(self, run: str, quote: Quote, day: int, now_us: int) -> None:
        """Value all that is open in market *run* and turn the switches that are due."""
        market_no = self.number("market", run)
        self._look_us[run] = (quote.received_us or quote.at_us) + LOOK_US
        accounts = [each for (_, number), each in self._accounts.items() if number == market_no]
        for account in accounts:
            self._value(account)
        for account in accounts:
            if account.open_books:
                self._look_at(account, day, now_us)
        self._look_at_house(self.houses[market_no], run, day, now_us)

    def check(self, entry: Entry) -> Refused | None:
        """Return the rule that refuses *entry*, or None; a loss is acted upon after this decision."""
        refused = check_entry(entry)
        if refused is not None and refused.rule in _LOSSES:
            self._suspect(entry.account)
        return refused

    def moved(self, order: Order, event: Event, now_us: int) -> None:
        """See `Execution.moved`; counts the entries that a broker rejects."""
        super().moved(order, event, now_us)
        if order.purpose is not _ENTRY or order.wire is None:
            return
        account = order.account
        if event is Event.REJECT:
            account.rejects += 1
            if account.rejects >= MOST_REJECTS:
                account.rejects = 0
                scope = account.user.user_no, "", order.run
                day = self._day(order.run, order.instrument, now_us)
                why = f"{MOST_REJECTS} entries rejected in a row, the last: {order.rule}"
                self.trip(scope, Level.HALT, day, why, now_us, again=True)
        elif event in (Event.CANCEL, Event.EXPIRE):
            account.rejects = 0

    def doubled(self, order: Order, count: int, now_us: int) -> None:
        """See `Resolver.doubled`; a surplus of orders stops the whole house for the day."""
        super().doubled(order, count, now_us)
        day = self._day(order.run, order.instrument, now_us)
        why = f"{count} orders at the broker carry the tag {order.tag}"
        self.trip((0, "", order.run), Level.KILL, day, why, now_us)

    def journal_moves(self, kind: str, now_us: int, head: list[object]) -> None:
        """See `Execution.journal_moves`; then acts upon losses."""
        super().journal_moves(kind, now_us, head)
        while self._losing:
            _, account = self._losing.popitem()
            run = self.name_of(account.market_no)
            self._value(account)  # what was open and is realised now must not count twice
            self._look_at(account, account.day, now_us)
            self._look_at_house(account.house, run, account.day, now_us)

    # -- inside ----------------------------------------------------------------------------------

    def _book(self, order: Order, fill: VenueFill) -> None:
        super()._book(order, fill)
        account, strategy_no = order.account, order.book.key[1]
        if order.purpose is _ENTRY:
            account.rejects = 0
        if (
            -account.day_net_paise >= account.day_loss_paise
            or -account.strategy_day_net.get(strategy_no, 0) >= account.strategy_loss_paise
            or account.house.loss_paise(account.day) >= account.house.day_loss_paise
        ):
            self._suspect(account)

    def _suspect(self, account: Account) -> None:
        self._losing[account.user.user_no, account.market_no] = account

    def _value(self, account: Account) -> None:
        run, unrealised = self.name_of(account.market_no), 0
        for key, book in account.open_books.items():
            unrealised += self._open_profit(run, key, book)
        account.house.unrealised_paise += unrealised - account.unrealised_paise
        account.unrealised_paise = unrealised

    def _look_at(self, account: Account, day: int, now_us: int) -> None:
        """Turn the switches that one account's losses demand."""
        run, user_no = self.name_of(account.market_no), account.user.user_no
        by_strategy: dict[int, int] = dict(account.strategy_day_net) if account.day == day else {}
        loss = -(account.unrealised_paise + (account.day_net_paise if account.day == day else 0))
        for key, book in account.open_books.items():
            by_strategy[key[1]] = by_strategy.get(key[1], 0) + self._open_profit(run, key, book)
        if loss >= account.day_loss_paise:
            why = f"the day's loss is {rupees(loss)}, at most {rupees(account.day_loss_paise)}"
            self.trip((user_no, "", run), Level.FLATTEN, day, why, now_us)
        for strategy_no, each in by_strategy.items():
            if -each >= account.strategy_loss_paise:
                name = self.name_of(strategy_no)
                why = f"{name}'s loss today is {rupees(-each)}, at most {rupees(account.strategy_loss_paise)}"
                self.trip((user_no, name, run), Level.FLATTEN, day, why, now_us)

    def _look_at_house(self, house: House, run: str, day: int, now_us: int) -> None:
        loss = house.loss_paise(day)
        if loss >= house.day_loss_paise > 0:
            why = f"the day's loss of all users is {rupees(loss)}, at most {rupees(house.day_loss_paise)}"
            self.trip((0, "", run), Level.FLATTEN, day, why, now_us)

    def _open_profit(self, run: str, key: BookKey, book: Book) -> int:
        if not book.quantity or run == MANUAL:
            return 0
        price = self.mark(run, key[2])
        return 0 if price is None else book.unrealised(price)
