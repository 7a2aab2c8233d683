from __future__ import annotations

import pytest

from broker.base import OrderTerms, VenueState
from order.amend import OPEN, TABLE, TAKEN_US, UNKNOWN_US, Amendment, AmendState, read_back
from shared.models import OrderType, Product, Side
from tests.order.venue import row

SENT_US = 1_000_000
WANTED = OrderTerms(Side.BUY, 10, OrderType.LIMIT, Product.INTRADAY, 250_100, True, 0, "RELIANCE", 5, 0)


def asked(state: AmendState, *, cancel: bool = False, terms: OrderTerms = WANTED) -> Amendment:
    return Amendment(1, (1, 1, 0, 0, 0), "tag", "v1", cancel, terms, 0, state, SENT_US)


def test_what_is_settled_stays_settled() -> None:
    assert {state for state, then in TABLE.items() if not then} == set(AmendState) - OPEN
    with pytest.raises(ValueError, match="cannot be SENT"):
        asked(AmendState.DONE).move(AmendState.SENT, 0)


@pytest.mark.parametrize("state", [AmendState.SENT, AmendState.TAKEN, AmendState.UNKNOWN])
def test_modify_is_done_when_the_books_show_price_and_quantity(state: AmendState) -> None:
    showing = row("tag", price=250_100)
    assert read_back(asked(state), showing, SENT_US) == (AmendState.DONE, "")
    assert read_back(asked(state), showing, SENT_US - 1) is None, "the reading is older than the request"
    assert read_back(asked(state), row("tag", price=250_100, quantity=11), SENT_US) is None


@pytest.mark.parametrize(
    ("state", "patience_us"), [(AmendState.TAKEN, TAKEN_US), (AmendState.UNKNOWN, UNKNOWN_US)]
)
def test_request_without_effect_lapses_only_after_its_patience(state: AmendState, patience_us: int) -> None:
    before = row("tag", price=250_000)
    assert read_back(asked(state), before, SENT_US + patience_us - 1) is None
    settled = read_back(asked(state), before, SENT_US + patience_us)
    assert settled is not None
    assert settled[0] is AmendState.LAPSED


def test_request_on_its_way_never_lapses() -> None:
    assert read_back(asked(AmendState.SENT), row("tag"), SENT_US + 10 * UNKNOWN_US) is None


@pytest.mark.parametrize(
    ("cancel", "shown", "state"),
    [
        (True, VenueState.CANCELLED, AmendState.DONE),
        (False, VenueState.CANCELLED, AmendState.REFUSED),
        (True, VenueState.COMPLETE, AmendState.REFUSED),
        (False, VenueState.REJECTED, AmendState.REFUSED),
    ],
)
def test_end_of_the_order_settles_its_request(cancel: bool, shown: VenueState, state: AmendState) -> None:
    settled = read_back(asked(AmendState.UNKNOWN, cancel=cancel), row("tag", shown), SENT_US)
    assert settled is not None
    assert settled[0] is state
