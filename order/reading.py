"""What is in the order store, for people and pages: committed rows as typed views, read-only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from order.fan_out import read_fan_out
from order.met import EX_DATE, Met
from order.night import NIGHT, Night, NightState
from order.orders import DIRECT_ENGINE, OWN_ENGINE, disposition
from order.reconcile import FINAL, RECONCILED, Reconciliation
from order.rows import read_silences, read_switches, read_users
from order.stores import open_for_reading
from order.switches import LATCH_FILE, LATCHED
from order.users import User
from order.writer import RANGE
from shared.clock import SystemClock, ist_day
from shared.models import OrderState, Product, Signal, SignalType, instant, rupees


class SignalView(msgspec.Struct, frozen=True, kw_only=True):
    """A signal as it was taken in, with how it ended for its users; see `FanOut` for the last two."""

    signal_no: int
    signal_id: str
    run: str
    strategy_id: str
    symbol: str
    timeframe: str
    signal_type: SignalType
    price: Decimal
    bar_close: datetime
    confidence: float
    reason: str
    group: str
    taken_at: datetime
    dispositions: dict[str, int]
    sent: int
    spread_ms: Decimal | None


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An intent and the order that came of it. Times are UTC, prices rupees.

    Attributes:
        request: Kind and state of the latest modify or cancel; empty where there was none.
    """

    order_id: str
    signal_no: int
    user_id: str
    strategy_id: str
    market: str
    symbol: str
    purpose: str
    side: str
    product: str
    order_type: str
    quantity: int
    price: Decimal
    state: str
    disposition: str
    rule: str
    filled: int
    average_price: Decimal | None
    charges: Decimal
    venue_order_id: str | None
    request: str
    placed_at: datetime
    updated_at: datetime


class FillView(msgspec.Struct, frozen=True, kw_only=True):
    """One fill with the quote that it used."""

    order_id: str
    user_id: str
    strategy_id: str
    market: str
    symbol: str
    side: str
    quantity: int
    price: Decimal
    charges: Decimal
    at: datetime
    quote: Decimal
    quote_at: datetime


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
    """A book: what one user holds for one strategy in one market, and its profit so far.

    `protection` names the levels that we watch. A stop ends with its day: what is bare overnight says so.
    """

    user_id: str
    strategy_id: str
    market: str
    symbol: str
    product: str
    target: str
    quantity: int
    average_price: Decimal | None
    realised: Decimal
    charges: Decimal
    net: Decimal
    mark: Decimal | None
    unrealised: Decimal | None
    protection: str


class Reader:
    """Read-only access to an order store, also of a running system.

    Args:
        home: The state folder.
        url: Of the PostgreSQL database that keeps the books; None: they lie in the state folder.

    Raises:
        StoreError: There is no store, or it is of another version.
    """

    def __init__(self, home: Path, url: str | None = None) -> None:
        self._home = home
        self.database = open_for_reading(home, url)
        self._sql = self.database.connection
        self._names = {int(no): str(name) for no, name in self._sql.execute("SELECT no, name FROM names")}
        self._users = {user.user_no: user for user in read_users(self.database)}

    @property
    def environment(self) -> str:
        """What the store is marked with."""
        return self.database.meta("environment") or "paper"

    def users(self) -> list[User]:
        """Return all users by number."""
        return list(self._users.values())

    def switched(self, user_id: str | None = None) -> list[str]:
        """Return what takes no entries, a line for each switch that is on; of one user's with the house's."""
        found = read_switches(self._sql, self._users, ist_day(SystemClock().now_us()))
        lies = (self._home / LATCH_FILE).exists() and not any(view.whole_kill for view in found)
        own = [str(view) for view in found if user_id is None or view.user_id in ("", user_id)]
        return [*([f"killed: {LATCHED[1]}"] if lies else []), *own, *read_silences(self._sql)]

    def markets(self) -> list[str]:
        """Return the markets (runs) seen so far, oldest first."""
        # Each writer has numbers and names of its own, from the start of its range.
        rows = self._sql.execute(
            f"SELECT name FROM names WHERE kind = 'market' GROUP BY name ORDER BY min(no % {RANGE})"
        )
        return [str(name) for (name,) in rows]

    def latest_market(self) -> str | None:
        """Return the market (run) of the latest signal or direct order, or None."""
        row = self._sql.execute(
            f"SELECT market_no FROM inbox ORDER BY {self.database.newest('signal_no')} LIMIT 1"
        ).fetchone()
        return None if row is None else self._names[int(row[0])]

    def signals(self, limit: int, *, run: str | None = None) -> Iterator[SignalView]:
        """Yield the latest *limit* signals, newest first; of one *run* where given."""
        rows = self._sql.execute(
            "SELECT signal_no, payload, group_name, taken_us FROM inbox"
            f" WHERE engine NOT IN (?1, '{OWN_ENGINE}')"
            " AND (?2 IS NULL OR market_no IN (SELECT no FROM names WHERE kind = 'market' AND name = ?2))"
            f" ORDER BY {self.database.newest('signal_no')} LIMIT ?3",
            (DIRECT_ENGINE, run, limit),
        )
        for number, payload, group, taken_us in list(rows):
            signal = msgspec.json.decode(bytes(payload), type=Signal)
            fan_out = read_fan_out(self._sql, int(number))
            yield SignalView(
                signal_no=int(number),
                signal_id=signal.signal_id,
                run=signal.run,
                strategy_id=signal.strategy_id,
                symbol=signal.symbol,
                timeframe=signal.timeframe,
                signal_type=signal.signal_type,
                price=signal.price,
                bar_close=signal.bar_close,
                confidence=signal.confidence,
                reason=signal.reason,
                group=str(group),
                taken_at=instant(int(taken_us)),
                dispositions=self._dispositions(int(number)),
                sent=len(fan_out.users),
                spread_ms=milliseconds(fan_out.spread_us),
            )

    def orders(
        self, limit: int, *, user_id: str | None = None, run: str | None = None, refused: bool = False,
        all_intents: bool = False,
    ) -> Iterator[OrderView]:  # fmt: skip
        """Yield the latest *limit* orders, newest first; of one user, of one market where given.

        Args:
            refused: Also what a rule refused.
            all_intents: Also what had nothing to do (ALREADY_THERE, NOTHING_TO_EXIT).
        """
        where, values = self._where(user_id, run)
        newest = self.database.newest("signal_no")
        if not all_intents:
            other = "AND rule IN ('already_there', 'nothing_to_exit')" if refused else ""
            where += f" AND NOT (o.state = 'REFUSED' {other})"
        for row in list(
            self._sql.execute(
                "SELECT o.signal_no, o.user_no, leg, slice, attempt, purpose, side, product, order_type,"
                " quantity, price_paise, state, rule, filled, value_paise, charges_paise, venue_no,"
                " placed_us, updated_us,"
                " signal_id, market_no, strategy_no, symbol_no, venue_order_id,"
                " (SELECT kind || ' ' || a.state FROM amendments a WHERE a.signal_no = o.signal_no"
                " AND a.user_no = o.user_no AND a.leg = o.leg AND a.slice = o.slice"
                " AND a.attempt = o.attempt ORDER BY number DESC LIMIT 1)"
                " FROM orders o JOIN inbox USING (signal_no)"
                " LEFT JOIN venue_orders USING (signal_no, user_no, leg, slice, attempt)"
                f" WHERE {where} ORDER BY {newest}, o.user_no DESC, leg DESC LIMIT ?",
                (*values, limit),
            )
        ):
            yield self._order(tuple(row))

    def fills(self, limit: int, *, user_id: str | None = None, run: str | None = None) -> Iterator[FillView]:
        """Yield the latest *limit* fills, newest first."""
        where, values = self._where(user_id, run)
        newest = self.database.newest("fill_no")
        for row in list(
            self._sql.execute(
                "SELECT o.signal_no, o.user_no, leg, slice, attempt, side, f.quantity, f.price_paise,"
                " f.charges_paise, at_us, quote_paise, quote_at_us, signal_id, market_no, strategy_no,"
                " symbol_no"
                " FROM fills f JOIN orders o USING (signal_no, user_no, leg, slice, attempt)"
                f" JOIN inbox USING (signal_no) WHERE {where} ORDER BY {newest} LIMIT ?",
                (*values, limit),
            )
        ):
            user = self._users[int(row[1])]
            yield FillView(
                order_id=user.tag(str(row[12]), int(row[2]), int(row[3]), int(row[4])),
                user_id=user.user_id,
                strategy_id=self._names[int(row[14])],
                market=self._names[int(row[13])],
                symbol=self._names[int(row[15])],
                side=str(row[5]),
                quantity=int(row[6]),
                price=rupees(int(row[7])),
                charges=rupees(int(row[8])),
                at=instant(int(row[9])),
                quote=rupees(int(row[10])),
                quote_at=instant(int(row[11])),
            )

    def reconciliations(self, *, final: bool = False) -> Iterator[tuple[str, Reconciliation]]:
        """Yield user and last comparison with the broker's account, by user; or those of *final* books."""
        rows = self._sql.execute(
            "SELECT user_no, value FROM account_marks WHERE kind = ? ORDER BY user_no, at_us",
            (FINAL if final else RECONCILED,),
        )
        for user_no, value in rows:
            with contextlib.suppress(msgspec.MsgspecError, KeyError):  # damage is verify's affair
                yield self._users[int(user_no)].user_id, msgspec.json.decode(str(value), type=Reconciliation)

    def positions(
        self, *, user_id: str | None = None, run: str | None = None, marks: dict[str, int] | None = None
    ) -> Iterator[PositionView]:
        """Yield the books by user, strategy and symbol, closed ones with their profit, too.

        Args:
            user_id: Of one user only.
            run: Of one market only.
            marks: Latest prices of that market, paise by symbol, for the unrealised profit.
        """
        rows = self._sql.execute(
            "SELECT market_no, strategy_no, symbol_no, product, user_no, target, quantity, cost_paise,"
            " realised_paise, charges_paise, stop_paise, target_paise FROM books LEFT JOIN guards"
            " USING (market_no, strategy_no, symbol_no, product, user_no)"
            " ORDER BY user_no, strategy_no, symbol_no"
        )
        kept = self._sql.execute("SELECT value FROM account_marks WHERE kind = ?", (NIGHT,))
        nights = {night.book: night for night in (Night.stored(str(value)) for (value,) in kept)}
        kept = self._sql.execute("SELECT value FROM account_marks WHERE kind = ?", (EX_DATE,))
        met = {each.book: each for each in (Met.stored(str(value)) for (value,) in kept)}
        for (
            market_no,
            strategy_no,
            symbol_no,
            product,
            user_no,
            target,
            quantity,
            cost,
            realised,
            charges,
            stop,
            target_price,
        ) in rows:
            user, market = self._users[int(user_no)], self._names[int(market_no)]
            if (user_id and user.user_id != user_id) or (run and market != run):
                continue
            symbol, held = self._names[int(symbol_no)], int(quantity)
            mark = (marks or {}).get(symbol)
            yield PositionView(
                user_id=user.user_id,
                strategy_id=self._names[int(strategy_no)],
                market=market,
                symbol=symbol,
                product=str(product),
                target=str(target),
                quantity=held,
                average_price=average(int(cost), held),
                realised=rupees(int(realised)),
                charges=rupees(int(charges)),
                net=rupees(int(realised) - int(charges)),
                mark=None if mark is None else rupees(mark),
                unrealised=None if mark is None or not held else rupees(held * mark - int(cost)),
                protection=_protection(
                    held, str(product), int(stop or 0), int(target_price or 0),
                    nights.get((market_no, strategy_no, symbol_no, product, user_no)),
                    met.get((market_no, strategy_no, symbol_no, product, user_no)),
                ),
            )

    def dispositions(self, run: str | None = None) -> dict[str, int]:
        """Return how many intents ended in which disposition, of one market or of all."""
        rows = self._sql.execute(
            "SELECT state, rule, count(*) FROM orders JOIN inbox USING (signal_no)"
            f" WHERE engine NOT IN (?1, '{OWN_ENGINE}') AND purpose != 'STOP'"
            " AND (?2 IS NULL OR market_no IN (SELECT no FROM names WHERE kind = 'market' AND name = ?2))"
            " GROUP BY state, rule",
            (DIRECT_ENGINE, run),
        )
        return _tally(rows)

    def counts(self, run: str | None = None) -> dict[str, int]:
        """Return the number of signals, orders at a venue and fills of one market, or of all."""
        market = "(?1 IS NULL OR market_no IN (SELECT no FROM names WHERE kind = 'market' AND name = ?1))"
        queries = {
            "signals": "SELECT count(*) FROM inbox WHERE engine NOT IN"
            f" ('{DIRECT_ENGINE}', '{OWN_ENGINE}') AND {market}",
            "orders": "SELECT count(venue_no) + count(nullif(venue_order_id, '')) FROM orders"
            " JOIN inbox USING (signal_no)"
            f" LEFT JOIN venue_orders USING (signal_no, user_no, leg, slice, attempt) WHERE {market}",
            "fills": f"SELECT count(*) FROM fills JOIN inbox USING (signal_no) WHERE {market}",
        }
        rows = {name: self._sql.execute(query, (run,)).fetchone() for name, query in queries.items()}
        return {name: int(row[0]) if row else 0 for name, row in rows.items()}

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def _dispositions(self, signal_no: int) -> dict[str, int]:
        return _tally(
            self._sql.execute(
                "SELECT state, rule, count(*) FROM orders WHERE signal_no = ? AND purpose != 'STOP'"
                " GROUP BY state, rule",
                (signal_no,),
            )
        )

    def _where(self, user_id: str | None, run: str | None) -> tuple[str, list[object]]:
        where = "1 = 1"
        values: list[object] = []
        if user_id is not None:
            number = next((user.user_no for user in self._users.values() if user.user_id == user_id), -1)
            where, values = f"{where} AND o.user_no = ?", [*values, number]
        if run is not None:
            where += " AND market_no IN (SELECT no FROM names WHERE kind = 'market' AND name = ?)"
            values = [*values, run]
        return where, values

    def _order(self, row: tuple[object, ...]) -> OrderView:
        number = [0 if value is None else int(str(value)) for value in row[:5]]
        user, state, rule = self._users[number[1]], OrderState(str(row[11])), str(row[12])
        filled, value = int(str(row[13])), int(str(row[14]))
        return OrderView(
            order_id=user.tag(str(row[19]), number[2], number[3], number[4]),
            signal_no=number[0],
            user_id=user.user_id,
            strategy_id=self._names[int(str(row[21]))],
            market=self._names[int(str(row[20]))],
            symbol=self._names[int(str(row[22]))],
            purpose=str(row[5]),
            side=str(row[6]),
            product=str(row[7]),
            order_type=str(row[8]),
            quantity=int(str(row[9])),
            price=rupees(int(str(row[10]))),
            state=state.value,
            disposition=disposition(state, rule).value,
            rule=rule,
            filled=filled,
            average_price=average(value, filled),
            charges=rupees(int(str(row[15]))),
            venue_order_id=venue_id(row[16], row[23]),
            request=str(row[24] or ""),
            placed_at=instant(int(str(row[17]))),
            updated_at=instant(int(str(row[18]))),
        )


def _protection(
    held: int, product: str, stop_paise: int, target_paise: int, night: Night | None, met: Met | None
) -> str:
    """Return what protects a position, in words; no DAY stop survives the close."""
    levels = (("stop", stop_paise), ("target", target_paise))
    said = [f"{name} {rupees(paise)}" for name, paise in levels if held and paise]
    if held and product == Product.DELIVERY:
        resting = night.quantity if night is not None and night.state is NightState.RESTING else 0
        if night is not None and resting:
            said.append(f"overnight {resting} by GTT {night.rule_id}")
        if resting < held:
            said.append("UNPROTECTED OVERNIGHT")
    if held and met is not None and met.waits:
        said.append(f"REVIEW: {met.what}")
    return ", ".join(said)


def venue_id(paper_no: object, at_broker: object) -> str | None:
    """Return an order's id at its venue: a number of paper's own, or what the broker gave."""
    if paper_no is not None:
        return f"P{int(str(paper_no)):09d}"
    return str(at_broker) if at_broker else None


def average(value_paise: int, quantity: int) -> Decimal | None:
    """Return value over quantity in rupees, to a hundredth of a paisa; None for nothing."""
    return (rupees(value_paise) / quantity).quantize(Decimal("0.0001")) if quantity else None


def milliseconds(span_us: int | None) -> Decimal | None:
    """Return microseconds as milliseconds."""
    return None if span_us is None else Decimal(span_us) / 1000


def _tally(rows: object) -> dict[str, int]:
    tally: dict[str, int] = {}
    for state, rule, count in rows:  # type: ignore[attr-defined]  # a cursor of three columns
        ended = disposition(OrderState(str(state)), str(rule)).value
        tally[ended] = tally.get(ended, 0) + int(count)
    return dict(sorted(tally.items()))
