"""The day's tokens in the state folder, encrypted, so that a restart needs no human and no new login."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import structlog

from shared.vault import Vault, write_private

log = structlog.get_logger(__name__)


class Tokens(msgspec.Struct, frozen=True):
    """What a login gives; never logged, `repr` is masked.

    Attributes:
        expires_us: When the session ends, microseconds since the epoch, UTC.
        client_code, root: Whose it is and where; tokens of another are ignored.
    """

    jwt: str
    refresh: str
    feed: str
    expires_us: int
    client_code: str
    root: str

    def __repr__(self) -> str:
        return "Tokens(***)"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show nothing to rich, either: it would ask for the fields."""
        return []


class KeptTokens:
    """One file per account.

    Args:
        folder: Where it lies.
        name: Of the account, fit for a file name.
        vault: Encrypts; None keeps nothing.
    """

    def __init__(self, folder: Path, name: str, vault: Vault | None) -> None:
        self._path = folder / "tokens" / f"{name}.sealed"
        self._vault = vault

    def load(self, client_code: str, root: str, now_us: int) -> Tokens | None:
        """Return tokens that are still good for this account and root, or None."""
        if self._vault is None:
            return None
        try:
            text = self._vault.unseal(self._path.read_bytes())
        except OSError:
            return None
        if text is None:
            log.warning("the kept session cannot be read and is ignored", file=str(self._path))
            return None
        with contextlib.suppress(msgspec.DecodeError):
            tokens = msgspec.json.decode(text, type=Tokens)
            if (tokens.client_code, tokens.root) == (client_code, root) and tokens.expires_us > now_us:
                return tokens
        return None

    def save(self, tokens: Tokens) -> None:
        """Keep *tokens*; a folder that cannot be written costs a login, nothing more."""
        if self._vault is None:
            return
        try:
            write_private(self._path, self._vault.seal(msgspec.json.encode(tokens)))
        except OSError as error:
            log.warning("the session is not kept for a restart", why=error.strerror, file=str(self._path))

    def forget(self) -> None:
        """Remove what is kept."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
