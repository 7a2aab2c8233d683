"""What a running system shows: one line at the start, a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from app.listing import ist, money
from shared.models import Signal, instant

if TYPE_CHECKING:
    from app.system import EngineSide, OrderSide

REFRESH_S = 0.5
LATEST = 8
COLOURS = {"PAPER": "bold green", "SANDBOX": "bold yellow", "LIVE": "bold red"}


class Screen:
    """Shows the run; silent with *as_json*."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = Console()
        self._silent = as_json
        self._live: Live | None = None
        self._task: asyncio.Task[None] | None = None
        self._latest: deque[Signal] = deque(maxlen=LATEST)
        self._engine: EngineSide | None = None
        self._orders: OrderSide | None = None

    def start(self, banner: str, engine: EngineSide | None, orders: OrderSide | None) -> None:
        """Print the one line that says what this is, then show what happens."""
        if self._silent:
            return
        mode, _, rest = banner.partition(" ")
        self._console.print(Text.assemble((mode, COLOURS.get(mode, "bold")), " ", rest.strip()), soft_wrap=True)
        self._engine, self._orders = engine, orders
        if engine is not None:
            engine.engine.on_signal(self._note)
        if self._console.is_terminal:
            self._live = Live(self._view(), console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self._task = asyncio.get_running_loop().create_task(self._refresh(), name="screen")

    def stop(self) -> None:
        """End the live view."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say_engine(self, engine: EngineSide) -> None:
        """Print how an engine of its own ended."""
        if not self._silent:
            made, head = engine.engine.signal_count, engine.outbox.head
            self._console.print(f"{made} signals in this run, {head} in the outbox, {engine.relay.sent} on the bus.")

    def say_orders(self, orders: OrderSide) -> None:
        """Print how a subscriber of its own ended."""
        if not self._silent:
            self._console.print(f"{orders.subscriber.taken} signals taken. `trading verify` proves the books.")

    def _note(self, signal: Signal, seq: int) -> None:
        self._latest.append(signal)
        if self._live is None:
            self._console.print(
                f"{ist(signal.bar_close)}  #{seq:<5} {signal.signal_type:<10} {signal.symbol:<10}"
                f" {signal.price:>10}  {signal.strategy_id}  {signal.reason}",
                highlight=False,
                soft_wrap=True,
            )

    async def _refresh(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while self._live is not None:
                self._live.update(self._view(), refresh=True)
                await asyncio.sleep(REFRESH_S)

    def _view(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._engine is not None:
            parts.append(self._progress(self._engine))
            parts.append(self._prices(self._engine))
        if self._latest:
            table = Table(box=None, show_header=False, pad_edge=False)
            for signal in reversed(self._latest):
                table.add_row(
                    ist(signal.bar_close), str(signal.signal_type), signal.symbol, money(signal.price), signal.reason
                )
            parts.append(table)
        if self._orders is not None:
            trouble = self._orders.subscriber.trouble
            state = f"[bold red]{trouble}[/bold red]" if trouble else f"{self._orders.subscriber.taken} signals taken"
            parts.append(f"{state}   [dim]Ctrl-C stops[/dim]")
        return Group(*parts)

    def _progress(self, engine: EngineSide) -> RenderableType:
        now = Text(ist(instant(engine.source.now_us())) + " IST  ", style="bold")
        if engine.source.run == "sim":
            return now
        row = Table.grid(padding=(0, 1))
        done = engine.source.progress
        row.add_row(ProgressBar(total=1.0, completed=done, width=40), f"{done:4.0%}", f"{engine.engine.signal_count} signals")
        return row

    def _prices(self, engine: EngineSide) -> RenderableType:
        quotes = [engine.board.latest(symbol) for symbol in engine.board.symbols()]
        return "  ".join(f"{quote.symbol} [bold]{quote.price:.2f}[/bold]" for quote in quotes if quote is not None)
