from __future__ import annotations

import subprocess
import sys

from shared.simulation import DAY_LIMIT, SESSION_SECONDS, PriceProcess, activity, start_price


def _session(
    seed: int = 7, symbol: str = "RELIANCE", session: int = 1, tick: int = 5
) -> list[tuple[int, int]]:
    process = PriceProcess(seed, symbol, session, 250_000, tick)
    return [process.step(second) for second in range(SESSION_SECONDS)]


def test_process_same_seed_is_the_same_market() -> None:
    assert _session() == _session()


def test_process_other_seed_symbol_or_session_differs() -> None:
    base = _session()[:100]
    assert _session(seed=8)[:100] != base
    assert _session(symbol="TCS")[:100] != base
    assert _session(session=2)[:100] != base


def test_process_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "from shared.simulation import PriceProcess\n"
        "p = PriceProcess(7, 'TCS', 3, 342000, 5)\n"
        "print([p.step(s) for s in range(50)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_prices_are_on_the_grid_within_the_band() -> None:
    for price, volume in _session(tick=10):
        assert price % 10 == 0
        assert abs(price / 250_000 - 1) <= DAY_LIMIT + 0.001
        assert volume >= 0


def test_market_trades_in_most_seconds_and_more_at_the_open() -> None:
    session = _session()
    traded = [volume > 0 for _, volume in session]
    assert sum(traded) / len(traded) > 0.9
    opening = sum(volume for _, volume in session[:1800])
    midday = sum(volume for _, volume in session[10_000:11_800])
    assert opening > 1.5 * midday


def test_activity_is_u_shaped() -> None:
    assert activity(0) > activity(SESSION_SECONDS / 2) < activity(SESSION_SECONDS - 1)


def test_move_of_a_session_is_like_a_stock() -> None:
    moves = [abs(_session(session=number)[-1][0] / 250_000 - 1) for number in range(1, 9)]
    assert 0.002 < sum(moves) / len(moves) < 0.05


def test_start_price_of_an_unknown_name_is_positive() -> None:
    assert start_price("NEVERHEARD") > 0
