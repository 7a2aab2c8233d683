from __future__ import annotations

import pytest

from broker.registry import known, store_venue
from shared.errors import ConfigurationError


def test_every_known_venue_loads_by_its_name() -> None:
    for name in known():
        assert store_venue(name, "instant").name == name


def test_unknown_venue_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="Known: paper"):
        store_venue("angle_one", "instant")


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="realistic, instant"):
        store_venue("paper", "optimistic")
