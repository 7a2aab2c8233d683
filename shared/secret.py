"""Values that must not show: not in logs, errors, tables or JSON."""

from __future__ import annotations

import hmac
import re

MASK = "***"
SHOWN = 2
"""Letters of a client code that are shown at each end."""


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


def masked_code(client_code: str) -> str:
    """Return a client code fit for a screen: its ends, without the middle."""
    hidden = max(len(client_code) - 2 * SHOWN, 0)
    if not hidden:
        return "*" * len(client_code)
    return f"{client_code[:SHOWN]}{'*' * hidden}{client_code[-SHOWN:]}"


def masked_url(url: str) -> str:
    """Return *url* with everything up to its last `@` and its query masked; both may hold a password.

    Works on what is no URL, too: a password in a mistyped address must not show either.
    """
    return re.sub(r"\?.*", f"?{MASK}", re.sub(r"^(\w+://)?.*@", rf"\1{MASK}@", url, flags=re.DOTALL))
