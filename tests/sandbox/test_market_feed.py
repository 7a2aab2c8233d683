from __future__ import annotations

import asyncio
import struct
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import WSMsgType

from sandbox.market_clock import SESSION_S
from shared.instruments import Instrument, Instruments
from tests.sandbox.box import QUOTE, Box, box, until

Socket = aiohttp.ClientWebSocketResponse
SIZES = {1: 51, 2: 123, 3: 379, 4: 443}


def ask(mode: int, *tokens: str, action: int = 1, **change: Any) -> dict[str, Any]:
    listed = [{"exchangeType": 1, "tokens": list(tokens)}]
    return {
        "correlationID": "abcde12345",
        "action": action,
        "params": {"mode": mode, "tokenList": listed},
        **change,
    }


async def frames(socket: Socket, count: int) -> list[bytes]:
    return [await socket.receive_bytes(timeout=20) for _ in range(count)]


async def quiet(socket: Socket) -> None:
    """Show that nothing was to come: the answer to a ping is the next message."""
    await socket.send_str("ping")
    assert (await socket.receive_str(timeout=20)) == "pong"


async def test_modes_have_the_documented_sizes_and_little_endian_fields() -> None:
    async with box() as sandbox:
        socket = await sandbox.feed()
        for mode, size in SIZES.items():
            await socket.send_json(ask(mode, "2885"))
            (frame,) = await frames(socket, 1)
            assert len(frame) == size
            assert (frame[0], frame[1], frame[2:27].rstrip(b"\0")) == (mode, 1, b"2885")
            if mode != 4:
                number, at_ms, price = struct.unpack_from("<qqq", frame, 27)
                assert number > 0
                ask_ltp = {"mode": "LTP", "exchangeTokens": {"NSE": ["2885"]}}
                quoted = (await sandbox.send("POST", QUOTE, ask_ltp)).data["fetched"][0]["ltp"]
                assert price == round(quoted * 100)
                info = (await sandbox.send("GET", "/sandbox/info")).json
                assert abs(at_ms - info["market_time_us"] // 1000) < 5_000


async def test_snap_quote_has_buyers_first_with_flag_one_and_circuits_around_the_price() -> None:
    async with box() as sandbox:
        socket = await sandbox.feed()
        await socket.send_json(ask(3, "2885"))
        (frame,) = await frames(socket, 1)
        levels = [struct.unpack_from("<Hqqh", frame, 147 + 20 * n) for n in range(10)]
        assert [level[0] for level in levels] == [1] * 5 + [0] * 5
        bids, asks = [level[2] for level in levels[:5]], [level[2] for level in levels[5:]]
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        price = struct.unpack_from("<q", frame, 43)[0]
        assert bids[0] < price < asks[0]
        upper, lower, year_high, year_low = struct.unpack_from("<qqqq", frame, 347)
        assert year_low <= lower < price < upper <= year_high
        opening, high, low, close = struct.unpack_from("<qqqq", frame, 91)
        assert low <= min(opening, price)
        assert high >= max(opening, price)
        assert abs(close / price - 1) < 0.1


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000)])
async def test_unit_of_the_last_trade_is_a_switch(unit: str, factor: int) -> None:
    async with box(trade_time_unit=unit) as sandbox:
        socket = await sandbox.feed()
        await socket.send_json(ask(3, "2885"))
        (frame,) = await frames(socket, 1)
        at_ms, traded = struct.unpack_from("<q", frame, 35)[0], struct.unpack_from("<q", frame, 123)[0]
        assert traded == at_ms // 1000 * factor


async def test_index_has_no_numbers_no_depth_and_no_volume() -> None:
    async with box() as sandbox:
        socket = await sandbox.feed()
        await socket.send_json(ask(3, "99926000"))
        (frame,) = await frames(socket, 1)
        assert struct.unpack_from("<q", frame, 27)[0] == 0
        assert struct.unpack_from("<q", frame, 67)[0] == 0
        assert {struct.unpack_from("<Hqqh", frame, 147 + 20 * n)[1] for n in range(10)} == {0}


async def test_frames_follow_the_market_until_unsubscribed() -> None:
    async with box() as sandbox:
        socket = await sandbox.feed()
        await socket.send_json(ask(1, "2885"))
        (first,) = await frames(socket, 1)
        sandbox.clock.advance(2)
        (second,) = await frames(socket, 1)
        assert int.from_bytes(second[27:35], "little") == int.from_bytes(first[27:35], "little") + 1
        await socket.send_json(ask(1, "2885", "unknown", action=0))
        await quiet(socket)
        sandbox.clock.advance(2)
        other = await sandbox.feed()
        await other.send_json(ask(1, "2885"))
        await frames(other, 2)  # the market has moved, and this one has heard of it
        await quiet(socket)


async def test_duplicates_and_unknown_tokens_are_ignored() -> None:
    async with box() as sandbox:
        socket = await sandbox.feed()
        await socket.send_json(ask(1, "2885", "2885", "nonsense", "99999999"))
        assert len(await frames(socket, 1)) == 1
        await socket.send_json(ask(1, "2885"))
        await quiet(socket)


@pytest.mark.parametrize("said", ["ping", "PING", " ping "])
async def test_text_ping_is_answered_in_text(said: str) -> None:
    async with box() as sandbox:
        socket = await sandbox.feed()
        await socket.send_str(said)
        assert (await socket.receive_str(timeout=20)) == "pong"


@pytest.mark.parametrize("load", [b"", b"ping", b"x" * 125])
async def test_control_ping_is_answered_with_its_own_load(load: bytes) -> None:
    async with box() as sandbox:
        for socket in (await sandbox.feed(), await sandbox.order_feed()):
            await socket.ping(load)
            message = await socket.receive(timeout=20)
            while message.type is WSMsgType.TEXT:
                message = await socket.receive(timeout=20)
            assert (message.type, message.data) == (WSMsgType.PONG, load)


async def test_silent_client_is_dropped_and_one_that_only_pings_is_not() -> None:
    async with box(feed_silence_s=0.3) as sandbox:
        silent, pinging = await sandbox.feed(), await sandbox.feed()

        async def dropped() -> bool:
            await pinging.ping()
            assert (await pinging.receive(timeout=20)).type is WSMsgType.PONG
            try:
                return (await silent.receive(timeout=0.01)).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
            except TimeoutError:
                return False

        await until(dropped)
        await quiet(pinging)


@pytest.mark.parametrize(
    "said",
    [
        "nonsense",
        "[]",
        "1",
        "{}",
        '{"action":1}',
        "[" * 100_000,
        '{"action":1,"params":{"mode":9,"tokenList":[]}}',
        '{"action":7,"params":{"mode":1,"tokenList":[]}}',
        '{"action":1,"params":{"mode":1,"tokenList":[5]}}',
        '{"action":1,"params":{"mode":1e400,"tokenList":[]}}',
        '{"action":1,"params":{"mode":"x","tokenList":[]}}',
        '{"action":1,"params":{"mode":1,"tokenList":[{"exchangeType":1,"tokens":7}]}}',
        '{"action":1,"params":[]}',
        '{"action":1,"params":{"mode":1,"tokenList":null}}',
        '{"action":null,"params":{"mode":1,"tokenList":[]}}',
    ],
)
async def test_payload_that_makes_no_sense_is_e1001_and_leaves_the_rest(said: str) -> None:
    async with box() as sandbox:
        socket = await sandbox.feed()
        await socket.send_json(ask(1, "2885"))
        await frames(socket, 1)
        await socket.send_str(said)
        error = msgspec.json.decode(await socket.receive_str(timeout=20))
        assert error["errorCode"] == "E1001"
        assert set(error) == {"correlationID", "errorCode", "errorMessage"}
        sandbox.clock.advance(2)
        assert len((await frames(socket, 1))[0]) == 51


async def test_quota_counts_tokens_times_modes_and_an_excess_changes_nothing() -> None:
    async with box() as sandbox:
        listed = [each.token for each in sandbox_tokens()]
        count = len(listed)
        socket = await sandbox.feed()
        # Every known token in three modes, then made-up ones until the quota would be passed.
        for mode in (1, 2, 3):
            await socket.send_json(ask(mode, *listed))
        await frames(socket, 3 * count)
        room = 1_000 - 3 * count
        assert room > 0
        await socket.send_json(ask(1, *listed, *(f"x{n}" for n in range(room + 1))))
        error = await socket.receive_json(timeout=20)
        assert (error["errorCode"], error["correlationID"]) == ("E1002", "abcde12345")
        await socket.send_json(ask(1, *listed, *(f"x{n}" for n in range(room))))
        await quiet(socket)


async def test_depth_is_for_fifty_tokens() -> None:
    async with box() as sandbox:
        socket = await sandbox.feed()
        await socket.send_json(ask(4, *(f"x{n}" for n in range(51))))
        assert (await socket.receive_json(timeout=20))["errorCode"] == "E1002"
        await socket.send_json(ask(4, "2885", *(f"x{n}" for n in range(49))))
        assert len((await frames(socket, 1))[0]) == 443


def sandbox_tokens() -> list[Instrument]:
    return [each for each in Instruments.load() if each.token][:300]


async def refused(sandbox: Box, **change: str) -> aiohttp.WSServerHandshakeError:
    with pytest.raises(aiohttp.WSServerHandshakeError) as told:
        await sandbox.feed(**change)
    return told.value


@pytest.mark.parametrize(("change", "what"), [
    ({"Authorization": "nonsense"}, "Auth token"), ({"x-client-code": "S9999999"}, "Client Code"),
    ({"x-api-key": "nonsense"}, "API Key"), ({"x-feed-token": "nonsense"}, "Feed Token"),
    ({"x-feed-token": ""}, "Feed Token"), ({"x-client-code": "S0000002", "x-api-key": ""}, "Feed Token"),
])  # fmt: skip
async def test_handshake_that_is_wrong_is_401_and_says_why(change: dict[str, str], what: str) -> None:
    async with box() as sandbox:
        error = await refused(sandbox, **change)
        assert error.status == 401
        assert error.headers is not None
        assert error.headers["x-error-message"] == f"Invalid Header - Invalid {what}"


async def test_handshake_of_other_clients_is_taken_too() -> None:
    async with box() as sandbox:
        who, tokens = sandbox.who, sandbox.tokens
        await quiet(await sandbox.feed(Authorization="", **{"x-api-key": ""}))  # Java
        await quiet(await sandbox.feed(Authorization=f"Bearer {tokens['jwtToken']}", Origin="http://x"))
        query = f"?clientCode={who.client_code}&feedToken={tokens['feedToken']}&apiKey={who.api_key}"
        await quiet(await sandbox.http.ws_connect(sandbox.listening.feed_url + query))  # a browser


async def test_expired_session_opens_no_feed() -> None:
    async with box() as sandbox:
        await sandbox.send("POST", "/sandbox/clock", {"advance_s": 12 * 3600})
        assert (await refused(sandbox)).status == 401


async def test_fourth_connection_is_refused_and_another_client_is_not() -> None:
    async with box() as sandbox:
        three = [await sandbox.feed() for _ in range(3)]
        assert (await refused(sandbox)).status == 429
        await three[0].close()

        async def again() -> Socket | None:
            try:
                return await sandbox.feed()
            except aiohttp.WSServerHandshakeError:
                return None

        await quiet(await until(again))
        await sandbox.login(1)
        await quiet(await sandbox.feed())


async def test_connections_that_come_at_once_do_not_slip_through() -> None:
    async with box() as sandbox:
        tried = await asyncio.gather(*(sandbox.feed() for _ in range(12)), return_exceptions=True)
        assert sum(isinstance(each, aiohttp.ClientWebSocketResponse) for each in tried) == 3


async def test_fourth_connection_takes_the_place_of_the_oldest_or_is_closed_by_the_switch() -> None:
    for switch, ends in (("close_oldest", 0), ("close_new", 3)):
        async with box(fourth_feed=switch) as sandbox:
            sockets = [await sandbox.feed() for _ in range(4)]
            ended = await sockets[ends].receive(timeout=20)
            assert ended.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)
            for number, socket in enumerate(sockets):
                if number != ends:
                    await quiet(socket)


async def test_plain_get_is_no_upgrade_and_closes_nobody() -> None:
    async with box(fourth_feed="close_oldest") as sandbox:
        sockets = [await sandbox.feed() for _ in range(3)]
        headers = {"x-client-code": sandbox.who.client_code, "x-feed-token": sandbox.tokens["feedToken"]}
        assert (await sandbox.send("GET", "/smart-stream", headers=headers)).status == 400
        assert (await sandbox.send("GET", "/smart-order-update")).status == 400
        for socket in sockets:
            await quiet(socket)


async def test_closed_market_sends_what_is_known_and_then_nothing() -> None:
    async with box(wall=True) as sandbox:
        sandbox.clock.advance(SESSION_S)  # long after the close
        socket = await sandbox.feed()
        await socket.send_json(ask(1, "2885"))
        assert len(await frames(socket, 1)) == 1
        sandbox.clock.advance(10)
        await quiet(socket)


async def test_flood_sends_numbered_frames_at_its_own_pace() -> None:
    async with box(flood=2_000) as sandbox:
        socket = await sandbox.feed()
        await socket.send_json(ask(3, "2885", "11536"))
        numbers = [int.from_bytes(frame[27:35], "little") for frame in await frames(socket, 400)]
        assert numbers == list(range(1, 401))
