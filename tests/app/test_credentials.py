from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.fernet import Fernet
from rich.console import Console

from app.credentials import NAMES, Credentials, CredentialStore, checked, from_file
from shared.errors import ConfigurationError
from shared.secret import Secret

CANARY = {
    "api_key": "canary-key",
    "client_code": "CANARY01",
    "pin": "4711",
    "totp_secret": "CANARYCANARYCANARYCANARYCA",
    "proxy": "http://canary:canary@127.0.0.1:1",
    "registered_address": "192.0.2.7",
}
ASHA = Credentials(user_id="asha", **CANARY)


def keys(*old: str) -> Secret:
    return Secret(",".join([Fernet.generate_key().decode(), *old]))


@pytest.fixture
def store(tmp_path: Path) -> CredentialStore:
    return CredentialStore(tmp_path, keys())


def lines(**changed: str) -> str:
    return "".join(f"{NAMES[name]}={value}\n" for name, value in {**CANARY, **changed}.items())


def test_what_is_kept_comes_back_and_lies_sealed_for_its_owner_alone(
    store: CredentialStore, tmp_path: Path
) -> None:
    assert (store.users(), store.load("asha")) == ([], None)
    store.save(ASHA)
    store.save(ASHA)
    assert (store.users(), store.load("asha")) == (["asha"], ASHA)
    (path,) = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert path == tmp_path / "credentials" / "asha.sealed"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not any(value.encode() in path.read_bytes() for value in CANARY.values())


def test_nothing_shows_them() -> None:
    console = Console(width=200, record=True)
    console.print(ASHA, [ASHA])
    for text in (repr(ASHA), str(ASHA), f"{ASHA}", repr([ASHA]), console.export_text()):
        assert not any(value in text for value in CANARY.values())


def test_file_of_another_user_key_or_content_is_not_taken(store: CredentialStore, tmp_path: Path) -> None:
    store.save(ASHA)
    path = tmp_path / "credentials" / "asha.sealed"
    whole = path.read_bytes()
    path.with_name("bharat.sealed").write_bytes(whole)
    path.with_name("bharat.sealed").chmod(0o600)
    with pytest.raises(ConfigurationError, match="credentials of bharat"):
        store.load("bharat")
    with pytest.raises(ConfigurationError, match="cannot be read with the keys"):
        CredentialStore(tmp_path, keys()).load("asha")
    for wrong in (b"", whole[:-9], b"{}"):
        path.write_bytes(wrong)
        with pytest.raises(ConfigurationError, match="cannot be read"):
            store.load("asha")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="Others may read"):
        store.load("asha")


def test_an_account_is_one_users(store: CredentialStore) -> None:
    store.save(ASHA)
    with pytest.raises(ConfigurationError, match=r"asha has the account CA\*\*\*\*01 already") as caught:
        store.save(Credentials(user_id="bharat", **{**CANARY, "client_code": "canary01"}))
    assert "canary01" not in str(caught.value).lower()
    assert store.users() == ["asha"]


def test_removed_is_gone_with_the_token_of_the_day(store: CredentialStore, tmp_path: Path) -> None:
    store.save(ASHA)
    token = tmp_path / "tokens" / "asha.sealed"
    token.parent.mkdir()
    token.write_bytes(b"x")
    store.remove("asha")
    assert not token.exists()
    assert store.users() == []
    with pytest.raises(ConfigurationError, match="asha has no credentials"):
        store.remove("asha")


# -- keys --------------------------------------------------------------------------------------------


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home" / ".config" / "trading-backend" / "secrets.key"


def test_rotation_needs_only_the_new_key_afterwards(tmp_path: Path, key_file: Path) -> None:
    store = CredentialStore(tmp_path / "var", None)
    store.save(ASHA)
    old = key_file.read_text()
    assert store.rotate(drop_old=False) == 1
    new, kept = key_file.read_text().split(",")
    assert kept == old
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert CredentialStore(tmp_path / "var", Secret(new)).load("asha") == ASHA
    with pytest.raises(ConfigurationError):
        CredentialStore(tmp_path / "var", Secret(old)).load("asha")
    assert store.rotate(drop_old=True) == 1
    assert "," not in key_file.read_text()
    assert store.load("asha") == ASHA


def test_file_that_no_key_opens_stops_a_rotation_before_a_key_is_dropped(
    tmp_path: Path, key_file: Path
) -> None:
    store = CredentialStore(tmp_path / "var", None)
    store.save(ASHA)
    (tmp_path / "var" / "credentials" / "bharat.sealed").write_bytes(keys().reveal().encode())
    (tmp_path / "var" / "credentials" / "bharat.sealed").chmod(0o600)
    old = key_file.read_text()
    with pytest.raises(ConfigurationError, match="bharat"):
        store.rotate(drop_old=True)
    assert old in key_file.read_text()
    assert store.load("asha") == ASHA


def test_own_keys_rotate_to_the_first_of_them(tmp_path: Path) -> None:
    old = Fernet.generate_key().decode()
    CredentialStore(tmp_path, Secret(old)).save(ASHA)
    both = keys(old)
    assert CredentialStore(tmp_path, both).rotate(drop_old=False) == 1
    first = Secret(both.reveal().partition(",")[0])
    assert CredentialStore(tmp_path, first).load("asha") == ASHA


# -- what is given -----------------------------------------------------------------------------------


def test_file_with_lines_as_in_env_is_read(tmp_path: Path) -> None:
    file = tmp_path / "asha.env"
    file.write_text(f"# of Asha\n\n{lines()}ANGEL_ONE_SOURCE_ADDRESS=\n")
    file.chmod(0o600)
    assert from_file("asha", file, ask_totp=False) == ASHA
    kept = from_file("asha", file, ask_totp=True)
    assert kept == msgspec.structs.replace(ASHA, totp_secret="")
    assert kept.egress.registered_address == "192.0.2.7"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "asha.env"
    file.write_text(lines())
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match="Others may read") as caught:
        from_file("asha", file, ask_totp=False)
    assert caught.value.remedy == f"chmod 600 {file}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ANGEL_ONE_PIN=4711", "line 1: ANGEL_ONE_PIN is no name of a credential"),
        ("4711", "line 1: is not NAME=value"),
        ("ANGEL_ONE_PASSWORD='4711", "line 1: is not NAME=value"),
    ],
)
def test_line_that_is_none_is_told_by_its_number_alone(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "asha.env"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigurationError, match=said) as caught:
        from_file("asha", file, ask_totp=False)
    assert "4711" not in str(caught.value)


def test_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        from_file("asha", tmp_path / "none", ask_totp=False)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pin": "471"}, "ANGEL_ONE_PASSWORD is not 4 digits"),
        ({"pin": "your_password"}, "ANGEL_ONE_PASSWORD is not given"),
        ({"totp_secret": ""}, "ANGEL_ONE_TOTP_SECRET is not given"),
        ({"totp_secret": "123456"}, "is a one-time code"),
        ({"totp_secret": "CANARY-CANARY"}, "is not base32"),
        ({"totp_secret": "CANARYCANARY"}, "shorter than 112 bits"),
        ({"proxy": "canary:1"}, "ANGEL_ONE_PROXY is not the address of a proxy"),
        ({"registered_address": "::1"}, "ANGEL_ONE_REGISTERED_ADDRESS is not an IPv4 address"),
        ({"source_address": "here"}, "ANGEL_ONE_SOURCE_ADDRESS is not an IPv4 address"),
    ],
)
def test_what_cannot_be_right_is_told_without_its_value(changed: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        checked("asha", {**CANARY, **changed}, ask_totp=False)
    assert not any(value in str(caught.value) for value in (*CANARY.values(), *changed.values()) if value)


def test_all_findings_come_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked("asha", {"pin": "1"}, ask_totp=False)
    for name in ("API_KEY", "CLIENT_CODE", "PASSWORD", "TOTP_SECRET"):
        assert f"ANGEL_ONE_{name}" in caught.value.what
    assert "--ask-totp" in caught.value.remedy
