from __future__ import annotations

import pytest

from broker.registry import known, store_venue
from shared.errors import ConfigurationError


def test_every_known_store_venue_loads_by_its_name() -> None:
    assert "angel_one" in known()
    assert store_venue("paper", "instant").name == "paper"


def test_unknown_venue_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="Known: angel_one, paper"):
        store_venue("angle_one", "instant")


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="realistic, instant"):
        store_venue("paper", "optimistic")
