"""Angel One's own names in a network of our own: nothing in it leads anywhere but to this machine.

`unshare -rmn` gives a process its own users, mounts and network, without any rights outside. In there the
names of the broker's hosts stand for 127.0.0.1, where a relay with a certificate of an authority made for the
test takes off the TLS and hands the bytes to a `trading sandbox`. The product knows nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import socket
import ssl
import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from broker.registry import own_hosts
from proof.clock import step
from tests.rehearsal import PATIENCE_S, Rehearsal

PROJECT = Path(__file__).resolve().parents[1]
UNSHARE = ("unshare", "-rmn")
OWN = sorted(own_hosts("angel_one"))
TLS_PORT = 443
ADDRESS = "192.0.2.1"
MONDAY_US = 1_722_832_200_000_000
"""2024-08-05 10:00 IST: a trading day, and the one after that of the instrument list."""

_OWN_CLOCK_AND_PLACE = """
import os
from pathlib import Path
from shared.bus import embedded
embedded.RUNTIME_ROOT = Path(os.environ["TRADING_TEST_RUNTIME"])
from proof.clock import follow
follow(Path(os.environ["TRADING_TEST_CLOCK"]))
from app.cli import main
main()
"""
_SET_FLAGS, _SET_ADDRESS, _UP = 0x8914, 0x8916, 0x1


def possible() -> bool:
    """Whether this machine lets us have a network of our own."""
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


def run_inside(story: Path, folder: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run the tests of *story* in a network of their own; *folder* is theirs."""
    command = [*UNSHARE, sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    command += ["--basetemp", str(folder / "inside"), str(story)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=timeout_s)


def enter(folder: Path) -> None:
    """Make the broker's names stand for this machine; only in a network that has nothing but a loopback.

    Raises:
        RuntimeError: This is a network that leads somewhere.
    """
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        raise RuntimeError("This network leads somewhere: the story is for `run_inside` alone.")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
        # Names are looked up where a machine has an address that is not of the loopback, too.
        named = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(ADDRESS))
        fcntl.ioctl(any_socket, _SET_ADDRESS, named)
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {name}\n" for name in OWN))
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True, timeout=10)


def certified(folder: Path) -> tuple[Path, Path]:
    """Return the certificate of an authority made here, and what a server needs for the broker's names."""
    now = datetime.now(UTC)

    def made(subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        builder = x509.CertificateBuilder().subject_name(named).issuer_name(issuer).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))

    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody's authority")])
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ours = made("nobody's authority", authority_key.public_key())
    ours = ours.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in OWN])
    theirs = made(OWN[0], key.public_key()).add_extension(names, critical=False)
    authority, chain = folder / "authority.pem", folder / "server.pem"
    authority.write_bytes(ours.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    signed = theirs.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM)
    chain.write_bytes(signed + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return authority, chain


async def relay(chain: Path, port: int) -> None:
    """Take TLS off whatever comes here as to the broker, and hand it to *port*; says when it does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", TLS_PORT, ssl=context)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await server.serve_forever()


class Live(Rehearsal):
    """Live trading as its operator sees it, at the broker's own names; the exchange behind is a sandbox."""

    command: ClassVar[list[str]] = [sys.executable, "-c", _OWN_CLOCK_AND_PLACE]

    def __init__(self, folder: Path, strategies: str) -> None:
        super().__init__(folder, strategies)
        self._runtime = TemporaryDirectory(prefix="live-")  # short, for sockets lie in it
        self._ahead_us = MONDAY_US - datetime.now(UTC).timestamp() * 1_000_000
        self.environment |= {
            "TRADING_TEST_CLOCK": str(folder / "clock"),
            # Locks of accounts are kept by user of the machine, and in here everybody is root.
            "TRADING_TEST_RUNTIME": self._runtime.name,
            "PYTHONPATH": str(PROJECT),
            "SECRETS_KEY": Fernet.generate_key().decode(),
            "ADDRESS_CHECK_URL": f"https://{OWN[0]}/sandbox/address",
        }
        self.set_clock(0)

    def set_clock(self, second: int) -> None:
        """Let time pass at once until that *second* of a minute, for all processes."""
        now_s = datetime.now(UTC).timestamp() + self._ahead_us / 1_000_000
        self._ahead_us += (second - now_s) % 60 * 1_000_000
        step(self.folder / "clock", round(self._ahead_us))

    def stand_in(self) -> None:
        """Let the sandbox stand at the broker's own names, and forget that it is anywhere else."""
        authority, chain = certified(self.folder)
        port = self.base_url.rpartition(":")[2]
        code = "import asyncio, sys; from pathlib import Path; from tests.own_network import relay; "
        code += "asyncio.run(relay(Path(sys.argv[1]), int(sys.argv[2])))"
        relaying = subprocess.Popen(
            [sys.executable, "-c", code, str(chain), port], env=self.environment, stdout=subprocess.PIPE
        )
        self.running.append(relaying)
        assert relaying.stdout is not None and relaying.stdout.readline(), "the relay does not listen"
        kept = self.environment.items()
        self.environment = {name: value for name, value in kept if not name.startswith("ANGEL_ONE_")}
        self.environment["SSL_CERT_FILE"] = str(authority)

    def give(self, user: str, number: int, registered: str = "127.0.0.1") -> None:
        """Keep the credentials of the sandbox's account *number*, with a *registered* address, for *user*."""
        account = self.accounts[number]
        file = self.folder / "credentials"
        file.touch(mode=0o600)
        names = {"API_KEY": "api_key", "CLIENT_CODE": "client_code", "PASSWORD": "pin"}
        lines = [f"ANGEL_ONE_{name}={account[field]}" for name, field in names.items()]
        lines += [f"ANGEL_ONE_TOTP_SECRET={account['totp_secret']}"]
        lines += [f"ANGEL_ONE_REGISTERED_ADDRESS={registered}"]
        file.write_text("\n".join(lines))
        code, said = self.trading("users", "credentials", "set", user, "--from-file", str(file))
        file.unlink()
        assert code == 0, said

    def typed(self, words: str, *arguments: str) -> tuple[int, str]:
        """Run a command at a terminal where somebody types *words*."""
        ours, theirs = pty.openpty()
        os.write(ours, f"{words}\n".encode())
        done = subprocess.run(
            [*self.command, *arguments], cwd=self.folder, env=self.environment, stdin=theirs,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S,
        )  # fmt: skip
        os.close(theirs)
        os.close(ours)
        return done.returncode, done.stdout.decode()

    def close(self) -> None:
        """End what runs, and what it has left behind."""
        super().close()
        self._runtime.cleanup()

    def said(self) -> str:
        """Return what the runs have said so far."""
        return (self.folder / "run.out").read_text()

    def sent(self) -> list[dict[str, str]]:
        """Return the orders that have reached the exchange."""
        found: list[dict[str, str]] = self.ask("/sandbox/ledger")["orders"]
        return found
