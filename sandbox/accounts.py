"""One client's money, positions and holdings, in the shapes of the real service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.orders import Order, Trade
from shared.instruments import Instrument

INTRADAY_MARGIN_PERCENT = 20
DEFAULT_CASH_PAISE = 100_000_000
"""Ten lakh rupees."""


@dataclass(slots=True)
class Position:
    """What was bought and sold of one instrument in one product; paise.

    Attributes:
        bought, sold, buy_value, sell_value: Of the day, with what was carried into it.
        carried, carried_value: Net shares carried into the day (negative is short), and their cost.
    """

    instrument: Instrument
    product: str
    bought: int = 0
    sold: int = 0
    buy_value: int = 0
    sell_value: int = 0
    carried: int = 0
    carried_value: int = 0

    @property
    def net(self) -> int:
        """Shares; negative is short."""
        return self.bought - self.sold

    @property
    def realised(self) -> int:
        """Profit of what was closed, at average prices, paise."""
        closed = min(self.bought, self.sold)
        if not closed:
            return 0
        return round(closed * (self.sell_value / self.sold - self.buy_value / self.bought))

    def cost(self) -> int:
        """Value of what is open at its average price, paise."""
        if self.net > 0:
            return round(self.net * self.buy_value / self.bought)
        return round(-self.net * self.sell_value / self.sold) if self.net < 0 else 0

    def next_day(self) -> Position:
        """Return what is open as the position of the day after."""
        net, cost = self.net, self.cost()
        long, short = max(net, 0), max(-net, 0)
        paid, got = (cost, 0) if net > 0 else (0, cost)
        return Position(self.instrument, self.product, long, short, paid, got, net, cost)


@dataclass(slots=True)
class Holding:
    """Shares in the demat account.

    Attributes:
        free: Arrived.
        average: Price, paise.
        t1: Bought on the market day before, on their way (T+1).
    """

    instrument: Instrument
    free: int
    average: int
    t1: int = 0

    @property
    def quantity(self) -> int:
        """All shares."""
        return self.free + self.t1

    def buy(self, shares: int, cost: int) -> None:
        """Add shares that were bought today for *cost* paise."""
        self.average = round((self.quantity * self.average + cost) / (self.quantity + shares))
        self.t1 += shares


@dataclass(frozen=True, slots=True)
class Moved:
    """Part of a position that went over to another product; what is subtracted here is added there.

    Attributes:
        day: Market day, days since 1970-01-01; 0 where it was not kept.
    """

    client: str
    symbol: str
    old: str
    new: str
    bought: int = 0
    sold: int = 0
    buy_value: int = 0
    sell_value: int = 0
    day: int = 0


@dataclass(slots=True)
class Account:
    """One client.

    Attributes:
        cash: At the beginning of the day, paise.
        positions: Of the day, by symbol and product.
        nets: Shares of all days by symbol and product: bought less sold.
    """

    client: str
    cash: int = DEFAULT_CASH_PAISE
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    nets: dict[tuple[str, str], int] = field(default_factory=dict)
    reserved: dict[str, int] = field(default_factory=dict)
    """Margin of working orders by order id, paise."""

    def position(self, instrument: Instrument, product: str) -> Position:
        """Return the position, empty where there was none."""
        key = (instrument.symbol, product)
        if key not in self.positions:
            self.positions[key] = Position(instrument, product)
        return self.positions[key]

    def needed(self, order: Order, price: int) -> int:
        """Return the margin, paise, for what of *order* opens a position; closing needs none.

        Nor does a DELIVERY sale: what is sold is held.
        """
        if order.product == "DELIVERY" and order.side == "SELL":
            return 0
        net = self.position(order.instrument, order.product).net
        closing = max(-net, 0) if order.side == "BUY" else max(net, 0)
        opening = max(order.remaining - closing, 0)
        return margin(order.product, opening * price)

    @property
    def used(self) -> int:
        """Margin in use by positions and working orders, paise."""
        held = sum(
            margin(each.product, each.cost())
            for each in self.positions.values()
            if each.net > 0 or each.product != "DELIVERY"
        )
        return held + sum(self.reserved.values())

    @property
    def proceeds(self) -> int:
        """Value of holdings sold today, paise; good for new orders at once."""
        sold = (each for each in self.positions.values() if each.product == "DELIVERY" and each.net < 0)
        return sum(each.cost() for each in sold)

    @property
    def realised(self) -> int:
        """Booked profit of the day before charges, paise."""
        return sum(each.realised for each in self.positions.values())

    @property
    def available(self) -> int:
        """Money for new orders, paise."""
        return self.cash + self.realised + self.proceeds - self.used

    def sellable(self, order: Order, promised: int = 0) -> bool:
        """Whether a DELIVERY sale is covered by what is held less what other orders have *promised*."""
        if order.product != "DELIVERY" or order.side != "SELL":
            return True
        held = self.holdings.get(order.instrument.symbol)
        free = (held.quantity if held else 0) + self.position(order.instrument, "DELIVERY").net
        return free - promised >= order.remaining

    def book(self, order: Order, trade: Trade) -> None:
        """Enter an execution."""
        position = self.position(order.instrument, order.product)
        self._count(position, trade.quantity if order.side == "BUY" else -trade.quantity)
        if order.side == "BUY":
            position.bought += trade.quantity
            position.buy_value += trade.quantity * trade.price
        else:
            position.sold += trade.quantity
            position.sell_value += trade.quantity * trade.price

    def end_day(self) -> None:
        """Go over to the next market day: profit is money, DELIVERY shares move on, the rest is carried.

        What was bought for DELIVERY is on its way (T+1) and free a day later; what was sold is gone.
        """
        self.cash += self.realised
        for held in self.holdings.values():
            held.free, held.t1 = held.quantity, 0
        carried = {}
        for key, position in self.positions.items():
            left = self._deliver(position) if position.product == "DELIVERY" else position
            if left.net:
                carried[key] = left.next_day()
        self.positions = carried
        self.holdings = {symbol: held for symbol, held in self.holdings.items() if held.quantity}

    def _deliver(self, position: Position) -> Position:
        """Settle a DELIVERY position with the holdings; return what cannot be: a sale of too many."""
        symbol, net, cost = position.instrument.symbol, position.net, position.cost()
        held = self.holdings.setdefault(symbol, Holding(position.instrument, 0, 0))
        if net > 0:
            self.cash -= cost
            held.buy(net, cost)
            return Position(position.instrument, position.product)
        sold = min(-net, held.free)
        held.free -= sold
        left = Position(position.instrument, position.product, sold=-net, sell_value=cost)
        if sold:
            value = round(sold * cost / -net)
            self.cash += value
            left.sold, left.sell_value = left.sold - sold, left.sell_value - value
        return left

    def _count(self, position: Position, shares: int) -> None:
        key = position.instrument.symbol, position.product
        self.nets[key] = self.nets.get(key, 0) + shares

    def convert(
        self, instrument: Instrument, old: str, new: str, quantity: int, day: int = 0
    ) -> Moved | None:
        """Move *quantity* of a position to another product; None where shares or money do not suffice."""
        source = self.position(instrument, old)
        if quantity > abs(source.net) or old == new:
            return None
        value = round(quantity * source.cost() / abs(source.net))
        # A short position cannot become a delivery: the shares are not there.
        if margin(new, value) - margin(old, value) > self.available or (new == "DELIVERY" and source.net < 0):
            return None
        if source.net > 0:
            moved = Moved(self.client, instrument.symbol, old, new, bought=quantity, buy_value=value, day=day)
        else:
            moved = Moved(self.client, instrument.symbol, old, new, sold=quantity, sell_value=value, day=day)
        self.move(instrument, moved)
        return moved

    def move(self, instrument: Instrument, moved: Moved) -> None:
        """Enter a conversion."""
        for product, sign in ((moved.old, -1), (moved.new, 1)):
            position = self.position(instrument, product)
            position.bought += sign * moved.bought
            position.sold += sign * moved.sold
            position.buy_value += sign * moved.buy_value
            position.sell_value += sign * moved.sell_value
            self._count(position, sign * (moved.bought - moved.sold))

    def position_rows(self, prices: dict[str, int], closes: dict[str, int]) -> list[dict[str, Any]]:
        """Return the position objects; every value is text.

        Args:
            prices: Last price by symbol, paise.
            closes: Yesterday's close by symbol, paise.
        """
        return [
            _position_row(each, prices[each.instrument.symbol], closes[each.instrument.symbol])
            for each in self.positions.values()
            if each.bought or each.sold
        ]

    def holding_rows(
        self, prices: dict[str, int], closes: dict[str, int], *, total: bool = False
    ) -> list[dict[str, Any]]:
        """Return the holding objects; numbers are numbers.

        Args:
            prices, closes: As for positions.
            total: `quantity` has the shares on their way in it.
        """
        rows = []
        for symbol, held in self.holdings.items():
            instrument, average = held.instrument, held.average
            profit = held.quantity * (prices[symbol] - average)
            rows.append(
                {
                    "tradingsymbol": instrument.trading_symbol,
                    "exchange": instrument.exchange,
                    "isin": "",
                    "t1quantity": held.t1,
                    "realisedquantity": held.free,
                    "quantity": held.quantity if total else held.free,
                    "authorisedquantity": 0,
                    "product": "DELIVERY",
                    "collateralquantity": None,
                    "collateraltype": None,
                    "haircut": 0.0,
                    "averageprice": average / 100,
                    "ltp": prices[symbol] / 100,
                    "symboltoken": instrument.token,
                    "close": closes[symbol] / 100,
                    "profitandloss": round(profit / 100),
                    "pnlpercentage": round((prices[symbol] - average) / average * 100, 2),
                }
            )
        return rows

    def rms(self, unrealised: int) -> dict[str, Any]:
        """Return the funds; text with four decimals, nulls where the live service has them."""
        net = self.available
        return {
            "net": _money4(net),
            "availablecash": _money4(net),
            "availableintradaypayin": "0.0000",
            "availablelimitmargin": "0.0000",
            "collateral": "0.0000",
            "m2munrealized": _money4(unrealised),
            "m2mrealized": _money4(self.realised),
            "utiliseddebits": _money4(self.used),
            "utilisedspan": None,
            "utilisedoptionpremium": None,
            "utilisedholdingsales": _money4(self.proceeds) if self.proceeds else None,
            "utilisedexposure": None,
            "utilisedturnover": None,
            "utilisedpayout": _money4(net),
        }


def margin(product: str, value: int) -> int:
    """Return the margin for a position of *value* paise."""
    return value * INTRADAY_MARGIN_PERCENT // 100 if product == "INTRADAY" else value


def _money4(paise: int) -> str:
    return f"{paise / 100:.4f}"


def _money(paise: float) -> str:
    return f"{paise / 100:.2f}"


def _average(value: float, shares: int) -> float:
    return value / shares if shares else 0.0


def _position_row(position: Position, price: int, close: int) -> dict[str, Any]:
    instrument, net = position.instrument, position.net
    buy_average = _average(position.buy_value, position.bought)
    sell_average = _average(position.sell_value, position.sold)
    # What was converted since then is no longer carried.
    cf_bought = min(max(position.carried, 0), position.bought)
    cf_sold = min(max(-position.carried, 0), position.sold)
    cf_average = _average(position.carried_value, abs(position.carried))
    cf_paid, cf_got = cf_bought * cf_average, cf_sold * cf_average
    day_bought, day_sold = position.bought - cf_bought, position.sold - cf_sold
    day_paid, day_got = position.buy_value - cf_paid, position.sell_value - cf_got
    open_average = buy_average if net > 0 else sell_average if net < 0 else 0.0
    unrealised = net * (price - open_average) if net else 0.0
    return {
        "exchange": instrument.exchange,
        "symboltoken": instrument.token,
        "producttype": position.product,
        "tradingsymbol": instrument.trading_symbol,
        "symbolname": instrument.symbol,
        "instrumenttype": "",
        "priceden": "1",
        "pricenum": "1",
        "genden": "1",
        "gennum": "1",
        "precision": "2",
        "multiplier": "-1",
        "boardlotsize": str(instrument.lot),
        "buyqty": str(day_bought),
        "sellqty": str(day_sold),
        "buyamount": _money(day_paid),
        "sellamount": _money(day_got),
        "symbolgroup": instrument.trading_symbol.rpartition("-")[2],
        "strikeprice": "-1.0",
        "optiontype": "",
        "expirydate": "",
        "lotsize": str(instrument.lot),
        "cfbuyqty": str(cf_bought),
        "cfsellqty": str(cf_sold),
        "cfbuyamount": _money(cf_paid),
        "cfsellamount": _money(cf_got),
        "buyavgprice": _money(_average(day_paid, day_bought)),
        "sellavgprice": _money(_average(day_got, day_sold)),
        "avgnetprice": _money(open_average),
        "netvalue": _money(position.sell_value - position.buy_value),
        "netqty": str(net),
        "totalbuyvalue": _money(position.buy_value),
        "totalsellvalue": _money(position.sell_value),
        "cfbuyavgprice": _money(cf_average if cf_bought else 0),
        "cfsellavgprice": _money(cf_average if cf_sold else 0),
        "totalbuyavgprice": _money(buy_average),
        "totalsellavgprice": _money(sell_average),
        "netprice": _money(open_average),
        "pnl": _money(position.realised + unrealised),
        "realised": _money(position.realised),
        "unrealised": _money(unrealised),
        "ltp": _money(price),
        "close": _money(close),
    }
