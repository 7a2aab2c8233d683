from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigurationError
from shared.instruments import Instruments, round_to_tick
from shared.models import Side


def test_get_known_symbol_has_the_recorded_facts() -> None:
    reliance = Instruments.load().get("RELIANCE")
    assert (reliance.trading_symbol, reliance.token, reliance.exchange) == ("RELIANCE-EQ", "2885", "NSE")
    assert reliance.tradable and reliance.nifty50 and reliance.closing_auction


def test_get_unknown_symbol_names_the_nearest_and_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match=r"'RELIANC'.*RELIANCE.*symbol_token_map\.json"):
        Instruments.load().get("RELIANC")


def test_index_is_data_only() -> None:
    assert not Instruments.load().get("NIFTY50").tradable


@pytest.mark.parametrize("name", ["nifty", "NIFTY 50", "Nifty 50", "NIFTY50"])
def test_find_knows_other_spellings(name: str) -> None:
    found = Instruments.load().find(name)
    assert found is not None
    assert found.symbol == "NIFTY50"


def test_table_is_sane() -> None:
    instruments = list(Instruments.load())
    tokens = [instrument.token for instrument in instruments if instrument.token]
    # Where two shared one, a fill in the one would be booked in the other.
    assert len(tokens) == len(set(tokens))
    assert all(instrument.tick_paise in (1, 5, 10, 50) and instrument.lot == 1 for instrument in instruments)


def test_load_broken_table_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "map.json"
    broken.write_text('{"about": "", "instruments": [{"symbol": "A"}]}')
    with pytest.raises(ConfigurationError, match="not a table of instruments"):
        Instruments.load(broken)


@given(
    price=st.decimals(min_value=1, max_value=100_000, places=4),
    tick=st.sampled_from([1, 5, 10, 50]),
    side=st.sampled_from([Side.BUY, Side.SELL, None]),
)
def test_round_to_tick_stays_on_the_grid_and_never_harms_a_limit(
    price: Decimal, tick: int, side: Side | None
) -> None:
    rounded = round_to_tick(price, tick, side)
    step = Decimal(tick) / 100
    assert rounded % step == 0
    assert abs(rounded - price) < step
    if side is Side.BUY:
        assert rounded <= price
    elif side is Side.SELL:
        assert rounded >= price
    else:
        assert abs(rounded - price) <= step / 2
