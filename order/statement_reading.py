"""Statements and tax lots out of the order store, read-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal

import msgspec

from order.books import BookKey
from order.charges import Charges
from order.day_charges import allot
from order.day_end import Line
from order.fan_out import FanOut, read_fan_out
from order.ledger import Ledger
from order.orders import Purpose, disposition
from order.reconcile import FINAL, Reconciliation
from order.statement import EPOCH, Adjusted, FinalBooks, Intent, OrderKey, Owner, Statement, Traded, statement
from order.tax_lots import TaxClass, Trade, tax_lots
from shared.clock import DAY_US, IST_OFFSET_US, ist_day
from shared.instruments import Instruments
from shared.models import OrderState, Side, instant, paise, rupees

_KEY = "o.signal_no, o.user_no, o.leg, o.slice, o.attempt"


class LotView(msgspec.Struct, frozen=True, kw_only=True):
    """Shares bought and sold, first in first out over all strategies and products; rupees.

    Attributes:
        tax_class: `speculative` (bought and sold on one day), `short_term` or `long_term`.
        bought, sold: Days; a short day trade is bought after it is sold.
        profit: Proceeds less cost, before charges.
        charges: Its part of what purchase and sale cost, STT among it.
    """

    symbol: str
    tax_class: TaxClass
    bought: date
    sold: date
    quantity: int
    cost: Decimal
    proceeds: Decimal
    profit: Decimal
    charges: Decimal


class _Decision(msgspec.Struct):
    price: Decimal | None = None
    stop: Decimal | None = None


class StatementReader(Ledger):
    """A ledger that tells a user's day and years."""

    def newest_day(self, run: str) -> int | None:
        """Return the last day on which anybody had an order in market *run*: since the epoch, IST."""
        row = self._sql.execute(
            "SELECT max(placed_us) FROM orders JOIN inbox USING (signal_no)"
            " WHERE market_no IN (SELECT no FROM names WHERE kind = 'market' AND name = ?)",
            (run,),
        ).fetchone()
        return None if row is None or row[0] is None else ist_day(int(row[0]))

    def statement(self, user_id: str, run: str, day: int, marks: Mapping[str, int]) -> Statement:
        """Return a user's day; see `order.statement`.

        Args:
            user_id: Of a known user.
            run: The market.
            day: Days since the epoch, IST.
            marks: Latest prices of that market, paise by symbol, where they are of that day.
        """
        user = next(user for user in self.users() if user.user_id == user_id)
        made = statement(
            Owner(user.user_id, user.name, run, user.algo_id),
            day,
            list(self._intents(user_id, run, day)),
            self._traded(user_id, run),
            self._adjusted(user_id, run),
            self._booked(user_id, run, day),
            self._names,
            marks,
            Charges(),
        )
        return msgspec.structs.replace(made, final=self._final(user.user_no, day) if run == "live" else None)

    def lots(self, user_id: str, run: str, since: date, until: date) -> tuple[list[LotView], int]:
        """Return what was sold from *since* to *until*, and how many shares of it were never bought here.

        Args:
            user_id: Of a known user.
            run: The market.
            since, until: First and last day of the sales.
        """
        trades: dict[str, list[Trade]] = defaultdict(list)
        for fill, charges in self._charged(user_id, run):
            trade = Trade(fill.day, fill.side, fill.quantity, fill.price_paise, charges)
            trades[self._names[fill.book[2]]].append(trade)
        found, uncovered = [], 0
        for symbol, of_symbol in trades.items():
            lots = tax_lots(sorted(of_symbol, key=lambda trade: trade.day))
            uncovered += sum(each.quantity for each in lots.uncovered if since <= _date(each.day) <= until)
            found += [
                LotView(
                    symbol=symbol,
                    tax_class=each.tax_class,
                    bought=_date(each.bought),
                    sold=_date(each.sold),
                    quantity=each.quantity,
                    cost=rupees(each.cost_paise),
                    proceeds=rupees(each.proceeds_paise),
                    profit=rupees(each.profit_paise),
                    charges=rupees(each.charges_paise),
                )
                for each in lots.closed
                if since <= _date(each.sold) <= until
            ]
        return sorted(found, key=lambda lot: (lot.sold, lot.symbol)), uncovered

    # -- inside ----------------------------------------------------------------------------------

    def _traded(self, user_id: str, run: str) -> Iterator[Traded]:
        """Yield all fills in the order in which the books took them."""
        where, values = self._where(user_id, run)
        instruments = Instruments.load()
        for row in self._sql.execute(
            f"SELECT {_KEY}, o.side, o.product, market_no, strategy_no, symbol_no, f.quantity,"
            " f.price_paise, f.charges_paise, f.at_us"
            " FROM fills f JOIN orders o USING (signal_no, user_no, leg, slice, attempt)"
            f" JOIN inbox USING (signal_no) WHERE {where} ORDER BY f.fill_no",
            values,
        ):
            market, strategy, symbol, quantity, price, charges, at_us = map(int, row[7:])
            instrument = instruments.find(self._names[symbol])
            yield Traded(
                order=_key(row),
                book=(market, strategy, symbol, str(row[6]), int(row[1])),
                side=Side(str(row[5])),
                quantity=quantity,
                price_paise=price,
                charges_paise=charges,
                at_us=at_us,
                day=ist_day(at_us),
                kind=instrument.kind if instrument else "",
            )

    def _final(self, user_no: int, day: int) -> FinalBooks | None:
        row = self._sql.execute(
            "SELECT value FROM account_marks WHERE user_no = ? AND kind = ? AND what = ?",
            (user_no, FINAL, str(day)),
        ).fetchone()
        if row is None:
            return None
        found = msgspec.json.decode(str(row[0]), type=Reconciliation)
        return FinalBooks(
            at=instant(found.at_us),
            clean=found.clean,
            orders=found.orders,
            foreign=found.foreign,
            cash=rupees(found.cash_paise),
            findings=tuple(each.text for each in found.findings),
        )

    def _adjusted(self, user_id: str, run: str) -> list[Adjusted]:
        rows = self._of_user(
            "SELECT day, charges_paise, market_no, strategy_no, symbol_no, product, o.user_no"
            " FROM adjustments o", user_id, run,
        )  # fmt: skip
        return [
            Adjusted(int(day), (int(market), int(strategy), int(symbol), str(product), int(user)), int(paise))
            for day, paise, market, strategy, symbol, product, user in rows
        ]

    def _booked(self, user_id: str, run: str, day: int) -> dict[int, Line]:
        rows = self._of_user(
            "SELECT symbol_no, levies_paise, stt_paise, stamp_paise, dp_paise, estimated_paise, day"
            " FROM day_charges o", user_id, run,
        )  # fmt: skip
        return {
            int(row[0]): (int(row[1]), int(row[2]), int(row[3]), int(row[4]), int(row[5]))
            for row in rows
            if int(row[6]) == day
        }

    def _of_user(self, query: str, user_id: str, run: str) -> list[tuple[int | str, ...]]:
        where, values = self._where(user_id, run)
        return [tuple(row) for row in self._sql.execute(f"{query} WHERE {where}", values)]

    def _charged(self, user_id: str, run: str) -> Iterator[tuple[Traded, int]]:
        """Yield fills with all that they cost: a day's adjustment falls on its fills by their value."""
        of_book: dict[tuple[int, BookKey], list[Traded]] = defaultdict(list)
        fills = list(self._traded(user_id, run))
        for fill in fills:
            of_book[fill.day, fill.book].append(fill)
        more: dict[int, int] = defaultdict(int)
        for each in self._adjusted(user_id, run):
            own = of_book.get((each.day, each.book), [])
            parts = allot(each.charges_paise, [fill.quantity * fill.price_paise for fill in own])
            for fill, part in zip(own, parts, strict=True):
                more[id(fill)] += part
        return ((fill, fill.charges_paise + more[id(fill)]) for fill in fills)

    def _intents(self, user_id: str, run: str, day: int) -> Iterator[Intent]:
        where, values = self._where(user_id, run)
        start = day * DAY_US - IST_OFFSET_US
        span = (start, start + DAY_US - 1)
        rows = self._sql.execute(
            f"SELECT {_KEY}, purpose, side, product, quantity, price_paise, state, rule, placed_us,"
            " signal_id, strategy_no, symbol_no, payload,"
            " coalesce(nullif(t.trigger_paise, 0), (SELECT a.trigger_paise FROM amendments a"
            " WHERE a.signal_no = o.signal_no AND a.user_no = o.user_no AND a.leg = o.leg"
            " AND a.slice = o.slice AND a.attempt = o.attempt AND a.trigger_paise > 0"
            " ORDER BY number DESC LIMIT 1), 0)"
            " FROM orders o JOIN inbox USING (signal_no)"
            " LEFT JOIN triggers t USING (signal_no, user_no, leg, slice, attempt)"
            f" WHERE {where} AND (placed_us BETWEEN ? AND ? OR EXISTS (SELECT 1 FROM fills f"
            " WHERE f.signal_no = o.signal_no AND f.user_no = o.user_no AND f.leg = o.leg"
            " AND f.slice = o.slice AND f.attempt = o.attempt AND f.at_us BETWEEN ? AND ?))"
            " ORDER BY placed_us, o.signal_no, o.leg, o.slice, o.attempt",
            (*values, *span, *span),
        )
        signals: dict[int, FanOut] = {}
        for row in list(rows):
            key, state, rule = _key(row), OrderState(str(row[10])), str(row[11])
            if key[0] not in signals:
                signals[key[0]] = read_fan_out(self._sql, key[0])
            fan_out = signals[key[0]]
            left = state is not OrderState.REFUSED and row[5] != Purpose.STOP
            place = fan_out.place(key[1]) if left else 0
            yield Intent(
                key=key,
                order_id=self._users[key[1]].tag(str(row[13]), *key[2:]),
                strategy_id=self._names[int(row[14])],
                symbol=self._names[int(row[15])],
                purpose=str(row[5]),
                side=str(row[6]),
                product=str(row[7]),
                quantity=int(row[8]),
                state=state.value,
                disposition=disposition(state, rule).value,
                rule=rule,
                reference_paise=_reference(bytes(row[16]), str(row[5]), int(row[9]), int(row[17])),
                placed_us=int(row[12]),
                place=place,
                of=len(fan_out.users) if place else 0,
                spread_us=fan_out.spread_us if place else None,
            )


def _key(row: tuple[object, ...]) -> OrderKey:
    signal_no, user_no, leg, slice_no, attempt = (int(str(value)) for value in row[:5])
    return signal_no, user_no, leg, slice_no, attempt


def _reference(payload: bytes, purpose: str, price_paise: int, trigger_paise: int) -> int:
    """Return the price decided on, paise: the signal's, else the order's own; of a stop its level."""
    decided = _Decision()
    if payload.startswith(b'{"schema"'):
        decided = msgspec.json.decode(payload, type=_Decision)
    if purpose == Purpose.STOP:
        return trigger_paise or (paise(decided.stop) if decided.stop else 0)
    return paise(decided.price) if decided.price else price_paise


def _date(day: int) -> date:
    return EPOCH + timedelta(days=day)
