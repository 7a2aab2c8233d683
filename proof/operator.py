"""Whoever arms the accounts in the morning, here after each crash: a thread that keeps asking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from order.control import ControlClient
from shared.errors import TradingError

ASK_S = 15.0
PAUSE_S = 0.1


class Operator:
    """Asks each order side how its accounts stand, and arms those that take no entries.

    Args:
        controls: Control socket by subscriber.
    """

    def __init__(self, controls: Mapping[str, Path]) -> None:
        self._controls = dict(controls)
        self._armed: set[str] = set()
        self._asked: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="operator", daemon=True)
        self._thread.start()

    @property
    def armed(self) -> bool:
        """Whether each order side had an account that takes entries when last asked."""
        return len(self._armed) == len(self._controls)

    def forget(self, name: str) -> None:
        """*name* was started anew: what it said before is void."""
        self._armed.discard(name)

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
        states = await ask(self._controls[name], "accounts")
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


async def ask(control: Path, do: str, given: Mapping[str, object] | None = None) -> list[Any]:
    """Return what an order side answers; nothing while it does not."""
    try:
        states = await ControlClient(control).ask(do, dict(given or {}), ASK_S)
    except (TradingError, OSError):
        return []
    return states if isinstance(states, list) else []
