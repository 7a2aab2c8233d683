"""The small process that owns an embedded Valkey server; run as a script, standard library only.

Three locks say everything, and the kernel frees each of them when its holder dies:

* `users.lock`: every user process holds it shared. When the watcher gets it exclusively, nobody is
  left: it stops the server and ends. Users that arrive meanwhile wait for the lock.
* `watcher.lock`: held by the watcher *and* inherited by the server, so that no second server can open
  the data while an orphaned first one is still going down.
* The folder itself: where the lock files are no longer the ones that were opened, somebody deleted
  the folder; what is running belongs to nobody and is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

POLL_S = 0.1
"""Between two looks at the users' lock; a server without users is gone within about 0.3 s."""

STOP_TIMEOUT_S = 5.0
ORPHAN_TIMEOUT_S = 5.0
STEADY_S = 5.0
"""A server that lived this long was healthy: the count of failures starts again."""

FIRST_RESTART_DELAY_S = 0.05
MAX_RESTART_DELAY_S = 2.0
SET_ASIDE_AFTER = 3
"""Failures in a row after which the data is set aside: losing it loses no signal, staying down does harm."""

PR_SET_PDEATHSIG = 1

SERVER_OPTIONS = (
    *("--port", "0", "--unixsocketperm", "700", "--daemonize", "no"),
    *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
    *("--databases", "1", "--loglevel", "warning", "--logfile", "", "--shutdown-timeout", "0"),
)


class Watcher:
    """Keeps one server running for as long as somebody uses it.

    Args:
        folder: Holds locks, pid file and data; exists.
        socket: Path of the server's Unix socket.
        binary: The server's executable.
        lock_fd: Open descriptor of `watcher.lock`, locked.
    """

    def __init__(self, folder: Path, socket: Path, binary: Path, lock_fd: int) -> None:
        self.folder = folder
        self.socket = socket
        self.binary = binary
        self._lock_fd = lock_fd
        self._users_fd = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._child = 0
        self._started_at = 0.0
        self._not_before = 0.0
        self._failures = 0
        self._stopping = False
        self._wake_fd = self._catch_signals()

    def run(self) -> None:
        """Serve until the last user is gone, the folder is gone, or a SIGTERM comes."""
        while True:
            if not self._child and time.monotonic() >= self._not_before:
                self._start_server()
            select.select([self._wake_fd], [], [], POLL_S)
            self._drain_wakeups()
            self._reap()
            if not self._owns_folder():
                # Killed, not asked: a server that ends in order unlinks a socket that may be the next one's.
                self._stop_server(signal.SIGKILL)
                return
            if self._stopping or self._users_gone():
                self._stop_server(signal.SIGTERM)
                self._clean_up()
                return

    def _catch_signals(self) -> int:
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return read_fd

    def _on_term(self, *_: object) -> None:
        self._stopping = True

    def _drain_wakeups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_fd, 4096)

    def _start_server(self) -> None:
        data = self.folder / "data"
        if self._failures == SET_ASIDE_AFTER and data.exists():
            aside = self.folder / "data.broken"
            shutil.rmtree(aside, ignore_errors=True)
            data.rename(aside)
            print(f"watcher: server failed {self._failures} times; its data is now in {aside}", flush=True)
        data.mkdir(mode=0o700, exist_ok=True)
        self._started_at = time.monotonic()
        watcher = os.getpid()
        self._child = os.fork()
        if not self._child:
            self._become_server(data, watcher)
        pid_file = self.folder / "valkey.pid"
        pid_file.write_text(f"{self._child} {watcher}\n")

    def _become_server(self, data: Path, watcher: int) -> None:
        os.set_inheritable(self._lock_fd, True)
        if sys.platform == "linux":
            # Imported in the child only: the watcher stays small.
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != watcher:
                os._exit(1)
        try:
            os.execv(
                self.binary,
                [str(self.binary), "--unixsocket", str(self.socket), "--dir", str(data), *SERVER_OPTIONS],
            )
        except OSError as error:
            print(f"watcher: cannot run {self.binary}: {error}", flush=True)
            os._exit(127)

    def _reap(self) -> None:
        if not self._child:
            return
        pid, status = os.waitpid(self._child, os.WNOHANG)
        if not pid:
            return
        self._child = 0
        lived_s = time.monotonic() - self._started_at
        self._failures = 0 if lived_s >= STEADY_S else self._failures + 1
        delay_s = (
            min(FIRST_RESTART_DELAY_S * 2**self._failures, MAX_RESTART_DELAY_S) if self._failures else 0.0
        )
        self._not_before = time.monotonic() + delay_s
        code = os.waitstatus_to_exitcode(status)
        print(
            f"watcher: server ended with {code} after {lived_s:.1f} s; restart in {delay_s:.2f} s", flush=True
        )

    def _owns_folder(self) -> bool:
        return _is_open_file(self.folder / "watcher.lock", self._lock_fd) and _is_open_file(
            self.folder / "users.lock", self._users_fd
        )

    def _users_gone(self) -> bool:
        return _try_lock(self._users_fd)

    def _stop_server(self, how: signal.Signals) -> None:
        if not self._child:
            return
        os.kill(self._child, how)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while os.waitpid(self._child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(self._child, signal.SIGKILL)
                os.waitpid(self._child, 0)
                break
            time.sleep(0.01)
        self._child = 0

    def _clean_up(self) -> None:
        (self.folder / "valkey.pid").unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.folder:
            with contextlib.suppress(OSError):
                self.socket.parent.rmdir()
        # In this order: who then gets the users' lock must find the watcher's lock free.
        os.close(self._lock_fd)
        os.close(self._users_fd)


def main(arguments: list[str]) -> int:
    """Become the watcher of `folder socket binary`, or end at once where there is one already."""
    folder, socket, binary = (Path(argument) for argument in arguments)
    lock_fd = os.open(folder / "watcher.lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not _try_lock(lock_fd) and not _outlive_orphan(folder, lock_fd):
        return 0
    if os.fork():
        # Whoever started us waits for this process only; the watcher is nobody's child.
        os._exit(0)
    Watcher(folder, socket, binary, lock_fd).run()
    return 0


def _outlive_orphan(folder: Path, lock_fd: int) -> bool:
    """End a server whose watcher is dead, and take over its lock; False where the watcher lives."""
    try:
        server, watcher = (int(word) for word in (folder / "valkey.pid").read_text().split())
    except (OSError, ValueError):
        return False
    if is_alive(watcher):
        return False
    deadline = time.monotonic() + ORPHAN_TIMEOUT_S
    # The lock is still held and its watcher is dead, so it is the server that holds it: the pid is its own.
    how = signal.SIGTERM
    while not _try_lock(lock_fd):
        if is_alive(server):
            os.kill(server, how)
        if time.monotonic() > deadline:
            how = signal.SIGKILL
        time.sleep(0.05)
    return True


def is_alive(pid: int) -> bool:
    """Return whether a process *pid* runs; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # Some container inits reap late. The state follows the name, which may hold anything but a newline.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_open_file(path: Path, fd: int) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    ours = os.fstat(fd)
    return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
