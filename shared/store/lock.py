"""One owner for each piece of state, by `flock`: the kernel frees it when the owner dies."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from shared.errors import LockHeld


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as they wrote it down."""

    pid: int
    command: str


def own_command() -> str:
    """Return how this process was started, shortened."""
    return " ".join([Path(sys.argv[0]).name or "python", *sys.argv[1:3]])


class FileLock:
    """An exclusive lock on a file; never waits in silence.

    Two `FileLock` objects on one path exclude each other also within a process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def acquire(self) -> None:
        """Take the lock or say at once who has it.

        Raises:
            LockHeld: Another process (or another object in this one) holds it.
        """
        if not self.try_acquire():
            holder = self.holder()
            who = f"pid {holder.pid} ({holder.command})" if holder else "another process"
            raise LockHeld(
                f"{self.path} is held by {who}.",
                remedy="Stop that process, or use another state folder (TRADING_HOME).",
            )

    def try_acquire(self) -> bool:
        """Take the lock; return False where somebody else has it."""
        if self._fd is not None:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "command": own_command()}).encode(), 0)
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def holder(self) -> Holder | None:
        """Return who wrote themselves into the file last, or None where it cannot be read."""
        try:
            found = json.loads(self.path.read_bytes())
            return Holder(int(found["pid"]), str(found["command"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
