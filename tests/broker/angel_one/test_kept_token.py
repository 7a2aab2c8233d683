from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from rich.console import Console

from broker.angel_one.kept_token import KeptTokens, Tokens
from shared.secret import Secret
from shared.vault import Vault

ROOT = "https://127.0.0.1:1"
TOKENS = Tokens("jwt-canary", "refresh-canary", "feed-canary", 1000, "A123456", ROOT)


def vault() -> Vault:
    return Vault(Secret(Fernet.generate_key().decode()))


@pytest.fixture
def kept(tmp_path: Path) -> KeptTokens:
    return KeptTokens(tmp_path, "user_001", vault())


def test_tokens_come_back_for_the_same_account_root_and_time(kept: KeptTokens) -> None:
    assert kept.load("A123456", ROOT, 0) is None
    kept.save(TOKENS)
    assert kept.load("A123456", ROOT, 999) == TOKENS
    assert kept.load("A123456", ROOT, 1000) is None
    assert kept.load("B123456", ROOT, 0) is None
    assert kept.load("A123456", "https://127.0.0.1:2", 0) is None


def test_file_is_sealed_and_for_its_owner_alone(kept: KeptTokens, tmp_path: Path) -> None:
    kept.save(TOKENS)
    kept.save(TOKENS)
    (path,) = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert b"canary" not in path.read_bytes()
    assert b"A123456" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_file_that_is_damaged_or_of_another_key_is_ignored(kept: KeptTokens, tmp_path: Path) -> None:
    kept.save(TOKENS)
    assert KeptTokens(tmp_path, "user_001", vault()).load("A123456", ROOT, 0) is None
    path = tmp_path / "tokens" / "user_001.sealed"
    whole = path.read_bytes()
    for wrong in (b"", whole[:-9], b"{}", whole[:20] + b"x" + whole[21:]):
        path.write_bytes(wrong)
        assert kept.load("A123456", ROOT, 0) is None


def test_text_that_is_no_session_is_ignored(tmp_path: Path) -> None:
    sealing = vault()
    kept = KeptTokens(tmp_path, "user_001", sealing)
    kept.save(TOKENS)
    for text in (b"", b"{}", b'{"jwt":7}', b"[]"):
        (tmp_path / "tokens" / "user_001.sealed").write_bytes(sealing.seal(text))
        assert kept.load("A123456", ROOT, 0) is None


def test_folder_that_cannot_be_written_costs_nothing_but_a_login(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("in the way")
    kept = KeptTokens(tmp_path, "user_001", vault())
    kept.save(TOKENS)
    assert kept.load("A123456", ROOT, 0) is None


def test_without_a_key_nothing_is_kept(tmp_path: Path) -> None:
    kept = KeptTokens(tmp_path, "user_001", None)
    kept.save(TOKENS)
    assert list(tmp_path.iterdir()) == []
    assert kept.load("A123456", ROOT, 0) is None


def test_forgotten_tokens_are_gone(kept: KeptTokens) -> None:
    kept.save(TOKENS)
    kept.forget()
    kept.forget()
    assert kept.load("A123456", ROOT, 0) is None


def test_tokens_show_nothing_of_themselves() -> None:
    screen = StringIO()
    Console(file=screen).print(TOKENS, [TOKENS])
    for shown in (repr(TOKENS), str(TOKENS), f"{TOKENS}", screen.getvalue()):
        assert "canary" not in shown
        assert "A123456" not in shown
