"""What a running system shows: one line at the start, a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from app.grid import Cell, Column, lay_out, styled
from app.listing import ist, money, profit, side
from app.summary import Account, accounts, marks_of
from shared.errors import StoreError
from shared.models import Signal, instant

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from app.system import EngineSide, OrderSide

REFRESH_S = 0.5
ACCOUNTS_EVERY_S = 2.0
LATEST = 8
BAR_CELLS = 30
COLOURS = {"PAPER": "bold green", "SANDBOX": "bold yellow", "LIVE": "bold red"}

FULL_LINES = 40
"""So many signals in a row are printed one by one; then one a second, the others are counted."""


class Thrift:
    """Lets lines through until there are too many, then one a second, and counts the rest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(FULL_LINES)
        self._at = clock()
        self._held = 0

    def take(self) -> int | None:
        """Return None to hold this line back, else how many were held back in front of it."""
        now = self._clock()
        self._left = min(float(FULL_LINES), self._left + now - self._at)
        self._at = now
        if self._left < 1:
            self._held += 1
            return None
        self._left -= 1
        return self.rest()

    def rest(self) -> int:
        """Return how many lines have been held back, and forget them."""
        held, self._held = self._held, 0
        return held


class Screen:
    """Shows the run; silent with *as_json*."""

    def __init__(self, *, as_json: bool) -> None:
        self._silent = as_json
        self._console: Console | None = None
        self._live: Live | None = None
        self._task: asyncio.Task[None] | None = None
        self._latest: deque[Signal] = deque(maxlen=LATEST)
        self._thrift = Thrift()
        self._engine: EngineSide | None = None
        self._orders: OrderSide | None = None
        self._accounts: list[Account] = []
        self._switched: list[str] = []
        self._accounts_at = 0.0

    def start(self, banner: str, engine: EngineSide | None, orders: OrderSide | None) -> None:
        """Print the line that says what this is, then show what happens."""
        if self._silent:
            return
        self._engine, self._orders = engine, orders
        if engine is not None:
            engine.engine.on_signal(self._note)
        if not sys.stdout.isatty():
            print(banner, flush=True)
            return
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        mode, _, rest = banner.partition(" ")
        self._console = Console()
        self._console.print(Text.assemble((mode, COLOURS.get(mode, "bold")), " ", rest.strip()))
        self._live = Live(self._view(), console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._task = asyncio.get_running_loop().create_task(self._refresh(), name="screen")

    def stop(self) -> None:
        """End the live view; say how many lines were held back."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._live is not None:
            self._live.stop()
            self._live = None
        _say_held(self._thrift.rest())

    def say_engine(self, engine: EngineSide) -> None:
        """Print how an engine of its own ended; as one JSON object where asked."""
        made, head, sent = engine.engine.signal_count, engine.outbox.head, engine.relay.sent
        if self._silent:
            print(json.dumps({"run": engine.source.run, "signals": made, "outbox": head, "sent": sent}))
        else:
            print(f"{made} signals in this run, {head} in the outbox, {sent} put on the bus.")

    def say_orders(self, orders: OrderSide) -> None:
        """Print how a subscriber of its own ended; as one JSON object where asked."""
        taken = orders.subscriber.taken
        if self._silent:
            print(json.dumps({"taken": taken}))
        else:
            print(f"{taken} signals taken. `trading verify` proves the books.")

    def _note(self, signal: Signal, seq: int) -> None:
        self._latest.append(signal)
        if self._live is not None:
            return
        held = self._thrift.take()
        if held is None:
            return
        _say_held(held)
        line = f"{ist(signal.bar_close)}  #{seq:<5} {signal.signal_type:<10} {signal.symbol:<10}"
        print(f"{line} {signal.price:>10}  {signal.strategy_id}  {signal.reason}", flush=True)

    async def _refresh(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while self._live is not None:
                self._live.update(self._view(), refresh=True)
                await asyncio.sleep(REFRESH_S)

    def _view(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        width = self._console.width if self._console is not None else 80
        parts: list[RenderableType] = []
        if self._engine is not None:
            parts.append(_clipped(_progress(self._engine)))
            parts.append(_clipped(_prices(self._engine)))
        if self._latest:
            rows = list(reversed(self._latest))
            parts += [Text(""), *(styled(line) for line in lay_out(SIGNAL_COLUMNS, rows, width).lines)]
        if self._orders is not None:
            found = self._current_accounts()
            if found:
                parts += [Text(""), *(styled(line) for line in lay_out(ACCOUNT_COLUMNS, found, width).lines)]
            parts += [Text(""), *(_clipped([Cell(line, "bold red")]) for line in self._switched)]
            parts.append(_clipped(_state(self._orders)))
        return Group(*parts)

    def _current_accounts(self) -> list[Account]:
        """Return users' accounts as of at most two seconds ago: they are read from the store."""
        now = time.monotonic()
        if (
            self._engine is not None
            and self._orders is not None
            and now - self._accounts_at >= ACCOUNTS_EVERY_S
        ):
            self._accounts_at = now
            # The view is a guest: what keeps the store from being read is told by those who write it.
            with contextlib.suppress(StoreError), closing(self._orders.manager.place.reader()) as reader:
                self._switched = reader.switched()
                self._accounts = accounts(reader, self._engine.source.run, marks_of(self._engine.board))
        return self._accounts


SIGNAL_COLUMNS: list[Column[Signal]] = [
    Column("signal at (IST)", lambda row: ist(row.bar_close)),
    Column("strategy", lambda row: row.strategy_id, rank=2),
    Column("symbol", lambda row: row.symbol),
    Column("signal", lambda row: side(row.signal_type)),
    Column("price", lambda row: money(row.price), right=True),
    Column("why", lambda row: row.reason, rank=1, least=16),
]
ACCOUNT_COLUMNS: list[Column[Account]] = [
    Column("user", lambda row: row.user_id),
    Column("open", lambda row: f"{row.open}", right=True),
    Column("realised", lambda row: profit(row.realised), right=True, rank=2),
    Column("unrealised", lambda row: profit(row.unrealised), right=True, rank=3),
    Column("charges", lambda row: money(row.charges), right=True, rank=1),
    Column("net", lambda row: profit(row.net), right=True),
]


def _progress(engine: EngineSide) -> list[Cell]:
    now = Cell(f"{ist(instant(engine.source.now_us()))} IST", "bold")
    made = Cell(f"{engine.engine.signal_count} signals")
    if not engine.source.run.startswith("replay"):
        return [now, made]
    done = engine.source.progress
    full = round(done * BAR_CELLS)
    # The share that is decided, not the source's clock: at full speed that stands at the end.
    bar = "━" * full + "─" * (BAR_CELLS - full)
    return [Cell(bar, "green"), Cell(f"{done:4.0%}", "bold"), made]


def _prices(engine: EngineSide) -> list[Cell]:
    cells = []
    for symbol in engine.board.symbols():
        quote = engine.board.latest(symbol)
        if quote is not None:
            cells += [Cell(symbol, "dim"), Cell(money(quote.price), "bold")]
    return cells


def _state(orders: OrderSide) -> list[Cell]:
    trouble = orders.subscriber.trouble
    if trouble:
        return [Cell("signals wait:", "bold red"), Cell(trouble, "red")]
    taken = Cell(f"bus ok, {orders.subscriber.taken} signals taken")
    return [taken, Cell("Ctrl-C stops", "dim")]


def _clipped(line: list[Cell]) -> RenderableType:
    text = styled(line)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _say_held(held: int) -> None:
    if held:
        print(f"… and {held} more (`trading signals` lists them)", flush=True)
