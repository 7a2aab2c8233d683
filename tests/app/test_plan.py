from __future__ import annotations

from pathlib import Path

import pytest

from app.credentials import Credentials, CredentialStore
from app.plan import CREDENTIALS, Data, Plan, Venue, account_of, is_loopback, plan, stored_accounts
from shared.errors import EXIT_REFUSED, EXIT_USAGE, ConfigurationError, RefusedBySafety
from shared.secret import Secret
from shared.settings import Settings

CANARY = "canary-4711"
LOCAL = {
    "angel_one_base_url": "http://127.0.0.1:8000",
    "angel_one_feed_url": "ws://127.0.0.1:8000/smart-stream",
    "angel_one_order_feed_url": "ws://localhost:8000/smart-order-update",
}
OWN = {
    "angel_one_base_url": "https://apiconnect.angelone.in",
    "angel_one_feed_url": "wss://smartapisocket.angelone.in/smart-stream",
    "angel_one_order_feed_url": "wss://tns.angelone.in/smart-order-update",
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


def test_paper_off_at_the_brokers_own_hosts_is_live() -> None:
    made = plan(settings(**KEYS, paper_trading=False))
    assert (made.orders, made.data, made.environment) == (Venue.LIVE, Data.LIVE, "live")
    assert plan(settings(**KEYS, **OWN, paper_trading=False)).orders is Venue.LIVE


@pytest.mark.parametrize("paper", [True, False])
@pytest.mark.parametrize("name", sorted(LOCAL))
@pytest.mark.parametrize("host", ["apiconnect.angelone.in.example.com", "example.com", "127.0.0.3"])
def test_endpoint_that_is_neither_here_nor_the_brokers_is_refused_by_name(
    host: str, name: str, paper: bool, tmp_path: Path
) -> None:
    urls = {**OWN, name: f"{OWN[name].partition('://')[0]}://{host}/x"}
    with pytest.raises(RefusedBySafety, match=f"{name.upper()}: {host} is neither") as caught:
        plan(settings(**KEYS, **urls, paper_trading=paper))
    assert caught.value.exit_code == EXIT_REFUSED
    kept(tmp_path, "asha", "A1")
    with pytest.raises(RefusedBySafety, match="is neither"):
        plan(settings(home=tmp_path, secrets_key=KEY, **urls, paper_trading=paper))


def test_proof_leaves_this_machine_on_no_settings() -> None:
    for paper in (True, False):
        with pytest.raises(RefusedBySafety, match="loopback alone"):
            plan(settings(**KEYS, proof=True, paper_trading=paper))


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


# -- accounts of users --------------------------------------------------------------------------------

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def kept(home: Path, user_id: str, client_code: str) -> None:
    more = {"api_key": CANARY, "pin": "4711", "totp_secret": "", "registered_address": "192.0.2.7"}
    store = CredentialStore(home, Secret(KEY))
    store.save(Credentials(user_id=user_id, client_code=client_code, **more))


def planned(home: Path, **given: object) -> tuple[str, list[str]]:
    """Return whose the data account is, and whose accounts there are."""
    made = plan(settings(home=home, secrets_key=KEY, **given))
    assert made.account is not None
    return made.account.user_id, [each.user_id for each in made.users]


def test_first_users_account_is_the_data_account_where_the_environment_has_none(tmp_path: Path) -> None:
    kept(tmp_path, "bharat", "B1")
    kept(tmp_path, "asha", "A1")
    assert planned(tmp_path) == ("asha", ["asha", "bharat"])
    (first, _) = stored_accounts(settings(home=tmp_path, secrets_key=KEY, **LOCAL))
    assert (first.base_url, first.egress.registered_address) == (LOCAL["angel_one_base_url"], "192.0.2.7")
    assert (first.client_code.reveal(), first.totp_secret.reveal()) == ("A1", "")
    assert CANARY not in repr(first)


def test_environments_account_is_its_owners_unless_they_have_their_own(tmp_path: Path) -> None:
    kept(tmp_path, "asha", "A1")
    assert planned(tmp_path, **KEYS) == ("user_001", ["user_001", "asha"])
    kept(tmp_path, "user_001", "U1")
    assert planned(tmp_path, **KEYS) == ("data account", ["asha", "user_001"])


def test_account_that_a_user_and_the_environment_have_is_one(tmp_path: Path) -> None:
    kept(tmp_path, "asha", KEYS["angel_one_client_code"])
    assert planned(tmp_path, **KEYS) == ("asha", ["asha"])


def test_credentials_of_users_alone_are_live_by_paper_off_and_a_rehearsal_by_local_endpoints(
    tmp_path: Path,
) -> None:
    kept(tmp_path, "asha", "A1")
    wanted = {"home": tmp_path, "secrets_key": KEY}
    assert plan(settings(**wanted)).environment == "paper"
    assert plan(settings(**wanted, paper_trading=False)).environment == "live"
    made = plan(settings(**wanted, **LOCAL, paper_trading=False))
    assert (made.environment, made.data) == ("sandbox", Data.SANDBOX)


def test_replay_reads_no_credentials(tmp_path: Path) -> None:
    kept(tmp_path, "asha", "A1")
    assert plan(settings(home=tmp_path), replay=True) == Plan(Venue.PAPER, Data.REPLAY)
