from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from app.embedded import EmbeddedSandbox, Options, ask_market
from shared.errors import ConfigurationError, VenueUnavailable

PATIENCE_S = 15.0


def options(tmp_path: Path) -> Options:
    return Options(tmp_path / "var", seed=7, speed=600.0, users=("user_001", "user_002"))


def sandbox_pid(home: Path) -> int:
    """Return the process that holds the sandbox's state."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"sandbox" in words and str(home / "sandbox.state").encode() in words:
                return int(entry.name)
    return 0


async def test_each_user_has_an_account_and_the_market_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = EmbeddedSandbox(options(tmp_path))
    await first.start()
    assert [account.user_id for account in first.accounts] == ["user_001", "user_002"]
    before = await ask_market(first.accounts[0].base_url)
    await first.close()
    await first.close()
    again = EmbeddedSandbox(options(tmp_path))
    await again.start()
    after = await ask_market(again.accounts[0].base_url)
    await again.close()
    assert after.market == before.market
    assert after.market_time_us >= before.market_time_us
    assert again.accounts[0].pin.reveal() == first.accounts[0].pin.reveal()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the process in /proc")
async def test_sandbox_that_is_killed_comes_back_on_the_same_port(tmp_path: Path) -> None:
    sandbox = EmbeddedSandbox(options(tmp_path))
    await sandbox.start()
    url = sandbox.accounts[0].base_url
    killed = sandbox_pid(tmp_path / "var")
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                if sandbox_pid(tmp_path / "var") not in (0, killed):
                    await ask_market(url)
                    break
            except VenueUnavailable:
                pass
            await asyncio.sleep(0.05)
    await sandbox.close()


PARENT = """
import asyncio, pathlib, sys
from app.embedded import EmbeddedSandbox, Options
async def main():
    sandbox = EmbeddedSandbox(Options(pathlib.Path(sys.argv[1]), 7, 600.0, ("user_001",)))
    await sandbox.start()
    print(sandbox.accounts[0].base_url, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_sandbox_ends_with_its_parent_however_that_ends(number: signal.Signals, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "var")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    with urllib.request.urlopen(f"{url}/sandbox/info", timeout=5) as reply:
        assert json.load(reply)["market"].startswith("sandbox-")
    parent.send_signal(number)
    parent.communicate()
    port = int(url.rpartition(":")[2])
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            break
        assert time.monotonic() < end, "the sandbox outlives its parent"
        threading.Event().wait(0.05)


async def test_sandbox_that_cannot_start_says_where_its_log_is(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "sandbox.state").write_text("no state of a sandbox")
    with pytest.raises(VenueUnavailable) as told:
        await EmbeddedSandbox(options(tmp_path)).start()
    assert "sandbox.log" in told.value.remedy
    assert (tmp_path / "var" / "sandbox.log").read_text()


async def test_stranger_at_the_address_is_no_sandbox(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConfigurationError, match="no sandbox"):
        await ask_market(f"http://127.0.0.1:{port}")
    server.close()
    await server.wait_closed()
    with pytest.raises(VenueUnavailable, match="Nobody answers"):
        await ask_market(f"http://127.0.0.1:{port}")
