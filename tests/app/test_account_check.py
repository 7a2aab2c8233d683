from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from app.account_check import address, look
from app.credentials import Credentials, CredentialStore
from app.plan import CREDENTIALS
from broker.account import BrokerAccount, Egress
from shared.secret import Secret
from shared.settings import Settings

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
"""Given, so that no key file is made."""

GOOD = {
    "angel_one_api_key": "canary-key",
    "angel_one_client_code": "CANARY1",
    "angel_one_password": "4711",
    "angel_one_totp_secret": "CANARYCANARYCANARYCANARYCA",
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def findings(**given: object) -> dict[str, tuple[bool, str, str]]:
    found = {each.name: (each.ok, each.what, each.remedy) for each in look(Settings.load(None, **given))}
    for secret in GOOD.values():
        assert secret not in str(found)
    return found


def test_no_account_is_fine_and_says_what_one_needs() -> None:
    ok, what, advice = findings()["account"]
    assert ok and "sandbox" in what
    assert all(name in advice for name in CREDENTIALS)


@pytest.mark.parametrize("name", sorted(CREDENTIALS))
def test_each_missing_credential_is_a_fault_of_its_own(name: str) -> None:
    found = findings(**{key: value for key, value in GOOD.items() if key != name.lower()})
    assert {name: (False, "is not set", f"It is {CREDENTIALS[name]}.")} == found


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("angel_one_password", "secretword", "4 digits"),
        ("angel_one_password", "47110", "4 digits"),
        ("angel_one_totp_secret", "123456", "one-time code"),
        ("angel_one_totp_secret", "CANARY-1-CANARY", "base32"),
        ("angel_one_totp_secret", "CANARYCANARY", "shorter than 112 bits"),
    ],
)
def test_credential_of_the_wrong_form_is_a_fault_before_any_login(field: str, value: str, said: str) -> None:
    found = findings(**{**GOOD, field: value})
    assert list(found) == [field.upper()]
    ok, what, _ = found[field.upper()]
    assert not ok and said in what


def test_users_credentials_are_told_masked_and_stand_in_for_the_environments(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path / "var", Secret(KEY))
    more = {"pin": "4711", "totp_secret": GOOD["angel_one_totp_secret"]}
    for user_id in ("asha", "bharat"):
        store.save(Credentials(user_id=user_id, client_code=f"{user_id}-1", api_key="canary-key", **more))
    found = findings(home=tmp_path / "var", secrets_key=KEY)
    assert found["account of asha"][1] == "as**-1 is kept and serves the market data"
    assert found["account of bharat"][1] == "bh****-1 is kept"
    assert all(ok for ok, _, _ in found.values())
    assert "account" not in found
    ok, what, _ = findings(home=tmp_path / "var", secrets_key=KEY, angel_one_base_url="http://127.0.0.1:1")[
        "account"
    ]
    assert not ok and "ANGEL_ONE_FEED_URL" in what


def test_endpoints_in_part_are_a_fault() -> None:
    ok, what, _ = findings(**GOOD, angel_one_base_url="http://127.0.0.1:1")["account"]
    assert not ok and "ANGEL_ONE_FEED_URL" in what


@pytest.fixture
def seer() -> Iterator[str]:
    """A service that answers with the address that it sees."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.client_address[0].encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def account_from(egress: Egress) -> BrokerAccount:
    key, code, pin, totp = (Secret(value) for value in GOOD.values())
    return BrokerAccount("user_001", key, code, pin, totp, egress=egress)


@pytest.mark.parametrize(
    ("source", "registered", "ok", "said"),
    [
        ("127.0.0.2", "127.0.0.2", True, "seen as 127.0.0.2, as registered"),
        ("127.0.0.3", "127.0.0.2", False, "seen as 127.0.0.3, registered is 127.0.0.2"),
        ("127.0.0.2", "", True, "not known here"),
    ],
)
def test_address_that_is_seen_is_compared_with_the_registered_one(
    seer: str, source: str, registered: str, ok: bool, said: str
) -> None:
    # The broker's own host is not asked: only the address service is.
    account = account_from(Egress(source, "", registered))
    found = address(account, Settings.load(None, address_check_url=seer, secrets_key=KEY))
    assert (found.ok, said in found.what) == (ok, True)
    assert ok or "AG7002" in found.remedy


def test_address_service_that_is_not_there_is_told() -> None:
    account = account_from(Egress())
    found = address(account, Settings.load(None, address_check_url="http://127.0.0.1:9", secrets_key=KEY))
    assert not found.ok and "ADDRESS_CHECK_URL" in found.remedy


@pytest.mark.parametrize(
    ("field", "wrong", "said"),
    [
        (None, None, "takes the credentials"),
        ("pin", "0000", "ANGEL_ONE_PASSWORD"),
        ("totp_secret", "CANARYCANARYCANARYCANARYCA", "ANGEL_ONE_TOTP_SECRET"),
        ("api_key", "canary-key", "ANGEL_ONE_API_KEY"),
        ("client_code", "CANARY1", "ANGEL_ONE_CLIENT_CODE"),
    ],
)
def test_each_wrong_credential_is_explained(
    sandbox: dict[str, Any], field: str | None, wrong: str | None, said: str
) -> None:
    account = {**sandbox["accounts"][0], **({field: wrong} if field else {})}
    found = findings(
        angel_one_api_key=account["api_key"],
        angel_one_client_code=account["client_code"],
        angel_one_password=account["pin"],
        angel_one_totp_secret=account["totp_secret"],
        angel_one_base_url=sandbox["base_url"],
        angel_one_feed_url=sandbox["feed_url"],
        angel_one_order_feed_url=sandbox["order_feed_url"],
    )
    ok, what, remedy = found["login"]
    assert ok is (field is None)
    assert said in what + remedy


def test_sandbox_that_is_not_there_is_told() -> None:
    nobody = {f"angel_one_{name}": f"ws://127.0.0.1:9/{name}" for name in ("feed_url", "order_feed_url")}
    ok, what, remedy = findings(**GOOD, angel_one_base_url="http://127.0.0.1:9", **nobody)["login"]
    assert not ok and remedy and "127.0.0.1:9" in what + remedy


def test_doctor_prints_findings_and_no_line_of_a_log(
    sandbox: dict[str, Any], trading: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    account = sandbox["accounts"][0]
    done = trading(
        "doctor",
        home=tmp_path / "var",
        ANGEL_ONE_API_KEY=account["api_key"],
        ANGEL_ONE_CLIENT_CODE=account["client_code"],
        ANGEL_ONE_PASSWORD="0000",
        ANGEL_ONE_TOTP_SECRET=account["totp_secret"],
        ANGEL_ONE_BASE_URL=sandbox["base_url"],
        ANGEL_ONE_FEED_URL=sandbox["feed_url"],
        ANGEL_ONE_ORDER_FEED_URL=sandbox["order_feed_url"],
    )
    assert done.returncode == 1
    assert {line.split()[0] for line in done.stdout.splitlines()} <= {"ok", "FAULT", "→", "1"}
    assert done.stderr == ""
