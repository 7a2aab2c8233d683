"""Errors, grouped by what the caller can do.

    TradingError                 everything of ours; carries the remedy
    ├── ConfigurationError       stop and mend the settings or the call (exit 2)
    ├── RefusedBySafety          a safety rule says no (exit 3)
    ├── LockHeld                 another process holds the state; talk to it or stop it (exit 1)
    ├── StoreError               the store cannot be used as it is (exit 1)
    ├── BusUnavailable           retry later; nothing is lost (exit 1)
    ├── DataError                market data that cannot be read (exit 1)
    ├── VenueUnavailable         a read from the broker failed; try later (exit 1)
    ├── LoginRefused             the broker refuses the session; mend the credentials (exit 2)
    └── OutcomeUnknown           never retry: the venue may have the order
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3


class TradingError(Exception):
    """Something went wrong; the message says what, which value, and how to mend it."""

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what = what
        self.remedy = remedy


class ConfigurationError(TradingError):
    """Settings or arguments are wrong; all findings are in one message."""

    exit_code = EXIT_USAGE


class RefusedBySafety(TradingError):
    """A safety rule forbids this; no flag opens it."""

    exit_code = EXIT_REFUSED


class LockHeld(TradingError):
    """Another process holds the lock on this state."""


class StoreError(TradingError):
    """The store is damaged, too new, of another kind, read-only or full."""


class BusUnavailable(TradingError):
    """Redis or Valkey cannot be reached; signals wait in the outbox."""


class DataError(TradingError):
    """A market-data file cannot be read at all (single bad rows are counted, not raised)."""


class VenueUnavailable(TradingError):
    """The broker did not answer a read, or not in words that can be believed; nothing was changed."""


class LoginRefused(TradingError):
    """The broker refuses the login or the session for good; only new credentials or a human help."""

    exit_code = EXIT_USAGE


class OutcomeUnknown(TradingError):
    """A request may have reached the venue; never send it again."""
