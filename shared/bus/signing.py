"""The signal key: who may speak on the bus. An entry without a good signature is nobody's signal."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from shared.errors import ConfigurationError

KEY_FILE = "signal.key"
KEY_BYTES = 32
MINIMUM_KEY_CHARACTERS = 16
SIGNATURE_BYTES = 32


class SignalKey:
    """Signs and checks what travels on the bus with HMAC-SHA256; never shows itself."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "SignalKey(***)"

    def __reduce__(self) -> str:
        raise TypeError("a SignalKey is not written anywhere")

    def sign(self, kind: bytes, *parts: bytes) -> bytes:
        """Return the signature (32 bytes) of *parts*, which count one by one, as a *kind* of message."""
        # A length before each part: ("ab", "c") and ("a", "bc") must not meet.
        message = b"".join([len(part).to_bytes(4, "big") + part for part in (kind, *parts)])
        return hmac.digest(self._key, message, "sha256")

    def is_good(self, signature: bytes, kind: bytes, *parts: bytes) -> bool:
        """Return whether *signature* is that of *parts*; takes the same time either way."""
        return hmac.compare_digest(signature, self.sign(kind, *parts))


def load_signal_key(home: Path, configured: str | None = None) -> SignalKey:
    """Return the key of a state folder, making `signal.key` (readable by its owner only) on first use.

    Args:
        home: The state folder.
        configured: `SIGNAL_KEY`, which wins; processes with different state folders need it.

    Raises:
        ConfigurationError: The configured key is too short, or the file is not a key.
    """
    if configured is not None:
        if len(configured) < MINIMUM_KEY_CHARACTERS:
            raise ConfigurationError(
                f"SIGNAL_KEY has fewer than {MINIMUM_KEY_CHARACTERS} characters.",
                remedy="Use `python -c 'import secrets; print(secrets.token_hex(32))'`.",
            )
        return SignalKey(configured.encode())
    path = home / KEY_FILE
    if not path.exists():
        _make(path)
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise ConfigurationError(
            f"{path} is not a signal key.", remedy="Delete it while nothing runs; a new one is made."
        )
    return SignalKey(key)


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{KEY_FILE}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_hex(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link fails where another process was first: then its key is the key.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
