from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.bus.signing import SignalKey, load_signal_key
from shared.errors import ConfigurationError


def test_key_is_made_once_and_private(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_signal_key(tmp_path), range(16)))
    assert len({key.sign(b"x", b"y") for key in keys}) == 1
    assert (tmp_path / "signal.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["signal.key"]


def test_configured_key_wins_and_short_one_is_refused(tmp_path: Path) -> None:
    one = load_signal_key(tmp_path, "0123456789abcdef")
    assert one.sign(b"x") == SignalKey(b"0123456789abcdef").sign(b"x")
    with pytest.raises(ConfigurationError, match="SIGNAL_KEY"):
        load_signal_key(tmp_path, "short")


def test_broken_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "signal.key").write_text("")
    with pytest.raises(ConfigurationError, match="not a signal key"):
        load_signal_key(tmp_path)


def test_key_never_shows_itself() -> None:
    key = SignalKey(b"canary-canary-canary")
    assert "canary" not in f"{key} {key!r}"
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_parts_count_one_by_one() -> None:
    key = SignalKey(b"k" * 32)
    assert key.sign(b"s", b"ab", b"c") != key.sign(b"s", b"a", b"bc")
    assert key.is_good(key.sign(b"s", b"a"), b"s", b"a")
    assert not key.is_good(key.sign(b"s", b"a"), b"t", b"a")
    assert not SignalKey(b"other").is_good(key.sign(b"s", b"a"), b"s", b"a")
