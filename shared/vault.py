"""Secrets at rest: encrypted with keys that lie elsewhere than what they encrypt."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.errors import ConfigurationError
from shared.secret import Secret
from shared.store.lock import FileLock

KEY_FILE = Path("~/.config/trading-backend/secrets.key")


class Vault:
    """Encrypts with the first of several keys and decrypts with any.

    Args:
        keys: Fernet keys, separated by commas.

    Raises:
        ConfigurationError: A key is none.
    """

    def __init__(self, keys: Secret) -> None:
        try:
            made = [Fernet(key.strip()) for key in keys.reveal().split(",")]
        except ValueError:
            raise ConfigurationError(
                "SECRETS_KEY is not a Fernet key.", remedy="Leave it out: a key file is made."
            ) from None
        self._fernet = MultiFernet(made)

    @classmethod
    def open(cls, keys: Secret | None, path: Path = KEY_FILE) -> Vault:
        """Return a vault with *keys*, or with those in the file at *path*, made on first use.

        Raises:
            ConfigurationError: The file cannot be made or read, or others may read it.
        """
        return cls(keys if keys is not None else _from_file(path.expanduser()))

    def seal(self, text: bytes) -> bytes:
        """Return *text* encrypted."""
        return self._fernet.encrypt(text)

    def unseal(self, sealed: bytes) -> bytes | None:
        """Return the text, or None where no key fits or it was changed."""
        with contextlib.suppress(InvalidToken):
            return self._fernet.decrypt(sealed)
        return None

    def reseal(self, sealed: bytes) -> bytes | None:
        """Return the same text encrypted with the first key, or None as `unseal`."""
        with contextlib.suppress(InvalidToken):
            return self._fernet.rotate(sealed)
        return None


def write_private(path: Path, data: bytes) -> None:
    """Replace the file at *path*, durably and for its owner only; a crash leaves the old one or the new one.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def add_key(path: Path = KEY_FILE) -> None:
    """Put a new key first into the key file; what the others have encrypted can still be read.

    Raises:
        ConfigurationError: As `Vault.open`.
    """
    with _changing(path.expanduser()) as file:
        kept = _from_file(file).reveal()
        write_private(file, b",".join([Fernet.generate_key(), kept.encode()]))


def keep_first_key(path: Path = KEY_FILE) -> int:
    """Drop all keys but the first from the key file; return how many.

    Raises:
        ConfigurationError: As `Vault.open`.
    """
    with _changing(path.expanduser()) as file:
        first, *others = _from_file(file).reveal().split(",")
        write_private(file, first.encode())
    return len(others)


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[Path]:
    """Keep others from changing the key file meanwhile."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        lock.acquire()
        try:
            yield path
        finally:
            lock.release()
    except OSError as error:
        raise _unusable(path, error) from error


def _from_file(path: Path) -> Secret:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            if path.stat().st_mode & 0o077:
                raise ConfigurationError(f"Others may read {path}.", remedy=f"chmod 600 {path}") from None
            return Secret(path.read_text().strip())
        key = Fernet.generate_key()
        with os.fdopen(fd, "wb") as file:
            file.write(key)
        return Secret(key.decode())
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"The key file {path} cannot be made or read: {error.strerror}.", remedy="Set SECRETS_KEY."
    )
