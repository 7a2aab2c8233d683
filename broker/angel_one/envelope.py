"""Replies read: two envelopes, plain text, HTML, nothing at all; data or a typed error.

Only JSON `true` in `status` or `success` is success; a missing one is failure. Numbers become `Decimal`
by their digits, never by way of a float.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

Reply = dict[str, Any]


class Reason(StrEnum):
    """Why a reply is no success, by what the caller can do."""

    TOO_MANY = "too_many"
    """Wait."""
    SESSION = "session"
    """Log in again."""
    ADDRESS = "address"
    """Register the address."""
    REFUSED = "refused"
    """A logical error with a code."""
    BLOCKED = "blocked"
    """A page of the firewall in front of the service."""
    UNREADABLE = "unreadable"
    """Nothing, garbage, or another format: the request may have worked."""


class ReplyError(Exception):
    """A reply that is no success; `told` masks secrets that the service repeats.

    Attributes:
        code: The service's code; empty where there is none.
        well_formed: It is one of the two envelopes, whole.
    """

    def __init__(
        self, reason: Reason, text: str, *, code: str = "", status: int = 200, well_formed: bool = False
    ) -> None:
        super().__init__(f"{code}: {text}" if code else text)
        self.reason = reason
        self.text = text
        self.code = code
        self.status = status
        self.well_formed = well_formed

    def told(self, mask: Callable[[str], str]) -> ReplyError:
        """Return the same with *mask* over the service's words: they may repeat what was sent."""
        code = self.code if _CODE.fullmatch(self.code) else mask(self.code)
        text = mask(self.text)
        return ReplyError(self.reason, text, code=code, status=self.status, well_formed=self.well_formed)


TOO_MANY_CODES = frozenset({"AB1020", "AB1021"})
SESSION_CODES = frozenset({"AG8001", "AG8002", "AG8003", "AB1010", "AB1011", "AB8050", "AB8051"})
ADDRESS_CODE = "AG7002"
ADDRESS_REMEDY = (
    "Angel One takes this call from the registered IPv4 address only: register this machine's at "
    "smartapi.angelone.in, or set ANGEL_ONE_SOURCE_ADDRESS or ANGEL_ONE_PROXY."
)
EMPTY_CODES = frozenset({"AB1013", "AB1014", "AB1015", "AB1016"})
""""Not found" for orders, trades, holdings, positions: an empty list said in words."""

_TOO_MANY_TEXT = ("exceeding access rate", "exceeding rate limit", "too many requests")
_CODE = re.compile(r"[A-Z]{2}\d{4}")
_SHORT = 200
"""The service says "too many" in a line; a longer text that holds these words is something else."""

_SHOWN = 120

_decoder = msgspec.json.Decoder(Reply, float_hook=Decimal)


def parse(status: int, body: bytes) -> Any:
    """Return the data of a successful reply.

    Args:
        status: HTTP status.
        body: As received.

    Raises:
        ReplyError: It is no success.
    """
    try:
        reply = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError, RecursionError):
        # Numbers beyond all bounds and endless nesting are garbage like any other.
        raise _not_json(status, body) from None
    success = reply.get("status", reply.get("success"))
    code = str(reply.get("errorcode") or reply.get("errorCode") or "")
    if success is True and status < 400:
        if "data" not in reply:
            raise ReplyError(Reason.UNREADABLE, "a success without data", status=status)
        return reply["data"]
    text = str(reply.get("message") or "no reason given")[:_SHOWN]
    known = success is False or success in ("false", "False")
    raise ReplyError(_reason(status, code, text), text, code=code, status=status, well_formed=known)


def _reason(status: int, code: str, text: str) -> Reason:
    if code in TOO_MANY_CODES or status == 429 or any(words in text.lower() for words in _TOO_MANY_TEXT):
        return Reason.TOO_MANY
    if code in SESSION_CODES:
        return Reason.SESSION
    if code == ADDRESS_CODE:
        return Reason.ADDRESS
    return Reason.REFUSED if code else Reason.UNREADABLE


def _not_json(status: int, body: bytes) -> ReplyError:
    lower = body[:4096].decode("ascii", "replace").lower()
    page = "<html" in lower or "<!doctype" in lower
    # A 403 is told apart by its body: the same status also stands for a session or a firewall.
    if not page and len(body) <= _SHORT and any(words in lower for words in _TOO_MANY_TEXT):
        return ReplyError(Reason.TOO_MANY, "too many requests", status=status, well_formed=True)
    if status == 429:
        return ReplyError(Reason.TOO_MANY, "too many requests", status=status)
    if page:
        rejected = "support id" in lower or "request rejected" in lower
        reason = Reason.BLOCKED if rejected else Reason.UNREADABLE
        return ReplyError(reason, f"a web page instead of an answer (HTTP {status})", status=status)
    if not body:
        return ReplyError(Reason.UNREADABLE, f"an empty answer (HTTP {status})", status=status)
    return ReplyError(Reason.UNREADABLE, f"an answer that is no JSON (HTTP {status})", status=status)
