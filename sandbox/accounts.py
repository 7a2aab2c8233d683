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
    """What was bought and sold of one instrument in one product; paise."""

    instrument: Instrument
    product: str
    bought: int = 0
    sold: int = 0
    buy_value: int = 0
    sell_value: int = 0

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


@dataclass(frozen=True, slots=True)
class Moved:
    """Part of a position that went over to another product; what is subtracted here is added there."""

    client: str
    symbol: str
    old: str
    new: str
    bought: int = 0
    sold: int = 0
    buy_value: int = 0
    sell_value: int = 0


@dataclass(slots=True)
class Account:
    """One client."""

    client: str
    cash: int = DEFAULT_CASH_PAISE
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    holdings: dict[str, tuple[Instrument, int, int]] = field(default_factory=dict)
    """By symbol: instrument, shares, average price in paise."""

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
        free = (held[1] if held else 0) + self.position(order.instrument, "DELIVERY").net
        return free - promised >= order.remaining

    def book(self, order: Order, trade: Trade) -> None:
        """Enter an execution."""
        position = self.position(order.instrument, order.product)
        if order.side == "BUY":
            position.bought += trade.quantity
            position.buy_value += trade.quantity * trade.price
        else:
            position.sold += trade.quantity
            position.sell_value += trade.quantity * trade.price

    def convert(self, instrument: Instrument, old: str, new: str, quantity: int) -> Moved | None:
        """Move *quantity* of a position to another product; None where shares or money do not suffice."""
        source = self.position(instrument, old)
        if quantity > abs(source.net) or old == new:
            return None
        value = round(quantity * source.cost() / abs(source.net))
        # A short position cannot become a delivery: the shares are not there.
        if margin(new, value) - margin(old, value) > self.available or (new == "DELIVERY" and source.net < 0):
            return None
        if source.net > 0:
            moved = Moved(self.client, instrument.symbol, old, new, bought=quantity, buy_value=value)
        else:
            moved = Moved(self.client, instrument.symbol, old, new, sold=quantity, sell_value=value)
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

    def holding_rows(self, prices: dict[str, int], closes: dict[str, int]) -> list[dict[str, Any]]:
        """Return the holding objects; numbers are numbers."""
        rows = []
        for symbol, (instrument, quantity, average) in self.holdings.items():
            profit = quantity * (prices[symbol] - average)
            rows.append(
                {
                    "tradingsymbol": instrument.trading_symbol,
                    "exchange": instrument.exchange,
                    "isin": "",
                    "t1quantity": 0,
                    "realisedquantity": quantity,
                    "quantity": quantity,
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


def _position_row(position: Position, price: int, close: int) -> dict[str, Any]:
    instrument, net = position.instrument, position.net
    buy_average = position.buy_value / position.bought if position.bought else 0.0
    sell_average = position.sell_value / position.sold if position.sold else 0.0
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
        "buyqty": str(position.bought),
        "sellqty": str(position.sold),
        "buyamount": _money(position.buy_value),
        "sellamount": _money(position.sell_value),
        "symbolgroup": instrument.trading_symbol.rpartition("-")[2],
        "strikeprice": "-1.0",
        "optiontype": "",
        "expirydate": "",
        "lotsize": str(instrument.lot),
        "cfbuyqty": "0",
        "cfsellqty": "0",
        "cfbuyamount": "0.00",
        "cfsellamount": "0.00",
        "buyavgprice": _money(buy_average),
        "sellavgprice": _money(sell_average),
        "avgnetprice": _money(open_average),
        "netvalue": _money(position.sell_value - position.buy_value),
        "netqty": str(net),
        "totalbuyvalue": _money(position.buy_value),
        "totalsellvalue": _money(position.sell_value),
        "cfbuyavgprice": "0.00",
        "cfsellavgprice": "0.00",
        "totalbuyavgprice": _money(buy_average),
        "totalsellavgprice": _money(sell_average),
        "netprice": _money(open_average),
        "pnl": _money(position.realised + unrealised),
        "realised": _money(position.realised),
        "unrealised": _money(unrealised),
        "ltp": _money(price),
        "close": _money(close),
    }
