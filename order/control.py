"""The control socket of whoever holds the order lock: commands of others come in here.

One JSON object per line each way over a Unix socket that only its owner may open. A request is
`{"do": name, "with": {…}, "live": bool}`, an answer `{"ok": …}` or `{"error": {"kind", "what", "remedy"}}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from shared.bus.embedded import socket_path
from shared.errors import (
    BusUnavailable,
    ConfigurationError,
    DataError,
    LockHeld,
    LoginRefused,
    RefusedBySafety,
    StoreError,
    TradingError,
    VenueUnavailable,
)

TIMEOUT_S = 10.0
MAX_LINE_BYTES = 1_000_000
_KINDS = {
    kind.__name__: kind
    for kind in (
        TradingError,
        ConfigurationError,
        RefusedBySafety,
        LockHeld,
        StoreError,
        BusUnavailable,
        DataError,
        VenueUnavailable,
        LoginRefused,
    )
}

Command = Callable[[dict[str, Any]], Awaitable[object]]


def control_path(home: Path) -> Path:
    """Return where the control socket of *home* lies; long paths move to a short private folder."""
    return socket_path(home.resolve()).with_name("order.sock")


class ControlServer:
    """Serves commands while the order lock is held.

    Args:
        path: Of the socket.
        commands: What each does.
        live_only: Commands that are for those alone who know that these books are live.
    """

    def __init__(
        self, path: Path, commands: Mapping[str, Command], live_only: Collection[str] = ()
    ) -> None:
        self._path = path
        self._commands = commands
        self._live_only = live_only
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket left behind by a killed process is replaced, for we hold the lock."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_LINE_BYTES)
        self._path.chmod(0o700)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = ConnectionError, asyncio.LimitOverrunError, ValueError
        # Cancelled: the system ends. Passed on, asyncio of Python 3.11 shows it as an error with a traceback.
        with contextlib.suppress(*gone, asyncio.CancelledError):
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
            command = self._commands[request["do"]]
            arguments = dict(request.get("with") or {})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return {
                "error": {"kind": "ConfigurationError", "what": f"not a command: {error!r}", "remedy": ""}
            }
        try:
            if request["do"] in self._live_only and request.get("live") is not True:
                raise RefusedBySafety(
                    "These books are live, and who asks has not said so.",
                    remedy='It takes OrderManager(False, environment="live") and PAPER_TRADING=false.',
                )
            return {"ok": await command(arguments)}
        except TradingError as error:
            kind = type(error).__name__
            return {"error": {"kind": kind, "what": error.what, "remedy": error.remedy}}


class ControlClient:
    """Sends commands to the holder of the order lock.

    Args:
        path: Of the socket.
        live: Who asks has said that they mean live books.
    """

    def __init__(self, path: Path, *, live: bool = False) -> None:
        self._path = path
        self._live = live

    async def ask(
        self, do: str, arguments: Mapping[str, object] | None = None, timeout_s: float = TIMEOUT_S
    ) -> Any:
        """Send one command and return its result.

        Raises:
            TradingError: What the other side raised, as its own kind.
            LockHeld: Nobody answers on the socket although the lock is held.
        """
        request = {"do": do, "with": dict(arguments or {}), "live": self._live}
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_LINE_BYTES)
                try:
                    # Not msgspec: it writes NaN as null, and the other side must see what was meant.
                    writer.write(json.dumps(request, default=str).encode() + b"\n")
                    await writer.drain()
                    line = await reader.readline()
                finally:
                    writer.close()
            if not line:
                raise ConnectionResetError("it ended before it answered")
            answer = json.loads(line)
        except (OSError, TimeoutError, ValueError) as error:
            raise LockHeld(
                f"The process that holds the order lock does not answer on {self._path}: {error!r}.",
                remedy="If it is starting, try again; if it hangs, stop it.",
            ) from error
        if "error" in answer:
            said = answer["error"]
            raise _KINDS.get(said["kind"], TradingError)(said["what"], remedy=said["remedy"])
        return answer["ok"]
