"""An exchange without a server: the clock moves when told to, the market is a recording made for the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sandbox.accounts import Account
from sandbox.exchange import Exchange, Placed
from sandbox.intake import Refusal
from sandbox.market_clock import Instant, open_us
from sandbox.orders import Order
from sandbox.prices import Prices
from sandbox.recording import RecordedTape, load
from sandbox.switches import Switches
from shared.instruments import Instruments

DAY = 18_729
"""Monday 2021-04-12."""

INSTRUMENTS = Instruments.load()
RELIANCE = INSTRUMENTS.get("RELIANCE")
Tick = tuple[int, float, int]
"""Second of the session, rupees, shares traded."""


class Floor:
    """One exchange with clients A, B and C and RELIANCE at prices of the test's choice."""

    def __init__(self, folder: Path, ticks: list[Tick], *, cash: int = 10**13, **switches: object) -> None:
        self.cash = cash
        self.switches = Switches()
        self.switches.change({"latency_low_ms": 0, "latency_high_ms": 0, **switches})
        self.tape = RecordedTape(7, load([recording(folder, ticks)], INSTRUMENTS))
        self.prices = Prices(self.tape)
        self.told: list[tuple[str, str, str]] = []
        self.second, self.day = 0, DAY
        self.exchange = self.make()

    def make(self) -> Exchange:
        """Return a new exchange on the same market."""
        accounts = [Account(client, self.cash) for client in "ABC"]
        return Exchange(self.prices, INSTRUMENTS, accounts, self.switches, on_update=self._tell)

    def _tell(self, order: Order) -> None:
        self.told.append((order.orderid, order.status, order.text))

    @property
    def now(self) -> Instant:
        """Return the market's time."""
        return Instant(self.day, self.second, open_us(self.day) + self.second * 1_000_000)

    def at(self, second: int, day: int = DAY) -> None:
        """Move to *second* of the session and let the exchange work."""
        self.second, self.day = second, day
        self.exchange.advance(self.now, self.now.us)

    def ask(self, client: str, side: str, quantity: int, price: float | None = None, **more: object) -> Any:
        """Place an order and return what the front end says; LIMIT with a price, else MARKET."""
        body = {
            "variety": "NORMAL",
            "tradingsymbol": "RELIANCE-EQ",
            "symboltoken": "2885",
            "transactiontype": side,
            "exchange": "NSE",
            "ordertype": "MARKET" if price is None else "LIMIT",
            "producttype": "INTRADAY",
            "duration": "DAY",
            "price": "0" if price is None else f"{price:.2f}",
            "quantity": str(quantity),
            **more,
        }
        return self.exchange.place(client, body, self.now, self.now.us)

    def place(
        self, client: str, side: str, quantity: int, price: float | None = None, **more: object
    ) -> Order:
        """Place an order that is accepted, let it arrive and return it."""
        placed = self.ask(client, side, quantity, price, **more)
        assert isinstance(placed, Placed), placed
        self.exchange.advance(self.now, self.now.us)
        return self.exchange.orders[client][placed.orderid]

    def modify(self, order: Order, **more: object) -> Placed | Refusal:
        """Ask for a change of *order* and let it arrive."""
        body = {
            "variety": order.variety,
            "orderid": order.orderid,
            "ordertype": order.order_type,
            "price": f"{order.price / 100:.2f}",
            "triggerprice": f"{order.trigger / 100:.2f}",
            "quantity": str(order.quantity),
            **more,
        }
        answer = self.exchange.modify(order.client, body, self.now, self.now.us)
        self.exchange.advance(self.now, self.now.us)
        return answer

    def cancel(self, order: Order) -> Placed | Refusal:
        """Ask for the end of *order* and let it arrive."""
        body = {"variety": order.variety, "orderid": order.orderid}
        answer = self.exchange.cancel(order.client, body, self.now.us)
        self.exchange.advance(self.now, self.now.us)
        return answer

    def ask_levels(self) -> list[tuple[float, int]]:
        """Return the made-up sellers: rupees and shares, best first."""
        depth = self.prices.depth(RELIANCE, self.now)
        return [(level.price / 100, level.quantity) for level in depth.asks]

    def statuses(self, order: Order) -> list[str]:
        """Return what the order feed was told of *order*."""
        return [status for orderid, status, _ in self.told if orderid == order.orderid]


def recording(folder: Path, ticks: list[Tick], name: str = "RELIANCE_test.csv") -> Path:
    """Write ticks of 2021-04-12 as a recording."""
    rows, volume = ["ts,ltp,cum_volume"], 0
    for second, price, traded in ticks:
        volume += traded
        hour, rest = divmod(9 * 3600 + 15 * 60 + second, 3600)
        rows.append(f"2021-04-12T{hour:02d}:{rest // 60:02d}:{rest % 60:02d}+05:30,{price},{volume}")
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path
