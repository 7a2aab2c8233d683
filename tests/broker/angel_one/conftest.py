from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.broker.angel_one.peer import Client, Peer

SMARTAPI = Path(__file__).resolve().parents[3].parent / "shared" / "smartapi"


@pytest.fixture(scope="session")
def smartapi() -> Callable[[str], Any]:
    """Return what a file of known requests, frames and replies holds, or skip where they are not there."""

    def read(name: str) -> Any:
        path = SMARTAPI / name
        if not path.exists():
            pytest.skip(f"what is known of SmartAPI's wire is not at {path}")
        return json.loads(path.read_text("utf-8"))

    return read


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as serving:
        yield serving


@pytest.fixture
async def client(peer: Peer, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of *peer* that has logged in."""
    async with Client(peer.root, tmp_path) as ours:
        await ours.session.open()
        yield ours


@pytest.fixture(scope="session")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate that nobody vouches for, of 127.0.0.1 to .3, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "not the broker")])
    hosts = [x509.IPAddress(ipaddress.ip_address(f"127.0.0.{last}")) for last in (1, 2, 3)]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    return certificate, context


@pytest.fixture
def trusted(self_signed: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The same server's context, on a machine whose store of authorities has its certificate."""
    certificate, context = self_signed
    # What the library made of the machine's store when it was imported; verification stays as it is.
    monkeypatch.setattr(
        "aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=str(certificate))
    )
    return context
