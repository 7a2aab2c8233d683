from __future__ import annotations

import asyncio
import contextlib
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from order.control import ControlClient, ControlServer, control_path
from shared import errors
from shared.errors import ConfigurationError, LockHeld, TradingError


async def echo(arguments: dict[str, Any]) -> object:
    return arguments


async def fail(arguments: dict[str, Any]) -> object:
    kind: type[TradingError] = getattr(errors, arguments["kind"])
    raise kind("it is so.", remedy="Do this.")


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of a server that is up."""
    path = control_path(tmp_path / "var")
    server = ControlServer(path, {"echo": echo, "fail": fail})
    await server.start()
    yield path
    await server.close()


async def test_answer_comes_back_as_given(path: Path) -> None:
    assert await ControlClient(path).ask("echo", {"a": [1, "₹", None, True]}) == {"a": [1, "₹", None, True]}
    assert await ControlClient(path).ask("echo") == {}


@pytest.mark.parametrize(
    "kind", ["ConfigurationError", "RefusedBySafety", "LockHeld", "StoreError", "BusUnavailable", "DataError"]
)
async def test_error_comes_back_as_its_own_kind_with_the_remedy(path: Path, kind: str) -> None:
    with pytest.raises(getattr(errors, kind)) as caught:
        await ControlClient(path).ask("fail", {"kind": kind})
    assert (type(caught.value).__name__, caught.value.what, caught.value.remedy) == (
        kind,
        "it is so.",
        "Do this.",
    )


async def test_unknown_command_is_wrong_use(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a command"):
        await ControlClient(path).ask("buy_everything")


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"5", b'{"do": []}', b'{"do": "echo", "with": 5}', b"\xff\xfe", b"[" * 100_000],
)
async def test_garbage_is_answered_and_the_server_lives_on(path: Path, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line + b"\n")
    assert "error" in json.loads(await asyncio.wait_for(reader.readline(), 5))
    writer.close()
    assert await ControlClient(path).ask("echo", {"a": 1}) == {"a": 1}


async def test_line_without_end_is_cut_off_and_the_server_lives_on(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * 1_500_000)
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert await ControlClient(path).ask("echo", {"a": 1}) == {"a": 1}


async def test_client_that_leaves_disturbs_nobody(path: Path) -> None:
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"do": "echo"}\n')
    writer.transport.abort()
    assert await ControlClient(path).ask("echo", {"a": 1}) == {"a": 1}


async def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LockHeld, match="does not answer"):
        await ControlClient(tmp_path / "none.sock").ask("echo")


async def test_socket_is_for_its_owner_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = control_path(tmp_path / "var")
    server = ControlServer(path, {})
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    await server.close()
    await server.close()
    assert not path.exists()


async def test_socket_left_behind_is_replaced(path: Path) -> None:
    server = ControlServer(path, {"echo": echo})
    await server.start()
    assert await ControlClient(path).ask("echo", {"a": 2}) == {"a": 2}
    await server.close()


async def test_command_that_the_end_of_the_system_cuts_off_is_told_and_shows_no_error(tmp_path: Path) -> None:
    """As `asyncio.run` ends a system: whatever still goes on is cancelled."""
    begun, shown, serving = asyncio.Event(), list[dict[str, Any]](), set[asyncio.Task[Any]]()

    async def hang(arguments: dict[str, Any]) -> object:
        serving.add(asyncio.current_task() or pytest.fail("no task"))
        begun.set()
        return await asyncio.Event().wait()

    asyncio.get_running_loop().set_exception_handler(lambda _, context: shown.append(context))
    server = ControlServer(control_path(tmp_path), {"hang": hang})
    await server.start()
    asked = asyncio.create_task(ControlClient(control_path(tmp_path)).ask("hang"))
    await begun.wait()
    await server.close()
    for task in serving:
        task.cancel()
    with pytest.raises(LockHeld, match="it ended before it answered"):
        await asked
    assert shown == []


def test_long_home_has_a_short_socket(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 150)
    assert len(str(control_path(home))) < 104
    assert control_path(home) != control_path(tmp_path / ("y" * 150))
