from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from shared.errors import ConfigurationError, LockHeld
from shared.secret import Secret
from shared.store.lock import FileLock
from shared.vault import Vault, add_key, keep_first_key, write_private


def key() -> str:
    return Fernet.generate_key().decode()


def test_first_key_seals_and_any_key_opens() -> None:
    one, two = key(), key()
    sealed = Vault(Secret(one)).seal(b"text")
    both = Vault(Secret(f"{two}, {one}"))
    assert both.unseal(sealed) == b"text"
    anew = both.reseal(sealed)
    assert anew is not None
    assert Vault(Secret(two)).unseal(anew) == b"text"
    assert Vault(Secret(one)).unseal(anew) is None
    assert Vault(Secret(two)).reseal(sealed) is None
    assert both.reseal(b"nothing sealed") is None


def test_key_file_is_made_once_and_takes_a_new_first_key(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "secrets.key"
    sealed = Vault.open(None, file).seal(b"text")
    assert Vault.open(None, file).unseal(sealed) == b"text"
    add_key(file)
    add_key(file)
    assert len(file.read_text().split(",")) == 3
    assert file.stat().st_mode & 0o777 == 0o600
    assert Vault.open(None, file).unseal(sealed) == b"text"
    assert keep_first_key(file) == 2
    assert Vault.open(None, file).unseal(sealed) is None


def test_two_do_not_change_the_key_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "secrets.key"
    lock = FileLock(file.with_suffix(".lock"))
    lock.acquire()
    with pytest.raises(LockHeld):
        add_key(file)
    lock.release()
    add_key(file)


def test_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secrets.key"
    Vault.open(None, file)
    file.chmod(0o644)
    for use in (lambda: Vault.open(None, file), lambda: add_key(file), lambda: keep_first_key(file)):
        with pytest.raises(ConfigurationError, match="Others may read"):
            use()


def test_text_that_is_no_key_is_refused_without_being_told() -> None:
    with pytest.raises(ConfigurationError, match="not a Fernet key") as caught:
        Vault(Secret("canary"))
    assert "canary" not in str(caught.value)


def test_private_file_is_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    before = os.umask(0)
    try:
        write_private(path, b"one")
        write_private(path, b"two")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"two"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"
