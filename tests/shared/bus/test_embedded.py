from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.bus import embedded
from shared.bus.client import Bus
from shared.bus.embedded import EmbeddedServer, socket_path
from shared.bus.watcher import is_alive
from shared.errors import BusUnavailable

HOLD = """
import asyncio, sys
from pathlib import Path
from shared.bus.embedded import EmbeddedServer
async def main():
    server = await EmbeddedServer.start(Path(sys.argv[1]))
    print(server.server_pid(), flush=True)
    if sys.argv[2] == "wait":
        await asyncio.Event().wait()
asyncio.run(main())
"""


def start_user(home: Path, how: str = "wait") -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home), how],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(embedded.__file__).parents[2],
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


async def gone(pid: int, within_s: float) -> bool:
    """Wait until process *pid* has ended."""
    deadline = time.monotonic() + within_s
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def watcher_pid(home: Path) -> int:
    return int((home / "valkey" / "valkey.pid").read_text().split()[1])


async def test_server_starts_and_answers(home: Path) -> None:
    server = await EmbeddedServer.start(home)
    bus = await Bus.open(home)
    assert await bus.redis.ping()
    assert (await bus.redis.config_get("appendonly"))["appendonly"] == "yes"
    assert (home / "valkey").stat().st_mode & 0o077 == 0
    await bus.close()
    server.close()


async def test_last_user_closed_leaves_no_process(home: Path) -> None:
    server = await EmbeddedServer.start(home)
    pids = server.server_pid(), watcher_pid(home)
    server.close()
    server.close()
    assert await gone(pids[0] or 0, 2) and await gone(pids[1], 2)
    assert not server.socket.exists() and not (home / "valkey" / "valkey.pid").exists()


@pytest.mark.parametrize("how", ["end", "kill"])
async def test_user_that_never_closes_leaves_no_process(home: Path, how: str) -> None:
    process, pid = start_user(home, "wait" if how == "kill" else "end")
    if how == "kill":
        process.kill()
    process.communicate()
    assert await gone(pid, 2)


async def test_two_processes_share_one_server_and_the_first_may_go(home: Path) -> None:
    process, pid = start_user(home)
    server = await EmbeddedServer.start(home)
    assert server.server_pid() == pid
    process.kill()
    process.communicate()
    await asyncio.sleep(0.4)
    assert is_alive(pid)
    server.close()
    assert await gone(pid, 2)


async def test_many_users_at_once_get_one_server(home: Path) -> None:
    servers = await asyncio.gather(*(EmbeddedServer.start(home) for _ in range(8)))
    assert len({server.server_pid() for server in servers}) == 1
    for server in servers:
        server.close()


async def test_killed_server_is_restarted_with_its_data(home: Path) -> None:
    bus = await Bus.open(home)
    await bus.redis.set("kept", "1")
    server = EmbeddedServer(home)
    pid = server.server_pid() or 0
    os.kill(pid, signal.SIGKILL)
    assert await gone(pid, 2)
    await bus.revive()
    assert await bus.redis.get("kept") == b"1"
    assert server.server_pid() != pid
    await bus.close()


async def test_killed_watcher_takes_the_server_along_and_both_come_back(home: Path) -> None:
    bus = await Bus.open(home)
    await bus.redis.set("kept", "1")
    pid, watcher = EmbeddedServer(home).server_pid() or 0, watcher_pid(home)
    os.kill(watcher, signal.SIGKILL)
    assert await gone(pid, 2)
    await bus.revive()
    assert await bus.redis.get("kept") == b"1"
    assert watcher_pid(home) != watcher
    await bus.close()


async def test_user_that_comes_while_the_server_stops_gets_a_new_one(home: Path) -> None:
    for _ in range(5):
        server = await EmbeddedServer.start(home)
        server.close()
        # Within the watcher's poll and the server's shutdown, each time at another point.
        await asyncio.sleep(0.05)
        again = await EmbeddedServer.start(home)
        bus = await Bus.open(home)
        await bus.ping()
        await bus.close()
        again.close()


async def test_folder_deleted_while_running_ends_the_old_server(home: Path) -> None:
    server = await EmbeddedServer.start(home)
    pid = server.server_pid() or 0
    shutil.rmtree(home / "valkey")
    assert await gone(pid, 2)
    await server.ensure()
    assert server.server_pid() not in (None, pid)
    server.close()


async def test_broken_data_is_set_aside(home: Path) -> None:
    server = await EmbeddedServer.start(home)
    pid = server.server_pid() or 0
    server.close()
    assert await gone(pid, 2)
    manifest = next((home / "valkey" / "data" / "appendonlydir").glob("*.manifest"))
    manifest.write_text("nonsense\n")
    again = await EmbeddedServer.start(home)
    assert (home / "valkey" / "data.broken").is_dir()
    again.close()


async def test_long_path_goes_to_a_private_short_folder(home: Path) -> None:
    deep = home / ("x" * 120)
    server = await EmbeddedServer.start(deep)
    folder = server.socket.parent
    assert len(str(server.socket)) <= 100 and folder.stat().st_mode & 0o077 == 0
    pid = server.server_pid() or 0
    server.close()
    assert await gone(pid, 2)
    deadline = time.monotonic() + 2
    while folder.exists() and time.monotonic() < deadline:  # noqa: ASYNC110  # a folder has no event
        await asyncio.sleep(0.02)
    assert not folder.exists()


def test_short_path_stays_in_the_state_folder(tmp_path: Path) -> None:
    assert socket_path(Path("/srv/state/valkey")) == Path("/srv/state/valkey/valkey.sock")


async def test_missing_binary_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(BusUnavailable, match="REDIS_URL"):
        await EmbeddedServer.start(home)
