from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.account import Egress
from broker.angel_one import endpoints, transport
from broker.angel_one.endpoints import ORDER_BOOK, PLACE, REAL_ROOT, Endpoint
from broker.angel_one.transport import Answer, AnswerLost, NeverLeft, Transport
from shared.errors import ConfigurationError, RefusedBySafety, VenueUnavailable
from tests.broker.angel_one.peer import Act, Peer, cut, hang, hang_up, http, reset_after_read

ALL = [each for each in vars(endpoints).values() if isinstance(each, Endpoint)]
WRITES = [each for each in ALL if each.write]
ELSEWHERE = (
    "https://127.0.0.3:{port}",
    "https://localhost.example.com",
    "https://apiconnect.angelone.in.example.com",
)
Wired = tuple[Path, ssl.SSLContext]


async def send(
    root: str,
    endpoint: Endpoint = ORDER_BOOK,
    *,
    egress: Egress | None = None,
    body: bytes = b"",
    live_orders: bool = False,
) -> Answer:
    sending = Transport(root, egress or Egress(), live_orders=live_orders)
    try:
        return await sending.send(endpoint, endpoint.path, {"X-PrivateKey": "k"}, body)
    finally:
        await sending.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(transport, "WRITE_TIMEOUT_S", 0.2)


# -- what comes back ------------------------------------------------------------------------------


async def test_body_in_pieces_is_returned_whole(peer: Peer) -> None:
    whole = http(200, b"x" * 300_000)

    async def slowly(writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(whole), 100_000):
            writer.write(whole[at : at + 100_000])
            await writer.drain()
            for _ in range(20):
                await asyncio.sleep(0.001)

    peer.on[ORDER_BOOK.path] = slowly
    assert await send(peer.root) == Answer(200, b"x" * 300_000)


async def test_body_in_chunks_and_packed_is_returned_whole(peer: Peer) -> None:
    packed = gzip.compress(b"hello" * 100)
    peer.on[ORDER_BOOK.path] = http(200, packed, "Content-Encoding: gzip")
    assert (await send(peer.root)).body == b"hello" * 100

    async def chunks(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        for _ in range(20):
            await asyncio.sleep(0.001)
        writer.write(b"0\r\n\r\n")

    peer.on[ORDER_BOOK.path] = chunks
    assert (await send(peer.root)).body == b"hello"


async def test_body_that_is_longer_than_any_is_not_read(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_BYTES", 1000)
    peer.on[ORDER_BOOK.path] = http(200, b"x" * 1000)
    assert len((await send(peer.root)).body) == 1000
    peer.on[ORDER_BOOK.path] = http(200, b"x" * 1001)
    with pytest.raises(AnswerLost, match="more than"):
        await send(peer.root)


@pytest.mark.parametrize("endpoint", [ORDER_BOOK, PLACE])
@pytest.mark.parametrize(
    "fault",
    [
        hang, hang_up, reset_after_read, cut(http(200, b"{}", length=100), 1000), cut(http(200, b"{}"), 12),
        cut(b"garbage\r\n\r\n", 99), cut(http(200, b"no gzip", "Content-Encoding: gzip"), 1000),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("impatient")
async def test_broken_answer_is_lost_after_one_request(peer: Peer, endpoint: Endpoint, fault: Act) -> None:
    peer.on[endpoint.path] = fault
    with pytest.raises(AnswerLost):
        await send(peer.root, endpoint, body=b"{}")
    assert len(peer.requests) == 1


@pytest.mark.parametrize("endpoint", [ORDER_BOOK, PLACE])
async def test_connection_that_breaks_while_it_is_kept_is_not_used_for_a_second_try(
    peer: Peer, endpoint: Endpoint
) -> None:
    sending = Transport(peer.root, Egress())
    peer.on[endpoint.path] = [http(), reset_after_read]
    await sending.send(endpoint, endpoint.path, {}, b"")
    with pytest.raises(AnswerLost):
        await sending.send(endpoint, endpoint.path, {}, b"")
    assert len(peer.requests) == 2
    await sending.close()
    await sending.close()


async def test_nobody_there_means_that_nothing_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NeverLeft):
        await send(f"http://127.0.0.1:{port}", PLACE)


async def test_connection_that_is_not_taken_in_time_means_that_nothing_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.1)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        with pytest.raises(NeverLeft):
            await send(f"http://127.0.0.1:{port}", PLACE)
        for each in waiting:
            each.close()


async def test_redirect_is_not_followed(peer: Peer) -> None:
    async with Peer() as other:
        peer.on[PLACE.path] = http(307, b"", f"Location: {other.root}{PLACE.path}")
        assert (await send(peer.root, PLACE)).status == 307
        assert other.connections == 0


# -- where it goes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "root",
    [
        "http://example.com", "http://127.0.0.2:1", "ftp://127.0.0.1", "127.0.0.1:80", "", "https://", "http://[::1",
        "http://127.0.0.1:1@example.com", "http://:pw@127.0.0.1:1", "http://127.0.0.1:99999", "https://host/path",
        "http://localhost.example.com",
    ],
)  # fmt: skip
def test_root_that_is_none_or_sends_in_the_clear_is_refused(root: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Transport(root, Egress())
    assert "pw" not in str(caught.value)


def test_order_and_gtt_calls_are_writes() -> None:
    names = ("placeOrder", "modifyOrder", "cancelOrder", "createRule", "modifyRule", "cancelRule")
    assert sorted(each.path.rpartition("/")[2] for each in WRITES) == sorted(names)


@pytest.mark.parametrize(
    ("root", "live_orders"),
    [
        (REAL_ROOT, False),
        *((root, live) for root in ELSEWHERE for live in (False, True)),
    ],
)
@pytest.mark.parametrize("endpoint", WRITES, ids=lambda each: each.path.rpartition("/")[2])
async def test_write_to_another_host_is_refused_before_a_connection(
    endpoint: Endpoint, root: str, live_orders: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def look_up(*about: object, **_: object) -> list[object]:
        asked.append(about)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    # Each connection that is tried is counted, though nothing can be said on it.
    async with Peer(host="127.0.0.3", reset_on_accept=True) as there:
        with pytest.raises(RefusedBySafety, match="only reads there"):
            await send(root.format(port=there.port), endpoint, live_orders=live_orders)
        assert (asked, there.connections) == ([], 0)
        with pytest.raises(NeverLeft):
            await send(f"https://127.0.0.3:{there.port}", ORDER_BOOK)
        assert there.connections == 1


@pytest.mark.parametrize("endpoint", WRITES, ids=lambda each: each.path.rpartition("/")[2])
async def test_write_of_a_live_account_sets_out_for_the_brokers_own_host_alone(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def look_up(host: object, *_: object, **__: object) -> list[object]:
        asked.append(host)
        raise OSError("no name is known here")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(NeverLeft):
        await send(REAL_ROOT, endpoint, live_orders=True)
    assert set(asked) == {"apiconnect.angelone.in"}


async def test_read_from_another_host_over_verified_tls_is_answered(trusted: ssl.SSLContext) -> None:
    async with Peer(host="127.0.0.3", tls=trusted) as there:
        there.on[ORDER_BOOK.path] = http(200, b"{}")
        assert (await send(there.root)).body == b"{}"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.3"])
async def test_certificate_that_nobody_vouches_for_is_refused(host: str, self_signed: Wired) -> None:
    async with Peer(host=host, tls=self_signed[1]) as there:
        with pytest.raises(NeverLeft, match=r"[Cc]ertificate"):
            await send(there.root)
        assert there.requests == []


async def test_certificate_of_another_name_is_refused(trusted: ssl.SSLContext) -> None:
    async with Peer(host="127.0.0.4", tls=trusted) as there:
        with pytest.raises(NeverLeft, match=r"[Cc]ertificate"):
            await send(there.root)
        assert there.requests == []


@pytest.fixture
async def proxy() -> AsyncIterator[Peer]:
    async with Peer() as serving:
        serving.on["broker.example:443"] = http(407, b"")
        yield serving


async def test_traffic_leaves_from_the_given_address(trusted: ssl.SSLContext) -> None:
    async with Peer(host="127.0.0.3", tls=trusted) as there:
        there.on[ORDER_BOOK.path] = http(200, b"{}")
        await send(there.root, egress=Egress(source_address="127.0.0.2"))
        await send(there.root)
        assert there.senders == ["127.0.0.2", "127.0.0.1"]


async def test_name_with_addresses_of_both_kinds_is_reached_by_the_old_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    families: list[int] = []

    def both(host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        families.append(family)
        new = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))
        old = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.3", port))
        return [each for each in (new, old) if family in (0, each[0])]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    async with Peer(host="127.0.0.3", reset_on_accept=True) as there:
        with pytest.raises(NeverLeft):
            await send(f"https://broker.example:{there.port}")
        assert there.connections == 1
    assert families == [socket.AF_INET]


async def test_this_machines_name_needs_no_name_service(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> Any:
        raise AssertionError("asked")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    peer.on[PLACE.path] = http(200, b"{}")
    assert (await send(f"http://localhost:{peer.port}", PLACE)).status == 200


async def test_proxy_is_asked_for_another_host_and_never_for_this_machine(proxy: Peer, peer: Peer) -> None:
    egress = Egress(proxy=proxy.root)
    with pytest.raises((AnswerLost, NeverLeft)):
        await send("https://broker.example", egress=egress)
    assert [(each.method, each.path) for each in proxy.requests] == [("CONNECT", "broker.example:443")]
    await send(peer.root, egress=egress)
    assert len(proxy.requests) == 1


async def test_proxy_of_the_environment_is_not_used(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    peer.on[ORDER_BOOK.path] = http(200, b"{}")
    assert (await send(peer.root)).status == 200


async def test_password_of_a_proxy_is_in_no_error(proxy: Peer) -> None:
    for answer in (http(407, b""), hang_up):
        proxy.on["broker.example:443"] = answer
        egress = Egress(proxy=f"http://user:canary@127.0.0.1:{proxy.port}")
        with pytest.raises((AnswerLost, NeverLeft)) as caught:
            await send("https://broker.example", egress=egress)
        assert "canary" not in str(caught.value)


# -- our address ----------------------------------------------------------------------------------


async def test_address_that_others_see_is_told(peer: Peer) -> None:
    asking = Transport(peer.root, Egress())
    peer.on["/ip"] = http(200, b"203.0.113.7\n")
    assert await asking.seen_address(f"{peer.root}/ip") == "203.0.113.7"
    for wrong in (b"<html>", b"2001:db8::1", b"", b"7", b"203.0.113.7 and more"):
        peer.on["/ip"] = http(200, wrong)
        with pytest.raises(VenueUnavailable, match="does not tell our address"):
            await asking.seen_address(f"{peer.root}/ip")
    with pytest.raises(VenueUnavailable):
        await asking.seen_address("http://127.0.0.1:9/ip")
    await asking.close()
