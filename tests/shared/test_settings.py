"""Settings: typed, complete about what is wrong, silent about secrets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from shared.errors import EXIT_USAGE, ConfigurationError
from shared.settings import Settings

CANARY = "canary-4711-canary"
FERNET_KEY = "Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LWNhbmE="
TEMPLATE = Path(__file__).parents[2] / "env.template"
SECRETS = [
    "ANGEL_ONE_API_KEY",
    "ANGEL_ONE_CLIENT_CODE",
    "ANGEL_ONE_PASSWORD",
    "ANGEL_ONE_TOTP_SECRET",
    "SECRETS_KEY",
    "SIGNAL_KEY",
]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = ".env") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def failure(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(write(text))
    assert caught.value.exit_code == EXIT_USAGE
    return str(caught.value)


def test_nothing_configured_gives_paper_on_embedded_defaults(tmp_path: Path) -> None:
    settings = Settings.load()
    assert settings.paper_trading is True
    assert settings.paper_profile == "realistic"
    assert settings.home == tmp_path / "var"
    assert settings.redis_url is None
    assert settings.signal_key is None
    assert settings.strategies_file is None
    assert settings.sim_seed == 7


def test_template_copied_gives_the_defaults() -> None:
    defaults = Settings.load()
    assert Settings.load(write(TEMPLATE.read_text(encoding="utf-8"))) == defaults


def test_template_lists_every_setting_and_no_other() -> None:
    listed = re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", TEMPLATE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(Settings.names())


def test_template_keeps_the_redis_line_commented() -> None:
    assert re.search(r"^# REDIS_URL=redis://", TEMPLATE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_process_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_SEED", "11")
    assert Settings.load(write("SIM_SEED=10\n")).sim_seed == 11


def test_overrides_win_over_everything_and_none_is_not_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRADING_HOME", "elsewhere")
    assert Settings.load(home=tmp_path / "here").home == tmp_path / "here"
    assert Settings.load(home=None).home == tmp_path / "elsewhere"


def test_placeholder_in_the_process_does_not_hide_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANGEL_ONE_API_KEY", "your_api_key")
    key = Settings.load(write(f"ANGEL_ONE_API_KEY={CANARY}\n")).angel_one_api_key
    assert key is not None
    assert key.reveal() == CANARY


@pytest.mark.parametrize("value", ["", "  ", "your_key", "YOUR-KEY", "<api key>", "changeme", "xxx", "XXXX"])
def test_placeholder_counts_as_not_set(value: str) -> None:
    assert Settings.load(write(f'ANGEL_ONE_API_KEY="{value}"\n')).angel_one_api_key is None


@pytest.mark.parametrize("name", ["HOME", "home", "LOGNAME"])
def test_field_name_in_the_process_environment_is_ignored(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "wrong"))
    assert Settings.load().home == tmp_path / "var"


def test_unknown_name_in_the_file_is_an_error_with_the_nearest_known() -> None:
    message = failure(f"ANGEL_ONE_PASWORD={CANARY}\n")
    assert "ANGEL_ONE_PASWORD" in message
    assert "Did you mean ANGEL_ONE_PASSWORD?" in message
    assert CANARY not in message


def test_unknown_name_with_a_placeholder_is_still_an_error() -> None:
    assert "FOO" in failure("FOO=\n")


def test_unknown_name_in_the_process_environment_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANGEL_ONE_PASWORD", "x")
    Settings.load()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("TRUE", True), ("1", True), ("Yes", True), ("false", False), ("0", False)],
)
def test_paper_trading_reads_the_usual_words(text: str, expected: bool) -> None:
    assert Settings.load(write(f"PAPER_TRADING={text}\n")).paper_trading is expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("PAPER_TRADING=maybe", "neither yes nor no"),
        ("PAPER_TRADING=2", "neither yes nor no"),
        ("PAPER_PROFILE=optimistic", "is not one of realistic, instant"),
        ("LOG_LEVEL=loud", "is not one of DEBUG"),
        ("SIM_SEED=-1", "whole number"),
        ("SIM_SEED=1.5", "whole number"),
        ("SIM_SEED=\u0663", "whole number"),
        (f"SIM_SEED={2**63}", "whole number"),
        ("REDIS_URL=localhost:6379", "not the address"),
        ("REDIS_URL=http://localhost:6379", "not the address"),
        ("DATABASE_URL=mysql://localhost/trading", "not supported"),
        ("DATABASE_URL=postgresql://localhost", "no database"),
        ("DATABASE_URL=postgresql:///trading", "no host"),
        ("DATABASE_URL=sqlite:///books.db", "TRADING_HOME"),
        ("SIGNAL_KEY=short", "fewer than 16"),
        ("SECRETS_KEY=short", "not a Fernet key"),
        (f"SECRETS_KEY={FERNET_KEY},short", "not a Fernet key"),
        ("ANGEL_ONE_SOURCE_ADDRESS=::1", "not an IPv4 address"),
        ("ANGEL_ONE_REGISTERED_ADDRESS=home", "not an IPv4 address"),
        ("ANGEL_ONE_PROXY=socks5://127.0.0.1:1", "not the address of a proxy"),
        ("STRATEGIES_FILE=nowhere.toml", "is not a file"),
        ("TRADING_HOME=.env", "is not a folder"),
        ("ANGEL_ONE_BASE_URL=ftp://127.0.0.1", "https://"),
        ("ANGEL_ONE_BASE_URL=http://10.0.0.1:8080", "in the clear"),
        ("ANGEL_ONE_FEED_URL=ws://example.com/feed", "in the clear"),
        ("ANGEL_ONE_ORDER_FEED_URL=https://127.0.0.1", "wss://"),
    ],
)
def test_wrong_value_is_refused_with_name_and_reason(line: str, reason: str) -> None:
    message = failure(f"{line}\n")
    assert line.split("=")[0] in message
    assert reason in message


@pytest.mark.parametrize(
    ("field", "url"),
    [
        ("redis_url", "redis://localhost:6379/0"),
        ("redis_url", "rediss://:word@cache.example:6380"),
        ("redis_url", "unix:///run/valkey.sock"),
        ("angel_one_base_url", "http://127.0.0.1:8080"),
        ("angel_one_base_url", "http://[::1]:8080"),
        ("angel_one_feed_url", "ws://localhost:8081/feed"),
        ("angel_one_order_feed_url", "wss://example.com/orders"),
        ("database_url", "sqlite://"),
        ("database_url", "postgresql://trader:word@db.example:5432/trading"),
        ("database_url", "postgres:///trading?host=/run/postgresql"),
    ],
)
def test_right_address_is_taken_as_it_is(field: str, url: str) -> None:
    assert getattr(Settings.load(**{field: url}), field) == url


def test_all_findings_are_reported_at_once_with_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")
    message = failure("PAPER_TRADING=maybe\nSIM_SEED=x1\nWRONG_NAME=1\n")
    assert "4 settings are wrong" in message
    assert "LOG_LEVEL=loud (the environment)" in message
    assert "PAPER_TRADING=maybe (.env)" in message
    assert "SIM_SEED=x1 (.env)" in message
    assert "WRONG_NAME (.env, line 3)" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PAPER_TRADING\n", "line 1: is not NAME=value"),
        (b"SIM_SEED=1\n= geheim\n", "line 2: is not NAME=value"),
        (b"two words\n", "line 1: is not NAME=value"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_broken_file_is_refused_without_showing_it(
    content: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    Path(".env").write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        Settings.load()
    assert "geheim" not in str(caught.value)
    assert caplog.messages == [], "a library tells it as well"


def test_file_with_a_byte_order_mark_is_read() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfSIM_SEED=5\n")
    assert Settings.load().sim_seed == 5


def test_named_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        Settings.load("other.env")


def test_strategies_file_is_found_by_its_usual_name(tmp_path: Path) -> None:
    write("", "strategies.toml")
    assert Settings.load().strategies_file == tmp_path / "strategies.toml"


@pytest.mark.parametrize("name", SECRETS)
def test_secret_never_shows_in_text_or_json(name: str) -> None:
    secret = FERNET_KEY if name == "SECRETS_KEY" else CANARY
    settings = Settings.load(write(f"{name}={secret}\n"))
    for shown in (repr(settings), str(settings), settings.model_dump_json(), json.dumps(settings.shown())):
        assert secret not in shown
        assert "***" in shown


@pytest.mark.parametrize("name", SECRETS)
def test_secret_never_shows_in_an_error(name: str) -> None:
    assert CANARY not in failure(f"{name}={CANARY}\nPAPER_TRADING=maybe\n")


def test_redis_password_never_shows() -> None:
    settings = Settings.load(redis_url=f"redis://user:{CANARY}@localhost:1/0?password={CANARY}")
    assert CANARY not in repr(settings) + settings.model_dump_json()
    assert "localhost:1" in repr(settings)
    assert CANARY not in failure(f"REDIS_URL=http://user:{CANARY}@localhost\n")
    assert CANARY not in failure(f"REDIS_URL=redis://user:{CANARY}@[::1\n")


def test_settings_refuse_to_be_changed() -> None:
    settings = Settings.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.paper_trading = False
