"""What a switch forbids and is there all the same, because nobody runs who takes it off or closes it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import msgspec

from order.orders import MANUAL
from order.reading import Reader
from order.switches import Level, TurnRequest
from shared.models import OrderState


class OpenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that a broker has, or may have; `quantity` is what is not filled yet."""

    order_id: str
    user_id: str
    strategy_id: str
    market: str
    symbol: str
    side: str
    quantity: int
    state: str

    def __str__(self) -> str:
        where = "" if self.market == MANUAL else f", {self.market}"
        what = f"{self.side} {self.quantity} {self.symbol}"
        return f"{self.user_id}  {what}  {self.state}  {self.order_id}{where}"


class OpenPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A book that is not flat; `quantity` is negative where it is short."""

    user_id: str
    strategy_id: str
    market: str
    symbol: str
    product: str
    quantity: int

    def __str__(self) -> str:
        where = "" if self.market == MANUAL else f", {self.market}"
        return f"{self.user_id}  {self.quantity} {self.symbol}  {self.product}  {self.strategy_id}{where}"


Found = TypeVar("Found", OpenEntry, OpenPosition)


class StillOpen(Reader):
    """Reads what is left to do for a switch.

    On paper what a replay or rehearsal that is over has left open is no affair of anybody's any more: there
    only orders by hand, the live market and the latest one count. At a broker everything does.
    """

    def entries(self, asked: TurnRequest, groups: Collection[str]) -> list[OpenEntry]:
        """Return the entries at work that a switch takes off, by user.

        What was never sent is not among them, nor what waits for a human (`trading orders review`).

        Args:
            asked: The switch.
            groups: Of the users of these groups; empty: of all.
        """
        if asked.level.rank < Level.KILL.rank:
            return []
        rows = self.database.connection.execute(
            "SELECT signal_no, o.user_no, leg, slice, attempt, side, quantity - filled, state, signal_id,"
            f" strategy_no, market_no, symbol_no FROM orders o {self.database.using('orders_at_work')}"
            " JOIN inbox USING (signal_no) WHERE purpose = 'ENTRY'"
            " AND state IN ('NEW','SENDING','UNKNOWN','ACCEPTED','PARTIALLY_FILLED','REVIEW')"
            " ORDER BY o.user_no, signal_no, leg, slice, attempt"
        )
        found = [
            OpenEntry(
                order_id=self._users[int(row[1])].tag(str(row[8]), int(row[2]), int(row[3]), int(row[4])),
                user_id=self._users[int(row[1])].user_id,
                strategy_id=self._names[int(row[9])],
                market=self._names[int(row[10])],
                symbol=self._names[int(row[11])],
                side=str(row[5]),
                quantity=int(row[6]),
                state=str(row[7]),
            )
            for row in rows
            if row[7] not in (OrderState.NEW, OrderState.REVIEW)
        ]
        return self._meant(found, asked, groups)

    def held(self, asked: TurnRequest, groups: Collection[str]) -> list[OpenPosition]:
        """Return the positions that a switch closes, by user; arguments as of `entries`."""
        if asked.level is not Level.FLATTEN:
            return []
        found = [
            OpenPosition(
                user_id=row.user_id,
                strategy_id=row.strategy_id,
                market=row.market,
                symbol=row.symbol,
                product=row.product,
                quantity=row.quantity,
            )
            for row in self.positions()
            if row.quantity
        ]
        return self._meant(found, asked, groups)

    def _meant(self, found: list[Found], asked: TurnRequest, groups: Collection[str]) -> list[Found]:
        """Return those in the reach of a switch."""
        users = {user.user_id for user in self.users() if not groups or user.group in groups}
        if asked.user_id:
            users &= {asked.user_id}
        markets = {MANUAL, "live", self.latest_market()}
        return [
            each
            for each in found
            if each.user_id in users
            and asked.strategy_id in ("", each.strategy_id)
            and (self.environment != "paper" or each.market in markets)
        ]
