"""What the listings show of each noun: rows of the store in IST and rupees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Generic

from app.grid import Cell, Column, Row, print_grid
from shared.calendar import IST

if TYPE_CHECKING:
    from app.strategies import StrategyView
    from order.reading import FillView, OrderView, PositionView, SignalView
    from order.users import ShownUser, Sizing

STATE_STYLES = {
    "FILLED": "green",
    "PARTIALLY_FILLED": "green",
    "ACCEPTED": "cyan",
    "NEW": "cyan",
    "SENDING": "cyan",
    "UNKNOWN": "bold red",
    "REVIEW": "bold red",
    "REJECTED": "red",
    "REFUSED": "yellow",
}
BUYING = frozenset({"BUY", "ENTER_LONG", "EXIT_SHORT"})
SIZINGS = {
    "fixed_quantity": "{value} shares",
    "fixed_value": "₹{value}",
    "percent_of_allocation": "{value} % of allocation",
    "risk_percent": "{value} % of allocation at risk",
    "signal_multiple": "{value} times the signal's shares",
}
START = "`trading run` makes some."


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """A noun's table.

    Attributes:
        title: Stands above it.
        columns: Made for the rows at hand: a common year moves into the header.
        empty: Is said in place of a table without rows.
    """

    title: str
    columns: Callable[[Sequence[Row]], list[Column[Row]]]
    empty: str

    def show(self, rows: Iterable[Row], title: str = "") -> None:
        """Print the table, or what to do where there is nothing to show."""
        found = list(rows)
        if found:
            print_grid(title or self.title, self.columns(found), found)
        else:
            print(self.empty)


def ist(at: datetime, *, year: bool = True) -> str:
    """Return an instant as Indian date and time, `12 Apr 2021 10:01:05`."""
    return at.astimezone(IST).strftime("%d %b %Y %H:%M:%S" if year else "%d %b %H:%M:%S")


def money(amount: Decimal | None) -> str:
    """Return rupees with Indian grouping (`-1,23,456.78`), or a dash for None."""
    if amount is None:
        return "–"
    rounded = amount.quantize(Decimal("0.01"))
    whole, _, cents = f"{abs(rounded):f}".partition(".")
    head, tail = whole[:-3], whole[-3:]
    groups: list[str] = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return ("-" if rounded < 0 else "") + ",".join([*groups, tail]) + "." + cents


def profit(amount: Decimal | None) -> Cell:
    """Return money that is red where it is lost."""
    return Cell(money(amount), "red" if amount is not None and amount < 0 else "")


def side(word: str) -> Cell:
    """Return a direction in its colour."""
    return Cell(word, "green" if word in BUYING else "red")


def times(head: str, when: Callable[[Row], datetime], rows: Sequence[Row]) -> Column[Row]:
    """Return a column of times; the year stands in its header where all rows share it."""
    years = {when(row).astimezone(IST).year for row in rows}
    if len(years) == 1:
        return Column(f"{head} {min(years)}, IST", lambda row: ist(when(row), year=False))
    return Column(f"{head}, IST", lambda row: ist(when(row)))


def _signals(rows: Sequence[SignalView]) -> list[Column[SignalView]]:
    return [
        times("bar", lambda row: row.bar_close, rows),
        Column("market", lambda row: row.run, rank=7),
        Column("strategy", lambda row: row.strategy_id, rank=3),
        Column("symbol", lambda row: row.symbol),
        Column("signal", lambda row: side(row.signal_type)),
        Column("price", lambda row: money(row.price), right=True),
        Column("conf", lambda row: f"{row.confidence:.2f}", right=True, rank=5),
        Column("users", _ended, least=20),
        *(
            [Column("spread ms", _spread, right=True, rank=4)]
            if any(row.spread_ms is not None for row in rows)
            else []
        ),
        Column("why", lambda row: row.reason, rank=6, least=30),
    ]


def _spread(row: SignalView) -> str:
    return "–" if row.spread_ms is None else f"{row.spread_ms:.1f}"


def _ended(row: SignalView) -> Cell:
    words = ", ".join(f"{count} {name.lower().replace('_', ' ')}" for name, count in row.dispositions.items())
    return Cell(words or "no subscriber")


def _orders(rows: Sequence[OrderView]) -> list[Column[OrderView]]:
    return [
        times("placed", lambda row: row.placed_at, rows),
        Column("order", lambda row: row.order_id, rank=4),
        Column("user", lambda row: row.user_id),
        Column("market", lambda row: row.market, rank=8),
        Column("strategy", lambda row: row.strategy_id, rank=5),
        Column("symbol", lambda row: row.symbol),
        Column("side", lambda row: side(row.side)),
        Column("qty", lambda row: f"{row.quantity}", right=True),
        Column("filled", lambda row: f"{row.filled}", right=True, rank=3),
        Column("average", lambda row: money(row.average_price), right=True, rank=1),
        Column("state", _state),
        *([Column("request", _request, rank=2)] if any(row.request for row in rows) else []),
        Column("rule", lambda row: row.rule, rank=6, least=20),
    ]


def _state(row: OrderView) -> Cell:
    shown = row.state if row.disposition in ("ORDERED", row.state) else row.disposition
    return Cell(shown, STATE_STYLES.get(shown, ""))


def _request(row: OrderView) -> Cell:
    kind, _, state = row.request.partition(" ")
    return Cell(f"{kind.lower()} {state}".strip(), STATE_STYLES.get(state, ""))


def _fills(rows: Sequence[FillView]) -> list[Column[FillView]]:
    return [
        times("at", lambda row: row.at, rows),
        Column("order", lambda row: row.order_id, rank=3),
        Column("user", lambda row: row.user_id),
        Column("market", lambda row: row.market, rank=7),
        Column("strategy", lambda row: row.strategy_id, rank=5),
        Column("symbol", lambda row: row.symbol),
        Column("side", lambda row: side(row.side)),
        Column("qty", lambda row: f"{row.quantity}", right=True),
        Column("price", lambda row: money(row.price), right=True),
        Column("quote", lambda row: money(row.quote), right=True, rank=1),
        Column("charges", lambda row: money(row.charges), right=True, rank=2),
    ]


def _positions(rows: Sequence[PositionView]) -> list[Column[PositionView]]:
    several = len({row.market for row in rows}) > 1
    columns: list[Column[PositionView]] = [
        Column("user", lambda row: row.user_id),
        Column("strategy", lambda row: row.strategy_id, rank=4),
        Column("symbol", lambda row: row.symbol),
        Column("product", lambda row: row.product, rank=7),
        Column("qty", lambda row: f"{row.quantity}", right=True),
        Column("average", lambda row: money(row.average_price), right=True, rank=3),
        Column("mark", lambda row: money(row.mark), right=True, rank=6),
        Column("unrealised", lambda row: profit(row.unrealised), right=True),
        Column("realised", lambda row: profit(row.realised), right=True, rank=2),
        Column("charges", lambda row: money(row.charges), right=True, rank=5),
        Column("net realised", lambda row: profit(row.net), right=True),
    ]
    if several:
        columns.insert(1, Column("market", lambda row: row.market, rank=1))
    if any(row.protection for row in rows):
        columns.append(Column("protection", _protection, rank=2))
    return columns


def _protection(row: PositionView) -> Cell:
    return Cell(row.protection, "bold red" if "UNPROTECTED" in row.protection else "")


def _users(rows: Sequence[ShownUser]) -> list[Column[ShownUser]]:
    return [
        Column("user", lambda row: row.user_id),
        Column("name", lambda row: row.name, rank=3),
        Column("profile", lambda row: row.profile, rank=6),
        Column("group", lambda row: row.group, rank=7),
        Column("family", lambda row: row.family, rank=10),
        *([Column("algo id", lambda row: row.algo_id, rank=11)] if any(row.algo_id for row in rows) else []),
        Column("mode", lambda row: row.mode, rank=5),
        Column("on", lambda row: "yes" if row.enabled else "no"),
        Column("subscriptions", _subscriptions, least=40),
        Column("capital", lambda row: money(row.limits.capital_inr), right=True, rank=1),
        Column("order ≤", lambda row: money(row.limits.max_order_inr), right=True, rank=2),
        Column("positions ≤", lambda row: f"{row.limits.max_positions}", right=True, rank=8),
        Column("day's loss ≤", lambda row: f"{row.limits.day_loss_percent} %", right=True, rank=9),
    ]


def _subscriptions(row: ShownUser) -> str:
    taken = (
        f"{name}: {size(terms.sizing)}, {terms.product}{', LEAVING' if terms.leaving else ''}"
        for name, terms in row.subscriptions.items()
    )
    return "; ".join(taken) or "–"


def size(sizing: Sizing) -> str:
    """Return how a quantity comes about, in words."""
    return SIZINGS[sizing.method].format(value=f"{sizing.value:,}")


def _strategies(rows: Sequence[StrategyView]) -> list[Column[StrategyView]]:
    return [
        Column("strategy", lambda row: row.strategy_id),
        Column("type", lambda row: row.strategy_type, rank=2),
        Column("symbols", lambda row: " ".join(row.symbols), least=18),
        Column("timeframe", lambda row: row.timeframe or "of the data", rank=3),
        Column("parameters", lambda row: ", ".join(f"{n}={v}" for n, v in row.parameters.items()), least=24),
    ]


SIGNALS = Listing("Signals, newest first", _signals, f"No signals yet; {START}")
ORDERS = Listing("Orders, newest first", _orders, f"No orders yet; {START}")
FILLS = Listing("Fills, newest first", _fills, f"No fills yet; {START}")
POSITIONS = Listing("Positions", _positions, f"No positions yet; {START}")
USERS = Listing("Users", _users, "No users yet; the first `trading run` makes three for demonstration.")
STRATEGIES = Listing(
    "Strategies", _strategies, "No strategy is configured; see STRATEGIES_FILE in env.template."
)
