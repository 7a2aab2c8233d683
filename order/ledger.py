"""The books added up and what days cost, for people and pages: typed views, read-only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal

import msgspec

from order.books import Book
from order.charges import Charges
from order.deliveries import Deliveries
from order.delivery import Quantities
from order.net import net_books, user_books
from order.orders import MANUAL
from order.reading import Reader, average
from order.rows import open_deliveries
from shared.calendar import Calendar
from shared.clock import ist_day
from shared.instruments import Instruments
from shared.models import rupees

_EPOCH = date(1970, 1, 1)


class NetView(msgspec.Struct, frozen=True, kw_only=True):
    """An account's net in one instrument and product, over all strategies and orders by hand.

    `parts` has the shares of each strategy with an open book; `average_price` is None where some are long
    and some short.
    """

    user_id: str
    market: str
    symbol: str
    product: str
    quantity: int
    parts: dict[str, int]
    average_price: Decimal | None
    realised: Decimal
    charges: Decimal
    net: Decimal
    mark: Decimal | None
    unrealised: Decimal | None


class ProfitView(msgspec.Struct, frozen=True, kw_only=True):
    """A user's whole in one market; `unpriced` positions have no price and are not in it. Rupees."""

    user_id: str
    market: str
    open: int
    unpriced: int
    realised: Decimal
    unrealised: Decimal
    charges: Decimal
    net: Decimal


class ChargesView(msgspec.Struct, frozen=True, kw_only=True):
    """What one day cost a user in one scrip, rupees.

    Attributes:
        levies: Brokerage, exchange, SEBI and IPFT fees, GST.
        stt, stamp: Netted over the day, whole rupees.
        dp: The depository's charge with GST.
        estimated: Booked with the fills; `adjustment` was booked at the day's end.
        provisional: A broker's own figures have not been compared.
        note: `at 2026 charges` for a day that is older than the known rates; else empty.
    """

    day: date
    user_id: str
    market: str
    symbol: str
    levies: Decimal
    stt: Decimal
    stamp: Decimal
    dp: Decimal
    total: Decimal
    estimated: Decimal
    adjustment: Decimal
    provisional: bool
    note: str


class HoldingView(msgspec.Struct, frozen=True, kw_only=True):
    """DELIVERY shares of a user by how far they have come on `day`, over all strategies; see `Quantities`.

    `sellable` is what may be sold on that day.
    """

    user_id: str
    market: str
    symbol: str
    day: date
    quantity: int
    bought_today: int
    t1: int
    free: int
    authorised: int
    pledged: int
    sellable: int


class Ledger(Reader):
    """A reader that adds up."""

    def net_positions(
        self, *, user_id: str | None = None, run: str | None = None, marks: Mapping[str, int] | None = None
    ) -> Iterator[NetView]:
        """Yield net positions by market, user and symbol; arguments as `positions`."""
        for (market_no, user_no, symbol_no, product), net in net_books(self._books()).items():
            user, market = self._users[user_no].user_id, self._names[market_no]
            if (user_id and user != user_id) or (run and market != run):
                continue
            symbol = self._names[symbol_no]
            mark = (marks or {}).get(symbol)
            yield NetView(
                user_id=user,
                market=market,
                symbol=symbol,
                product=product,
                quantity=net.quantity,
                parts={self._names[strategy_no]: shares for strategy_no, shares in net.parts},
                average_price=average(net.cost_paise, net.quantity) if net.one_sided else None,
                realised=rupees(net.realised_paise),
                charges=rupees(net.charges_paise),
                net=rupees(net.realised_paise - net.charges_paise),
                mark=None if mark is None else rupees(mark),
                unrealised=None if mark is None or not net.parts else rupees(net.unrealised(mark)),
            )

    def profits(
        self, *, user_id: str | None = None, run: str | None = None, marks: Mapping[str, int] | None = None
    ) -> Iterator[ProfitView]:
        """Yield each user's profit by market; *marks* are prices of the market *run*."""
        markets = [no for no, name in self._names.items() if name == run]
        prices = {
            (market_no, no): marks[name]
            for market_no in markets
            for no, name in self._names.items()
            if marks and name in marks
        }
        for (market_no, user_no), whole in user_books(self._books(), prices).items():
            user, market = self._users[user_no].user_id, self._names[market_no]
            if (user_id and user != user_id) or (run and market != run):
                continue
            yield ProfitView(
                user_id=user,
                market=market,
                open=whole.open,
                unpriced=whole.unpriced,
                realised=rupees(whole.realised_paise),
                unrealised=rupees(whole.unrealised_paise),
                charges=rupees(whole.charges_paise),
                net=rupees(whole.net_paise),
            )

    def holdings(
        self, now_us: int, *, user_id: str | None = None, run: str | None = None
    ) -> Iterator[HoldingView]:
        """Yield DELIVERY shares by user, market and symbol.

        Args:
            now_us: Wall time, for markets that live on it; the others stand where their last fill left them.
            user_id: Of one user only.
            run: Of one market only.
        """
        instruments, books = Instruments.load(), Deliveries(Calendar.load())
        fills = open_deliveries(self._sql)
        days: dict[str, int] = {"live": ist_day(now_us), MANUAL: ist_day(now_us)}
        for book in self._books():
            market = self._names[book.key[0]]
            days[market] = max(days.get(market, 0), book.day)
        for key, side, quantity, at_us in fills:
            books.fill(key, instruments.get(self._names[key[2]]), side, quantity, ist_day(at_us))
        found: dict[tuple[int, int, int], list[tuple[Quantities, int]]] = {}
        for key in {fill[0]: None for fill in fills}:
            limits, day = self._users[key[4]].limits, days[self._names[key[0]]]
            have = books.quantities(key, day)
            settled_only = instruments.get(self._names[key[2]]).trade_to_trade
            sellable = have.sellable(trade_to_trade=settled_only, btst=limits.allow_btst)
            found.setdefault((key[0], key[4], key[2]), []).append((have, sellable))
        for (market_no, user_no, symbol_no), parts in sorted(found.items()):
            user, market = self._users[user_no].user_id, self._names[market_no]
            if (user_id and user != user_id) or (run and market != run):
                continue
            names = Quantities.__dataclass_fields__
            sums = {name: sum(getattr(have, name) for have, _ in parts) for name in names}
            yield HoldingView(
                user_id=user,
                market=market,
                symbol=self._names[symbol_no],
                day=_EPOCH + timedelta(days=days[market]),
                quantity=sum(sums.values()),
                sellable=sum(sellable for _, sellable in parts),
                **sums,
            )

    def day_charges(
        self, limit: int, *, user_id: str | None = None, run: str | None = None
    ) -> Iterator[ChargesView]:
        """Yield what days that are over cost, scrip by scrip, the newest day first."""
        rates = Charges()
        rows = self._sql.execute(
            "SELECT day, user_no, market_no, symbol_no, levies_paise, stt_paise, stamp_paise, dp_paise,"
            " estimated_paise, provisional FROM day_charges ORDER BY day DESC, market_no, user_no, symbol_no"
        )
        shown = 0
        for day, user_no, market_no, symbol_no, *amounts, provisional in rows:
            user, market = self._users[int(user_no)].user_id, self._names[int(market_no)]
            if (user_id and user != user_id) or (run and market != run):
                continue
            if shown == limit:
                return
            shown += 1
            levies, stt, stamp, dp, estimated = (int(amount) for amount in amounts)
            total = levies + stt + stamp + dp
            yield ChargesView(
                day=_EPOCH + timedelta(days=int(day)),
                user_id=user,
                market=market,
                symbol=self._names[int(symbol_no)],
                levies=rupees(levies),
                stt=rupees(stt),
                stamp=rupees(stamp),
                dp=rupees(dp),
                total=rupees(total),
                estimated=rupees(estimated),
                adjustment=rupees(total - estimated),
                provisional=bool(provisional),
                note=rates.note(int(day)),
            )

    def charges_note(self, run: str) -> str:
        """Return what has to be said of the charges of market *run*: `at 2026 charges`, or nothing."""
        row = self._sql.execute(
            "SELECT min(at_us) FROM fills JOIN inbox USING (signal_no)"
            " WHERE market_no IN (SELECT no FROM names WHERE kind = 'market' AND name = ?)",
            (run,),
        ).fetchone()
        return "" if row is None or row[0] is None else Charges().note(ist_day(int(row[0])))

    def _books(self) -> list[Book]:
        return [
            Book.from_row(tuple(row))
            for row in self._sql.execute("SELECT * FROM books ORDER BY user_no, strategy_no, symbol_no")
        ]
