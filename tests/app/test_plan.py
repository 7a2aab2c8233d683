from __future__ import annotations

from pathlib import Path

import pytest

from app.plan import CREDENTIALS, Data, Plan, Venue, account_of, is_loopback, plan
from shared.errors import EXIT_REFUSED, EXIT_USAGE, ConfigurationError, RefusedBySafety
from shared.settings import Settings

CANARY = "canary-4711"
LOCAL = {
    "angel_one_base_url": "http://127.0.0.1:8000",
    "angel_one_feed_url": "ws://127.0.0.1:8000/smart-stream",
    "angel_one_order_feed_url": "ws://localhost:8000/smart-order-update",
}
KEYS = {name.lower(): f"{CANARY}-{number}" for number, name in enumerate(CREDENTIALS)}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def settings(**given: object) -> Settings:
    return Settings.load(None, **given)


def test_nothing_configured_is_paper_on_a_sandbox_of_our_own() -> None:
    assert plan(settings()) == Plan(Venue.PAPER, Data.EMBEDDED)


def test_paper_off_without_credentials_sends_orders_to_the_sandbox_of_our_own() -> None:
    made = plan(settings(paper_trading=False))
    assert made == Plan(Venue.SANDBOX, Data.EMBEDDED)
    assert made.environment == "sandbox"


def test_credentials_read_from_the_broker_and_trade_on_paper() -> None:
    made = plan(settings(**KEYS))
    assert (made.orders, made.data, made.environment) == (Venue.PAPER, Data.LIVE, "paper")
    assert made.account is not None and made.account.user_id == "user_001"


def test_loopback_endpoints_take_data_and_orders() -> None:
    made = plan(settings(**KEYS, **LOCAL, paper_trading=False))
    assert (made.orders, made.data) == (Venue.SANDBOX, Data.SANDBOX)


@pytest.mark.parametrize(
    "urls",
    [
        {},
        {**LOCAL, "angel_one_base_url": "https://apiconnect.angelone.in"},
        {
            "angel_one_base_url": "https://127.0.0.1.example.com",
            "angel_one_feed_url": "wss://example.com",
            "angel_one_order_feed_url": "wss://example.com",
        },
    ],
)
def test_paper_off_on_other_hosts_is_refused(urls: dict[str, str]) -> None:
    with pytest.raises((RefusedBySafety, ConfigurationError)) as caught:
        plan(settings(**KEYS, **urls, paper_trading=False))
    assert caught.value.exit_code in (EXIT_REFUSED, EXIT_USAGE)


def test_paper_off_on_the_real_hosts_is_refused_by_safety() -> None:
    with pytest.raises(RefusedBySafety, match="read-only") as caught:
        plan(settings(**KEYS, paper_trading=False))
    assert caught.value.exit_code == EXIT_REFUSED


def test_replay_is_paper_only() -> None:
    assert plan(settings(), replay=True) == Plan(Venue.PAPER, Data.REPLAY)
    with pytest.raises(ConfigurationError, match="replay"):
        plan(settings(paper_trading=False), replay=True)


@pytest.mark.parametrize("name", sorted(CREDENTIALS))
def test_missing_credential_is_named_with_what_belongs_there(name: str) -> None:
    given = {key: value for key, value in KEYS.items() if key != name.lower()}
    with pytest.raises(ConfigurationError) as caught:
        account_of(settings(**given))
    assert f"{name}: {CREDENTIALS[name]}" in str(caught.value)
    assert CANARY not in str(caught.value)
    assert all(f"{other}: " not in str(caught.value) for other in CREDENTIALS if other != name)


def test_endpoints_without_credentials_name_all_of_them() -> None:
    with pytest.raises(ConfigurationError) as caught:
        account_of(settings(**LOCAL))
    assert all(name in str(caught.value) for name in CREDENTIALS)


@pytest.mark.parametrize("missing", sorted(LOCAL))
def test_endpoints_come_together(missing: str) -> None:
    urls = {name: url for name, url in LOCAL.items() if name != missing}
    with pytest.raises(ConfigurationError, match=missing.upper()):
        account_of(settings(**KEYS, **urls))


def test_mixed_endpoints_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="some are on loopback"):
        account_of(settings(**KEYS, **{**LOCAL, "angel_one_feed_url": "wss://example.com/feed"}))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("ws://localhost/x", True),
        ("http://[::1]:80", True),
        ("", False),
        ("https://127.0.0.1@example.com", False),
        ("https://127.0.0.1.example.com", False),
        ("https://example.com/127.0.0.1", False),
    ],
)
def test_loopback_is_judged_by_the_host_alone(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_account_shows_no_secret() -> None:
    assert CANARY not in repr(plan(settings(**KEYS, **LOCAL)))
