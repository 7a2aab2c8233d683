"""Replies of the service: two envelopes, plain text, and the ways in which a reply goes wrong."""

from __future__ import annotations

import msgspec
from aiohttp import web

from sandbox.auth import Denied
from sandbox.intake import Refusal
from sandbox.switches import Switches

LIMIT_TEXT = "Access denied because of exceeding access rate"
WAF_PAGE = (
    "<html><head><title>Request Rejected</title></head><body>The requested URL was rejected. Please consult "
    "with your administrator.<br><br>Your support ID is: 4711471147114711</body></html>"
)


def ok(data: object) -> web.Response:
    """Return a success."""
    return _json({"status": True, "message": "SUCCESS", "errorcode": "", "data": data})


def no(reason: Refusal | Denied, switches: Switches) -> web.Response:
    """Return an error, in the envelope that its code uses."""
    code, message = reason.code, reason.message
    status = reason.status if isinstance(reason, Refusal) else 200
    if code == "AG7002":
        status = switches.address_status
    elif code in ("AG8001", "AG8002", "AG8003"):
        status = switches.auth_status
    if code in switches.gateway_codes.split(","):
        return _json({"success": False, "message": message, "errorCode": code, "data": ""}, status)
    return _json({"status": False, "message": message, "errorcode": code, "data": None}, status)


def limited(switches: Switches, *, as_json: bool = False) -> web.Response:
    """Return a breach of a rate limit."""
    if as_json:
        return no(Refusal("AB1021", "Too many requests"), switches)
    return web.Response(
        status=switches.limit_status, text=LIMIT_TEXT, content_type=switches.limit_content_type
    )


def encoded(body: object) -> bytes:
    """Return *body* as the JSON that is sent."""
    return msgspec.json.encode(body)


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encoded(body), content_type="application/json")
