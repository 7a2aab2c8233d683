"""How a fault looks on a connection: dropped, refused, hung, garbled."""

from __future__ import annotations

import asyncio

from aiohttp import web

from sandbox.auth import EXPIRED_TOKEN, Auth
from sandbox.envelope import WAF_PAGE, limited, no, ok
from sandbox.faults import Fault, Kind
from sandbox.switches import Switches

EARLY = (Kind.DROP_BEFORE_ACCEPT, Kind.RATE_403, Kind.TOO_MANY_429, Kind.HTML, Kind.EXPIRED_TOKEN)
"""Before anything is accepted."""

AFTER = (
    Kind.ACCEPT_THEN_HANG,
    Kind.ACCEPT_THEN_RESET,
    Kind.ACCEPT_THEN_5XX,
    Kind.ACCEPT_THEN_GARBAGE,
    Kind.ACCEPT_THEN_EMPTY,
    Kind.ACCEPT_LATE,
)


def refuse(request: web.Request, fault: Fault, client: str, auth: Auth, switches: Switches) -> web.Response:
    """Return what a fault of `EARLY` makes of a request."""
    if fault.kind is Kind.RATE_403:
        return limited(switches)
    if fault.kind is Kind.TOO_MANY_429:
        return web.Response(status=429, text="Too Many Requests")
    if fault.kind is Kind.HTML:
        return web.Response(text=WAF_PAGE, content_type="text/html")
    if fault.kind is Kind.EXPIRED_TOKEN:
        auth.expire(client)
        return no(EXPIRED_TOKEN, switches)
    return drop(request)


async def garble(request: web.Request, fault: Fault) -> web.Response:
    """Return what a fault of `AFTER` makes of the reply to what was accepted."""
    if fault.kind is Kind.ACCEPT_THEN_HANG:
        await asyncio.sleep(fault.delay)
        return drop(request)
    if fault.kind is Kind.ACCEPT_THEN_5XX:
        page = "<html><body>502 Bad Gateway</body></html>"
        return web.Response(status=502, text=page, content_type="text/html")
    if fault.kind is Kind.ACCEPT_THEN_GARBAGE:
        return web.Response(body=b'{"status":tru\x00', content_type="application/json")
    if fault.kind is Kind.ACCEPT_THEN_EMPTY:
        return web.Response(body=b"", content_type="application/json")
    return drop(request)


def garble_book(fault: Fault, whole: bytes, stale: bytes | None) -> web.Response:
    """Return what a fault of the books makes of a reading.

    Args:
        fault: Of `BOOK_KINDS`.
        whole: The true body.
        stale: An earlier body; None where there was none.
    """
    if fault.kind is Kind.BOOK_FAILS:
        return web.Response(status=500, text="Internal Server Error")
    if fault.kind is Kind.BOOK_TRUNCATED:
        return web.Response(body=whole[: len(whole) * 2 // 3], content_type="application/json")
    if fault.kind is Kind.BOOK_STALE and stale is not None:
        return web.Response(body=stale, content_type="application/json")
    return ok(None)


def drop(request: web.Request) -> web.Response:
    """Close the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
