from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.book import LEVELS, depth
from tests.sandbox.floor import RELIANCE


@given(st.integers(200, 60_000).map(lambda ticks: ticks * 5), st.integers(0, 10**9), st.integers(0, 99))
def test_sides_are_sorted_on_the_grid_and_do_not_cross(price: int, moment: int, seed: int) -> None:
    book = depth(seed, RELIANCE, price, moment, 5, 10**9)
    bids, asks = [each.price for each in book.bids], [each.price for each in book.asks]
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert len(bids) == len(asks) == LEVELS
    assert bids[0] < price < asks[0]
    assert all(each % RELIANCE.tick_paise == 0 for each in bids + asks)
    assert all(each.quantity > 0 and each.orders > 0 for each in book.bids + book.asks)
    assert book == depth(seed, RELIANCE, price, moment, 5, 10**9)


@pytest.mark.parametrize(("locked", "bids", "asks"), [("upper", 5, 0), ("lower", 0, 5), ("", 5, 5)])
def test_locked_side_is_empty(locked: str, bids: int, asks: int) -> None:
    book = depth(1, RELIANCE, 200_000, 1, 5, 10**9, locked)
    assert (len(book.bids), len(book.asks)) == (bids, asks)


def test_no_level_lies_beyond_the_band() -> None:
    book = depth(1, RELIANCE, 200_000, 1, 199_955, 200_045)
    assert [each.price for each in book.bids] == [199_960, 199_955]
    assert [each.price for each in book.asks] == [200_040, 200_045]
