"""A user's day in one market: what was ordered, filled, charged, won and lost, exact to the paisa.

Pure: rows of the store in, a statement out. All fills up to the day's end are folded as the books fold them,
so that what is brought forward, the day and what is carried forward are the books' own figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import msgspec

from order.books import Book, BookKey
from order.charges import Charges
from order.day_charges import allot
from order.day_end import Line
from order.reading import average, milliseconds
from shared.models import Product, Side, instant, rupees

EPOCH = date(1970, 1, 1)
KINDS = ("brokerage", "exchange", "sebi", "ipft", "gst", "stt", "stamp", "dp")
_LEVIES = 5
"""So many of them are charged per order; the rest a contract note has by itself."""

OrderKey = tuple[int, int, int, int, int]
"""signal_no, user_no, leg, slice, attempt."""


@dataclass(frozen=True, slots=True)
class Traded:
    """A fill with what it changes: the book, and whose order it is of. `day` in days since the epoch, IST."""

    order: OrderKey
    book: BookKey
    side: Side
    quantity: int
    price_paise: int
    charges_paise: int
    at_us: int
    day: int
    kind: str
    """Of the instrument; charges depend on it."""


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What a book bears of the difference between a day's charges and their estimates, paise."""

    day: int
    book: BookKey
    charges_paise: int


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent of the day.

    Attributes:
        order_id: The tag.
        reference_paise: The price that was decided on: of the signal, of a stop its level; 0: none is known.
        place, of: In the fan-out of its signal, from 1; 0 where nothing went out.
        spread_us: From the first to the last user's order for a broker; None: not two of them.
    """

    key: OrderKey
    order_id: str
    strategy_id: str
    symbol: str
    purpose: str
    side: str
    product: str
    quantity: int
    state: str
    disposition: str
    rule: str
    reference_paise: int
    placed_us: int
    place: int = 0
    of: int = 0
    spread_us: int | None = None


class OrderLine(msgspec.Struct, frozen=True, kw_only=True):
    """An order or what became of an intent; rupees, times UTC.

    Attributes:
        slippage: What it paid more, or got less, than at its reference; negative where it did better. None:
            nothing filled on the day, or no reference.
        slippage_bps: The same in 1/100 of a percent of the reference.
        charges: Of its fills on that day, as estimated with them.
        realised: By its fills on that day, before charges.
        place, of, spread_ms: See `Intent`.
    """

    order_id: str
    signal_no: int
    strategy_id: str
    symbol: str
    purpose: str
    side: str
    product: str
    quantity: int
    filled: int
    average_price: Decimal | None
    reference: Decimal | None
    slippage: Decimal | None
    slippage_bps: Decimal | None
    charges: Decimal
    realised: Decimal
    state: str
    disposition: str
    reason: str
    place: int
    of: int
    spread_ms: Decimal | None
    placed_at: datetime


class FillLine(msgspec.Struct, frozen=True, kw_only=True):
    """One fill of the day; rupees. `realised` is before charges."""

    order_id: str
    strategy_id: str
    symbol: str
    side: str
    product: str
    quantity: int
    price: Decimal
    charges: Decimal
    realised: Decimal
    at: datetime


class PositionLine(msgspec.Struct, frozen=True, kw_only=True):
    """What was open at the day's end, at the latest price where that is of the day; rupees."""

    strategy_id: str
    symbol: str
    product: str
    quantity: int
    average_price: Decimal | None
    mark: Decimal | None
    unrealised: Decimal | None


class DispositionLine(msgspec.Struct, frozen=True, kw_only=True):
    """How many intents ended so, and why: the name of the rule, or empty."""

    disposition: str
    reason: str
    count: int


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Of books, rupees; `net` is realised less charges."""

    realised: Decimal
    charges: Decimal
    net: Decimal


class FinalBooks(msgspec.Struct, frozen=True, kw_only=True):
    """How the broker's final books of the day stood against ours.

    Attributes:
        at: When they were read, UTC.
        clean: Nothing is unexplained.
        orders, foreign: In the broker's book of the day: all, and those that are not ours.
        cash: What the broker said was available, rupees.
        findings: What differed, and what others did, one line each.
    """

    at: datetime
    clean: bool
    orders: int
    foreign: int
    cash: Decimal
    findings: tuple[str, ...]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A user's day in one market, rupees.

    Attributes:
        algo_id: As the user has it now; which one they had before is in the journal.
        charges: Of the day by kind; see `KINDS`. They add up to `of_day.charges`.
        adjustment: What the day's charges are beyond those booked with its fills.
        booked: Whether the day is over and charged as a contract note has it; else they are estimates.
        note: `at 2026 charges` for a day that is older than the known rates; else empty.
        brought, of_day, carried: Books before the day, the day's own, and after it.
        unrealised: Of what was open at its end; `unpriced` positions have no price of that day and are
            not in it.
        net: Carried net and unrealised.
        slippage, slippage_bps: Of all orders with a reference.
        final: Of a live account whose day is over; None: its books were not compared after the close.
    """

    user_id: str
    name: str
    market: str
    day: date
    orders: tuple[OrderLine, ...]
    fills: tuple[FillLine, ...]
    dispositions: tuple[DispositionLine, ...]
    positions: tuple[PositionLine, ...]
    charges: dict[str, Decimal]
    adjustment: Decimal
    booked: bool
    note: str
    brought: Sums
    of_day: Sums
    carried: Sums
    unrealised: Decimal
    unpriced: int
    net: Decimal
    slippage: Decimal
    slippage_bps: Decimal | None
    algo_id: str = ""
    final: FinalBooks | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose statement, of which market."""

    user_id: str
    name: str
    market: str
    algo_id: str = ""


def statement(
    owner: Owner,
    day: int,
    intents: Sequence[Intent],
    fills: Iterable[Traded],
    adjusted: Iterable[Adjusted],
    booked: Mapping[int, Line],
    names: Mapping[int, str],
    marks: Mapping[str, int],
    charges: Charges,
) -> Statement:
    """Return the statement of one user.

    Args:
        owner: Whose.
        day: Days since the epoch, IST.
        intents: Of the day, in the order in which they were placed.
        fills: Of the user in that market from its start, in the order in which they were booked; later days
            are left out.
        adjusted: The same of what days cost beyond their estimates.
        booked: The day's lines of the contract note by symbol number.
        names: Of strategies and symbols by number.
        marks: Latest prices, paise by symbol, where they are of that day.
        charges: The rate table.
    """
    ids = {intent.key: intent.order_id for intent in intents}
    books: dict[BookKey, Book] = {}
    before, own = [0, 0], [0, 0]
    today: list[tuple[Traded, int]] = []
    for fill in fills:
        if fill.day > day:
            continue
        book = books.setdefault(fill.book, Book(fill.book))
        realised = book.fill(fill.side, fill.quantity, fill.price_paise, fill.charges_paise)
        sums = own if fill.day == day else before
        sums[0] += realised
        sums[1] += fill.charges_paise
        if fill.day == day:
            today.append((fill, realised))
    of_scrip: dict[int, int] = defaultdict(int)
    for each in adjusted:
        if each.day == day:
            own[1] += each.charges_paise
            of_scrip[each.book[2]] += each.charges_paise
        elif each.day < day:
            before[1] += each.charges_paise
    kinds = _kinds([fill for fill, _ in today], of_scrip, booked, day, charges)
    lines, slipped, at_reference = _orders(intents, today)
    positions = tuple(_position(book, names, marks) for book in books.values() if book.quantity)
    unrealised = sum((line.unrealised or Decimal(0) for line in positions), Decimal("0.00"))
    after = [before[0] + own[0], before[1] + own[1]]
    return Statement(
        user_id=owner.user_id,
        name=owner.name,
        market=owner.market,
        day=EPOCH + timedelta(days=day),
        orders=lines,
        fills=tuple(_fill(fill, realised, ids, names) for fill, realised in today),
        dispositions=_dispositions(intents),
        positions=positions,
        charges={name: rupees(paise) for name, paise in zip(KINDS, kinds, strict=True)},
        adjustment=rupees(sum(of_scrip.values())),
        booked=bool(booked),
        note=charges.note(day),
        brought=_sums(before),
        of_day=_sums(own),
        carried=_sums(after),
        unrealised=unrealised,
        unpriced=sum(line.mark is None for line in positions),
        net=rupees(after[0] - after[1]) + unrealised,
        slippage=rupees(slipped),
        slippage_bps=_bps(slipped, at_reference),
        algo_id=owner.algo_id,
    )


def _kinds(
    fills: Sequence[Traded],
    adjusted: Mapping[int, int],
    booked: Mapping[int, Line],
    day: int,
    charges: Charges,
) -> list[int]:
    """Return the day's charges by kind, paise: what the books bear, split as the rates say."""
    scrips: dict[int, dict[OrderKey, list[Traded]]] = {}
    for fill in fills:
        scrips.setdefault(fill.book[2], {}).setdefault(fill.order, []).append(fill)
    whole = [0] * len(KINDS)
    for symbol_no in scrips.keys() | adjusted.keys():
        weights = [0] * (len(KINDS) - 1)
        total = adjusted.get(symbol_no, 0)
        for of_order in scrips.get(symbol_no, {}).values():
            first = of_order[0]
            value = sum(fill.quantity * fill.price_paise for fill in of_order)
            total += sum(fill.charges_paise for fill in of_order)
            parts = charges.parts(first.side, Product(first.book[3]), value, day, first.kind)
            for at, name in enumerate(KINDS[:-1]):
                weights[at] += getattr(parts, name)
        line = booked.get(symbol_no)
        if line is not None and sum(line[:4]) == total:
            found = [*allot(line[0], weights[:_LEVIES]), *line[1:4]]
        else:  # the day is not over, or a fill came late: an estimate, the depository's charge not in it
            found = [*allot(total, weights), 0]
        whole = [sum(pair) for pair in zip(whole, found, strict=True)]
    return whole


def _orders(
    intents: Sequence[Intent], today: Sequence[tuple[Traded, int]]
) -> tuple[tuple[OrderLine, ...], int, int]:
    """Return the lines, what all slipped and what they were worth at their references, paise."""
    by_order: dict[OrderKey, list[tuple[Traded, int]]] = defaultdict(list)
    for fill, realised in today:
        by_order[fill.order].append((fill, realised))
    lines, slipped, at_reference = [], 0, 0
    for intent in intents:
        own = by_order.get(intent.key, [])
        filled = sum(fill.quantity for fill, _ in own)
        value = sum(fill.quantity * fill.price_paise for fill, _ in own)
        worth = filled * intent.reference_paise
        slip = (value - worth) * (1 if intent.side == Side.BUY else -1)
        if worth:
            slipped, at_reference = slipped + slip, at_reference + worth
        lines.append(
            OrderLine(
                order_id=intent.order_id,
                signal_no=intent.key[0],
                strategy_id=intent.strategy_id,
                symbol=intent.symbol,
                purpose=intent.purpose,
                side=intent.side,
                product=intent.product,
                quantity=intent.quantity,
                filled=filled,
                average_price=average(value, filled),
                reference=rupees(intent.reference_paise) if intent.reference_paise else None,
                slippage=rupees(slip) if worth else None,
                slippage_bps=_bps(slip, worth),
                charges=rupees(sum(fill.charges_paise for fill, _ in own)),
                realised=rupees(sum(realised for _, realised in own)),
                state=intent.state,
                disposition=intent.disposition,
                reason=intent.rule,
                place=intent.place,
                of=intent.of,
                spread_ms=milliseconds(intent.spread_us),
                placed_at=instant(intent.placed_us),
            )
        )
    return tuple(lines), slipped, at_reference


def _fill(
    fill: Traded, realised: int, ids: Mapping[OrderKey, str], names: Mapping[int, str]
) -> FillLine:
    return FillLine(
        order_id=ids.get(fill.order, ""),
        strategy_id=names[fill.book[1]],
        symbol=names[fill.book[2]],
        side=fill.side.value,
        product=fill.book[3],
        quantity=fill.quantity,
        price=rupees(fill.price_paise),
        charges=rupees(fill.charges_paise),
        realised=rupees(realised),
        at=instant(fill.at_us),
    )


def _position(book: Book, names: Mapping[int, str], marks: Mapping[str, int]) -> PositionLine:
    symbol = names[book.key[2]]
    mark = marks.get(symbol)
    return PositionLine(
        strategy_id=names[book.key[1]],
        symbol=symbol,
        product=book.key[3],
        quantity=book.quantity,
        average_price=average(book.cost_paise, book.quantity),
        mark=None if mark is None else rupees(mark),
        unrealised=None if mark is None else rupees(book.unrealised(mark)),
    )


def _dispositions(intents: Iterable[Intent]) -> tuple[DispositionLine, ...]:
    """Stops are no answer to a signal and are left out, as in the listing of signals."""
    tally: dict[tuple[str, str], int] = defaultdict(int)
    for intent in intents:
        if intent.purpose != "STOP":
            tally[intent.disposition, intent.rule.partition(":")[0]] += 1
    return tuple(
        DispositionLine(disposition=ended, reason=rule, count=count)
        for (ended, rule), count in sorted(tally.items())
    )


def _sums(pair: Sequence[int]) -> Sums:
    return Sums(realised=rupees(pair[0]), charges=rupees(pair[1]), net=rupees(pair[0] - pair[1]))


def _bps(slipped: int, worth: int) -> Decimal | None:
    return (Decimal(slipped * 10_000) / worth).quantize(Decimal("0.01")) if worth else None
