"""The part of the order manager that turns switches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from order.bookkeeper import Bookkeeper
from order.control import ControlClient
from order.lanes import Lanes
from order.latch import latch
from order.orders import Order
from order.switches import Level, SwitchView, TurnRequest
from shared.errors import LockHeld
from shared.store.thread import OwnedThread


class Opened(Protocol):
    """What is open while books are kept here."""

    thread: OwnedThread
    books: Bookkeeper
    lanes: Lanes


class SwitchDoor:
    """Takes what a human asks for, and passes it on where another process keeps the books."""

    _remote: ControlClient | None

    for_a_moment = False
    """Whether it keeps the books for one command alone: no prices come, and nothing goes to a broker."""

    @property
    def home(self) -> Path:
        """The state folder."""
        raise NotImplementedError

    async def turn(self, asked: TurnRequest) -> list[SwitchView]:
        """Turn a switch, durably; return those that are on then. No entry that it stops leaves afterwards.

        In live books an account that it stops is closed, too: once it is resumed it has to be armed anew.

        Raises:
            ConfigurationError: There is no such user or strategy, or a stronger switch stands there already.
            RefusedBySafety: Live books that another process keeps are resumed by who has said live alone.
        """
        house = not (asked.user_id or asked.strategy_id)
        if house and asked.level is not Level.OFF:
            latch(self.home, asked.level)  # first, and without anybody: who keeps the books may be busy
        if self._remote is not None:
            # Anybody may stop live books; to let them go on is for those who mean them.
            do = "resume" if asked.level is Level.OFF else "turn"
            answer = await self._remote.ask(do, msgspec.to_builtins(asked))
            return msgspec.convert(answer, list[SwitchView])
        opened = self._here()
        views, sends = await opened.thread.run(opened.books.turn, asked)
        opened.lanes.stopped(asked)
        if house and asked.level is Level.OFF:
            latch(self.home, asked.level)
        self._dispatch(sends)
        return views

    async def switches(self) -> list[SwitchView]:
        """Return the switches that are on."""
        if self._remote is not None:
            return msgspec.convert(await self._remote.ask("switches"), list[SwitchView])
        opened = self._here()
        return await opened.thread.run(lambda: opened.books.desk.views())

    async def runs(self) -> bool:
        """Whether a system keeps the books that goes on, and not this manager or one command of others."""
        if self._remote is None:
            return False
        try:
            return bool(await self._remote.ask("ping") == "pong")
        except LockHeld:
            return False  # it was a moment's, and is over

    def _here(self) -> Opened:
        raise NotImplementedError

    def _dispatch(self, sends: Sequence[Order]) -> None:
        raise NotImplementedError
