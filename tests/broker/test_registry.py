from __future__ import annotations

import pytest

from broker.registry import known, store_venue, store_venues
from shared.errors import ConfigurationError


def test_every_known_store_venue_loads_by_its_name() -> None:
    assert "angel_one" in known()
    assert {name: venue.name for name, venue in store_venues("instant").items()} == {
        "paper": "paper",
        "shadow": "shadow",
    }


def test_unknown_venue_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="Known: angel_one, paper, shadow"):
        store_venue("angle_one", "instant")


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="realistic, instant"):
        store_venue("paper", "optimistic")
