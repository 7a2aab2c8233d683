"""Values that must not show: not in logs, errors, tables or JSON."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit, urlunsplit

MASK = "***"


class Secret:
    """Holds a text that `repr`, `str`, formatting and pickling never show; `reveal` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself; the caller must not log it."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not written anywhere")


def masked_url(url: str) -> str:
    """Return *url* with what stands before its `@` and its query masked; both may hold a password.

    What cannot be taken apart is masked whole.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(
        (parts.scheme, f"{MASK}@{host}" if at else host, parts.path, MASK if parts.query else "", "")
    )
