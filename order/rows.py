"""Rows of the order store as the values that they stand for, for the writer and for readers alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from order.books import BookKey
from order.switches import FEED_SILENT, SWITCH, Level, Switch, SwitchView, view_of
from order.users import Limits, Terms, User
from shared.clock import IST_OFFSET_US, ist_day
from shared.errors import StoreError
from shared.models import Side, instant
from shared.store.port import Connection, Database

T = TypeVar("T")

ALL = (1, 2**53)
"""User numbers of all writers."""


def open_deliveries(
    sql: Connection, span: tuple[int, int] = ALL
) -> list[tuple[BookKey, Side, int, int]]:
    """Return the fills of DELIVERY books that hold something, oldest first; of the users in *span*."""
    return [
        (
            (int(row[0]), int(row[1]), int(row[2]), "DELIVERY", int(row[3])),
            Side(str(row[4])),
            int(row[5]),
            int(row[6]),
        )
        for row in sql.execute(
            "SELECT b.market_no, b.strategy_no, b.symbol_no, b.user_no, o.side, f.quantity, f.at_us"
            " FROM books b JOIN inbox i ON i.market_no = b.market_no AND i.strategy_no = b.strategy_no"
            " AND i.symbol_no = b.symbol_no"
            " JOIN orders o ON o.signal_no = i.signal_no AND o.user_no = b.user_no AND o.product = b.product"
            " JOIN fills f ON f.signal_no = o.signal_no AND f.user_no = o.user_no AND f.leg = o.leg"
            " AND f.slice = o.slice AND f.attempt = o.attempt"
            " WHERE b.product = 'DELIVERY' AND b.quantity != 0 AND b.user_no BETWEEN ? AND ?"
            " ORDER BY f.fill_no",
            span,
        )
    ]


MOST_SENDS = 20_000


def recent_sends(sql: Connection, span: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Return the latest orders that were sent: user, market number and market time, oldest first.

    They count in the limits of orders a second and a minute; more than `MOST_SENDS` are not looked for.
    """
    found = [
        (int(user_no), int(market_no), int(placed_us))
        for user_no, market_no, placed_us in sql.execute(
            "SELECT user_no, market_no, placed_us FROM orders JOIN inbox USING (signal_no)"
            " WHERE signal_no BETWEEN ? AND ? AND state != 'REFUSED'"
            " AND (venue_no IS NOT NULL OR state NOT IN ('NEW','EXPIRED'))"
            " ORDER BY signal_no DESC LIMIT ?",
            (*span, MOST_SENDS),
        )
    ]
    return sorted(found, key=lambda each: each[2])


def read_users(database: Database, group: str | None = None) -> list[User]:
    """Return all users, or those of one group, with their active subscriptions, by number.

    Raises:
        StoreError: A user's limits or terms are nothing that we ever wrote.
    """
    sql = database.connection
    subscriptions: dict[int, dict[str, Terms]] = {}
    for user_no, strategy_id, terms in sql.execute(
        "SELECT user_no, strategy_id, terms FROM subscriptions WHERE active = 1 ORDER BY strategy_id"
    ):
        decoded = _decoded(str(terms), Terms, f"the terms of user no {user_no} for {strategy_id}")
        subscriptions.setdefault(int(user_no), {})[str(strategy_id)] = decoded
    return [
        User(
            user_no=int(row[0]),
            user_id=str(row[1]),
            name=str(row[2]),
            group=str(row[3]),
            broker=str(row[4]),
            enabled=bool(row[5]),
            profile=str(row[6]),
            limits=_decoded(str(row[7]), Limits, f"the limits of {row[1]}"),
            account=str(row[8]),
            family=str(row[9]),
            algo_id=str(row[10]),
            subscriptions=subscriptions.get(int(row[0]), {}),
        )
        for row in sql.execute(
            "SELECT user_no, user_id, name, group_name, broker, enabled, profile, limits, account, family,"
            " algo_id FROM users WHERE group_name = coalesce(?, group_name) ORDER BY user_no",
            (group,),
        )
    ]


def read_switches(sql: Connection, users: Mapping[int, User], today: int) -> list[SwitchView]:
    """Return the switches that are on, the house's first; a house's of several writers once.

    Args:
        sql: Of the order store.
        users: By number.
        today: Days since the epoch, IST; a rule's switch of an earlier day holds no more.
    """
    found = set()
    for user_no, what, value in sql.execute(
        "SELECT user_no, what, value FROM account_marks WHERE kind = ?", (SWITCH,)
    ):
        user = users.get(int(user_no))
        switch = Switch.stored(int(user_no) if user else 0, str(what), str(value))
        if switch.level is not Level.OFF and (not switch.day or ist_day(switch.at_us) == today):
            found.add(view_of(switch, user.user_id if user else ""))
    return sorted(found, key=lambda view: (view.user_id, view.strategy_id, view.market))


def read_silences(sql: Connection) -> list[str]:
    """Return a line for each market whose prices have stopped, as long as none has come."""
    rows = sql.execute("SELECT what, value FROM account_marks WHERE kind = ?", (FEED_SILENT,))
    found = {
        f"no price of {run} has come since {instant(int(since_us) + IST_OFFSET_US):%H:%M:%S}: no entries"
        for run, since_us in rows
        if str(since_us) != "0"
    }
    return sorted(found)


def _decoded(text: str, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"The order store is damaged: {what} cannot be read ({error}).",
            remedy="`trading verify` tells which rows were changed; restore the books from a copy.",
        ) from error
