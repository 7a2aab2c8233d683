"""Tables for people: rows of the store in IST and rupees."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
from rich.table import Table

from order.reading import FillView, OrderView, PositionView, SignalView
from order.users import User
from strategy.config import StrategyConfig, build

IST = ZoneInfo("Asia/Kolkata")
STATE_COLOURS = {
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


class StrategyView(msgspec.Struct, frozen=True):
    """A configured strategy."""

    strategy_id: str
    strategy_type: str
    symbols: list[str]
    timeframe: str | None
    parameters: dict[str, object]

    @classmethod
    def of(cls, config: StrategyConfig) -> StrategyView:
        """Return what there is to show of *config*, defaults filled in."""
        parameters = msgspec.to_builtins(build(config).parameters)
        return cls(config.strategy_id, str(config.strategy_type), list(config.symbols), config.timeframe, parameters)


def ist(at: datetime) -> str:
    """Return an instant as Indian date and time."""
    return at.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")


def money(amount: Decimal | None) -> str:
    """Return rupees with Indian grouping, or a dash; negative in red."""
    if amount is None:
        return "–"
    whole, _, cents = f"{abs(amount):.2f}".partition(".")
    head, tail = whole[:-3], whole[-3:]
    groups = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    text = ",".join([*groups, tail]) + "." + cents
    return f"[red]-{text}[/red]" if amount < 0 else text


def signal_table(rows: list[SignalView]) -> Table:
    """Return signals as a table, newest first."""
    table = _table("Signals", "bar close (IST)", "market", "strategy", "symbol", "signal", "price>", "conf>", "users", "why")
    for row in rows:
        ended = ", ".join(f"{name.lower()} {count}" for name, count in row.dispositions.items()) or "no subscriber"
        table.add_row(
            ist(row.bar_close),
            row.run,
            row.strategy_id,
            row.symbol,
            _side(row.signal_type),
            money(row.price),
            f"{row.confidence:.2f}",
            ended,
            row.reason,
        )
    return table


def order_table(rows: list[OrderView]) -> Table:
    """Return orders as a table, newest first."""
    table = _table("Orders", "placed (IST)", "order", "user", "strategy", "symbol", "side", "qty>", "filled>", "average>", "state", "rule")
    for row in rows:
        colour = STATE_COLOURS.get(row.state, "white")
        shown = row.state if row.disposition in ("ORDERED", row.state) else row.disposition
        table.add_row(
            ist(row.placed_at),
            row.order_id,
            row.user_id,
            row.strategy_id,
            row.symbol,
            _side(row.side),
            str(row.quantity),
            str(row.filled),
            money(row.average_price),
            f"[{colour}]{shown}[/{colour}]",
            row.rule,
        )
    return table


def fill_table(rows: list[FillView]) -> Table:
    """Return fills as a table, newest first."""
    table = _table("Fills", "at (IST)", "order", "user", "strategy", "symbol", "side", "qty>", "price>", "quote>", "charges>")
    for row in rows:
        table.add_row(
            ist(row.at),
            row.order_id,
            row.user_id,
            row.strategy_id,
            row.symbol,
            _side(row.side),
            str(row.quantity),
            money(row.price),
            money(row.quote),
            money(row.charges),
        )
    return table


def position_table(rows: list[PositionView]) -> Table:
    """Return books as a table."""
    market = rows[0].market if rows and len({row.market for row in rows}) == 1 else "all markets"
    columns = ("user", "strategy", "symbol", "product", "qty>", "average>", "mark>", "unrealised>", "realised>", "charges>", "net>")
    table = _table(f"Positions – {market}", *columns)
    for row in rows:
        table.add_row(
            row.user_id,
            row.strategy_id,
            row.symbol,
            row.product,
            str(row.quantity),
            money(row.average_price),
            money(row.mark),
            money(row.unrealised),
            money(row.realised),
            money(row.charges),
            money(row.net),
        )
    return table


def user_table(rows: list[User]) -> Table:
    """Return users as a table."""
    table = _table("Users", "user", "name", "profile", "group", "broker", "on", "subscriptions", "capital>", "order ≤>", "positions ≤>", "day's loss ≤>")
    for row in rows:
        taken = [f"{s}: {t.sizing.method.value} {t.sizing.value} {t.product.value}" for s, t in row.subscriptions.items()]
        limits = row.limits
        table.add_row(
            row.user_id,
            row.name,
            row.profile,
            row.group,
            row.broker,
            "yes" if row.enabled else "no",
            "\n".join(taken) or "–",
            money(limits.capital_inr),
            money(limits.max_order_inr),
            str(limits.max_positions),
            f"{limits.day_loss_percent} %",
        )
    return table


def strategy_table(rows: list[StrategyView]) -> Table:
    """Return strategies as a table."""
    table = _table("Strategies", "strategy", "type", "symbols", "timeframe", "parameters")
    for row in rows:
        parameters = ", ".join(f"{name}={value}" for name, value in row.parameters.items())
        table.add_row(row.strategy_id, row.strategy_type, " ".join(row.symbols), row.timeframe or "source's", parameters)
    return table


def _table(title: str, *columns: str) -> Table:
    """Make a table; a column whose name ends in `>` is right-aligned."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    return table


def _side(word: str) -> str:
    colour = "green" if word in ("BUY", "ENTER_LONG", "EXIT_SHORT") else "red"
    return f"[{colour}]{word}[/{colour}]"
