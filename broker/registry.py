"""Concrete venues by name; the only place that loads one."""

from __future__ import annotations

from importlib import import_module

from broker.base import RemoteVenue, StoreVenue
from shared.errors import ConfigurationError

_STORE_VENUES = {"paper": "broker.paper"}


def store_venue(name: str, profile: str) -> StoreVenue:
    """Return the in-store venue *name* with a fill *profile*.

    Raises:
        ConfigurationError: No such venue, or no such profile.
    """
    module = _STORE_VENUES.get(name)
    if module is None:
        raise ConfigurationError(f"There is no broker {name!r}.", remedy=f"Known: {', '.join(known())}.")
    venue: StoreVenue = import_module(module).make(profile)
    return venue


def known() -> list[str]:
    """Return the names of all venues."""
    return sorted(_STORE_VENUES)


__all__ = ["RemoteVenue", "StoreVenue", "known", "store_venue"]
