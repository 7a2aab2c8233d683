from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from shared.bus.client import Bus, masked
from shared.errors import BusUnavailable, ConfigurationError


async def test_given_server_is_used_and_no_embedded_one_started(home: Path, redis_url: str) -> None:
    bus = await Bus.open(home, redis_url)
    assert "redis_version" in await bus.redis.info("server")
    assert not (home / "valkey").exists()
    await bus.close()


async def test_unreachable_server_is_an_error_without_fall_back(home: Path) -> None:
    with pytest.raises(BusUnavailable, match=r"redis://\*\*\*@127.0.0.1:1/0.*mend REDIS_URL") as caught:
        await Bus.open(home, "redis://me:canary-secret@127.0.0.1:1/0")
    assert "canary-secret" not in str(caught.value)
    assert not (home / "valkey").exists()


async def test_silent_server_times_out_within_the_limit(home: Path) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    started = time.monotonic()
    with pytest.raises(BusUnavailable):
        await Bus.open(home, f"redis://127.0.0.1:{port}")
    assert time.monotonic() - started < 4.5
    server.close()


@pytest.mark.parametrize("url", ["http://host", "redis://host:port", "host:6379", ""])
async def test_malformed_url_is_a_configuration_error(home: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL"):
        await Bus.open(home, url)


async def test_busy_loading_and_read_only_become_unavailable(bus: Bus) -> None:
    await bus.redis.config_set("maxmemory", "1")
    with pytest.raises(BusUnavailable, match="memory"), bus.speaking():
        await bus.redis.set("a", "b")


@pytest.mark.parametrize(
    "url", ["redis://u:canary@h/0", "rediss://:canary@h", "unix:///s?password=canary&db=1"]
)
def test_masked_shows_no_password(url: str) -> None:
    assert "canary" not in masked(url) and "***" in masked(url)
