"""Protections switched off on purpose: a proof that does not miss them proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from broker.angel_one.venue import AngelOneVenue
from broker.base import Accepted, OrderTerms, PlaceOutcome, Rejected, Slot, Unknown, VenueFill
from order import resolver
from order.bookkeeper import Bookkeeper, Unreadable
from order.desk import Received
from order.execution import Execution
from order.manager import OrderManager
from order.orders import Order, Purpose
from order.reports import Reports
from order.subscriber import SignalSubscriber
from shared.bus.stream import Row, Sight, StreamWriter
from shared.errors import ConfigurationError
from shared.failpoint import hit
from shared.models import Quote
from shared.store.lock import FileLock
from strategy import relay
from strategy.verdict import InStep, Ledger, Renew, judge
from strategy.verdict import Verdict as Finding

_MAKERS: dict[str, Callable[[], None]] = {}


def mutant(maker: Callable[[], None]) -> Callable[[], None]:
    """Register a mutant under its function's name."""
    _MAKERS[maker.__name__] = maker
    return maker


def names() -> list[str]:
    """Return the names of all mutants."""
    return sorted(_MAKERS)


def make(name: str) -> None:
    """Break this process as *name* says; an empty name breaks nothing.

    Raises:
        ConfigurationError: There is no such mutant.
    """
    if not name:
        return
    if name not in _MAKERS:
        raise ConfigurationError(f"MUTANT {name!r}: unknown.", remedy=f"Known: {', '.join(names())}.")
    _MAKERS[name]()


@mutant
def unclaimed() -> None:
    """A claim is written with whatever comes next, not before the send."""

    def claim_all(self: Bookkeeper, orders: list[Order]) -> list[bool]:
        desk, now_us = self.desk, self._clock.now_us()
        return [self._current(desk, order) is order and desk.claim(order, now_us) for order in orders]

    put(Bookkeeper, "claim_all", claim_all)


@mutant
def cursor_first() -> None:
    """The cursor is committed before the intents."""
    take = Bookkeeper.take

    def taken(self: Bookkeeper, group: str, items: Sequence[Received | Unreadable]) -> list[Order]:
        if items:
            last = items[-1]
            self.move_cursor(group, last.engine, last.epoch, last.seq)
            hit("order.taking")
        return take(self, group, items)

    put(Bookkeeper, "take", taken)


@mutant
def blind_retry() -> None:
    """A lost answer is answered by sending again."""
    place = AngelOneVenue.place

    async def placed(
        self: AngelOneVenue, tag: str, terms: OrderTerms, slot: Slot | None = None
    ) -> PlaceOutcome:
        outcome = await place(self, tag, terms, slot)
        return await place(self, tag, terms) if isinstance(outcome, Unknown) else outcome

    put(AngelOneVenue, "place", placed)


@mutant
def no_settle_wait() -> None:
    """What one reading does not show was never there."""
    for name in ("ENTRY_ABSENT_US", "EXIT_ABSENT_US", "EXIT_WITH_STOP_US"):
        put(resolver, name, 0)
    put(resolver, "ABSENT_READS", 1)


@mutant
def plain_pubsub() -> None:
    """A subscriber hears what is said from now on."""
    initialize = SignalSubscriber.initialize

    async def initialized(self: SignalSubscriber, order_manager: OrderManager) -> None:
        await initialize(self, order_manager)
        for group, reader in self._readers.items():
            head = await reader.head()
            await order_manager.move_cursor(group, self.engine, head.epoch, head.seq)

    put(SignalSubscriber, "initialize", initialized)


@mutant
def unfenced() -> None:
    """Anybody may keep the books."""

    def acquired(self: FileLock) -> bool:
        return True

    put(FileLock, "try_acquire", acquired)


@mutant
def blind_append() -> None:
    """The relay believes that Redis has whatever it was sent."""
    append = StreamWriter.append

    async def appended(self: StreamWriter, epoch: str, before: str, rows: Sequence[Row]) -> str | None:
        await append(self, epoch, before, rows)
        return None

    def judged(sight: Sight, ledger: Ledger, *, proved: bool) -> Finding:
        found = judge(sight, ledger, proved=proved)
        return InStep(ledger.head) if isinstance(found, Renew) else found

    put(StreamWriter, "append", appended)
    put(relay, "judge", judged)


@mutant
def exit_from_signal() -> None:
    """An exit is as large as an entry would be, whatever was bought, and nobody looks at it again."""
    send = Execution.send

    def sent(self: Execution, order: Order, quote: Quote | None, now_us: int) -> None:
        if order.purpose is Purpose.EXIT and not order.attempt:
            terms = next(iter(order.user.subscriptions.values()))
            order.quantity = int(terms.sizing.value)
        send(self, order, quote, now_us)

    def covered(*_: object) -> bool:
        return True

    put(Execution, "send", sent)
    put(Reports, "_covered", covered)  # the second look at it, at the claim


@mutant
def accepted_is_filled() -> None:
    """An accepted order counts as done at its price."""
    answer = Reports.answer

    def answered(self: Reports, order: Order, outcome: PlaceOutcome, now_us: int) -> None:
        answer(self, order, outcome, now_us)
        if isinstance(outcome, Accepted) and order.remaining:
            price = order.limit_terms().price_paise
            self.fill(order, VenueFill(order.remaining, price, now_us, price, now_us), now_us)
            self.journal_moves("answer", now_us, [])

    put(Reports, "answer", answered)


@mutant
def lost_is_rejected() -> None:
    """A lost answer is taken for a no."""
    answer = Reports.answer

    def answered(self: Reports, order: Order, outcome: PlaceOutcome, now_us: int) -> None:
        answer(self, order, Rejected("time-out") if isinstance(outcome, Unknown) else outcome, now_us)

    put(Reports, "answer", answered)


def put(owner: object, name: str, value: object) -> None:
    """Replace a part of the product in this process."""
    setattr(owner, name, value)
