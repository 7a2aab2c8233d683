"""Whoever arms the accounts in the morning, here after each crash: a thread that keeps asking."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from order.control import ControlClient
from shared.errors import TradingError

ASK_S = 15.0
PAUSE_S = 0.1


class Operator:
    """Asks each order side how its accounts stand, and arms those that take no entries.

    Attributes:
        recoveries: Seconds from the start of an order side, or from what disturbed it last, until it answers
            and its cursor is at the head that it met.

    Args:
        controls: Control socket by subscriber.
        cursor: Returns the lowest cursor.
    """

    def __init__(self, controls: Mapping[str, Path], cursor: Callable[[], int]) -> None:
        self.recoveries: list[float] = []
        self._controls = dict(controls)
        self._cursor = cursor
        self._starts: dict[str, _Start] = {}
        self._armed: set[str] = set()
        self._asked: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="operator", daemon=True)
        self._thread.start()

    @property
    def at_rest(self) -> bool:
        """Whether each order side has recovered and has an account that takes entries."""
        return not self._starts and len(self._armed) == len(self._controls)

    def started(self, name: str, head: int) -> None:
        """*name* was started anew, while the last signal was number *head*."""
        self._armed.discard(name)
        self._starts[name] = _Start(time.monotonic(), head)

    def disturbed(self) -> None:
        """Something else was killed or hindered until now: whoever has not recovered begins anew."""
        for start in tuple(self._starts.values()):
            start.at_s = time.monotonic()

    def close(self) -> None:
        """Leave."""
        self._end.set()
        self._thread.join()

    # -- inside ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._end.is_set():
            for name in self._controls:
                await self._look(name)
            await asyncio.sleep(PAUSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self, name: str) -> None:
        start = self._starts.get(name)
        states = await ask(self._controls[name], "accounts")
        if states and start is not None and self._cursor() >= start.head and self._starts.get(name) is start:
            self.recoveries.append(time.monotonic() - start.at_s)
            del self._starts[name]
        if not any(state["armed"] for state in states):
            self._armed.discard(name)
        else:
            self._armed.add(name)
        for state in states:
            key = (name, str(state["user_id"]))
            if not state["armed"] and key not in self._asked:
                self._asked.add(key)
                task = asyncio.create_task(self._arm(key))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _arm(self, key: tuple[str, str]) -> None:
        await ask(self._controls[key[0]], "arm", {"users": [key[1]]})
        self._asked.discard(key)


@dataclass
class _Start:
    at_s: float
    head: int


async def ask(control: Path, do: str, given: Mapping[str, object] | None = None) -> list[Any]:
    """Return what an order side answers; nothing while it does not."""
    try:
        states = await ControlClient(control).ask(do, dict(given or {}), ASK_S)
    except (TradingError, OSError):
        return []
    return states if isinstance(states, list) else []
