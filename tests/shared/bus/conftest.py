"""Real servers for the bus tests: the embedded Valkey, and a redis-server of the machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.bus.client import Bus
from shared.bus.signing import SignalKey


@pytest.fixture
def home() -> Iterator[Path]:
    """A state folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="bus-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_url(home: Path) -> Iterator[str]:
    """A redis-server of our own on a socket."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("there is no redis-server on this machine")
    socket = home / "redis.sock"
    command = [binary, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "ready to accept connections" in line.lower():
            break
    yield f"unix://{socket}"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(params=["valkey", "redis"])
async def bus(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[Bus]:
    """A bus on each kind of server."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    opened = await Bus.open(home, url)
    yield opened
    await opened.close()


@pytest.fixture
def key() -> SignalKey:
    """A signal key."""
    return SignalKey(b"k" * 32)
