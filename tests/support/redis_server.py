"""A real redis-server for a test, on a port of its own: with TLS and a user, full, stopped, killed, started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import pytest
import redis
import trustme

from sidecar.core.secret import Secret
from tests.support import canary
from tests.support.certificates import ADDRESS, leaf_pem
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds until a server must answer; generous, since test machines are busy.
_READY: Final = 20.0
#: What a user of the store must be allowed; docs/scale.md says so too.
PERMISSIONS: Final = ("~mangopay-sidecar:*", "+getrange", "+set", "+time", "+evalsha", "+script|load")


def redis_command() -> str:
    """Return where redis-server is; skip the test where there is none, but in CI fail."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("there is no redis-server on the PATH, and CI is set: install the package redis-server")
        pytest.skip("there is no redis-server on the PATH: install the package redis-server to run this test")
    return found


@dataclass(frozen=True)
class Tls:
    """PEM files of a server that speaks TLS only."""

    cert: Path
    key: Path
    ca: Path

    @classmethod
    def issue(cls, directory: Path) -> Self:
        """Write a certificate for the server's address, of a CA of its own, to ``directory``."""
        authority = trustme.CA()
        certificate = authority.issue_cert(ADDRESS)
        tls = cls(directory / "redis.pem", directory / "redis.key", directory / "redis-ca.pem")
        tls.cert.write_bytes(leaf_pem(certificate))
        certificate.private_key_pem.write_to_path(tls.key)
        authority.cert_pem.write_to_path(tls.ca)
        return tls


class RedisServer:
    """A context manager: at its end the process is gone."""

    def __init__(self, directory: Path, *options: str, tls: Tls | None = None, user: tuple[str, str] | None = None):
        self.command: Final = redis_command()
        self._directory: Final = directory
        self._options: Final = options
        self.tls: Final = tls
        self._user: Final = user
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        for _ in range(5):
            self.port = free_port()
            if self.start():
                return self
        raise AssertionError(f"redis-server does not start:\n{self.log}")

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
            self.kill()
        canary.record("the log of redis-server", self.log)

    @property
    def log(self) -> str:
        with suppress(FileNotFoundError):
            return (self._directory / "log").read_text(encoding="utf-8", errors="replace")
        return ""

    @property
    def url(self) -> str:
        """With user and password, and the CA file."""
        user = "" if self._user is None else f"{self._user[0]}:{self._user[1]}@"
        if self.tls is None:
            return f"redis://{user}{ADDRESS}:{self.port}/0"
        return f"rediss://{user}{ADDRESS}:{self.port}/0?ssl_ca_certs={self.tls.ca}"

    @property
    def secret_url(self) -> Secret:
        return Secret(self.url)

    def start(self) -> bool:
        """Start it on its port; return whether it answers."""
        self._process = subprocess.Popen([self.command, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self._process.stdin is not None
        self._process.stdin.write(self._configuration().encode())
        self._process.stdin.close()
        end = time.monotonic() + _READY
        while self._process.poll() is None and time.monotonic() < end:
            with suppress(redis.exceptions.ConnectionError, redis.exceptions.TimeoutError), self.admin() as admin:
                admin.ping()
                return True
            time.sleep(0.01)
        return False

    def admin(self) -> redis.Redis:
        """Return a client that may do everything."""
        options: dict[str, Any] = {"port": self.port, "socket_timeout": 5}
        if self.tls is not None:
            options |= {"ssl": True, "ssl_ca_certs": str(self.tls.ca)}
        return redis.Redis(host=ADDRESS, username="admin", password="admin", protocol=2, **options)

    def send(self, *command: str | bytes | int) -> Any:
        """Run a command as the admin."""
        with self.admin() as admin:
            return admin.execute_command(*command)

    def stop(self) -> None:
        """Stop the process where it is (SIGSTOP): connections stay, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def dump(self) -> bytes:
        """Return everything that it holds: the RDB file, and each key's value."""
        self.send("SAVE")
        with self.admin() as admin:
            values = [key + b"=" + admin.get(key) for key in admin.scan_iter()]
        return b"\n".join([(self._directory / "dump.rdb").read_bytes(), *values])

    def _configuration(self) -> str:
        lines = [
            f"bind {ADDRESS}",
            'save ""',
            "rdbcompression no",
            f'dir "{self._directory}"',
            f'logfile "{self._directory}/log"',
            "user admin on >admin ~* &* +@all",
            *self._options,
        ]
        if self._user is None:
            lines.append("user default on nopass ~* &* +@all")
        else:
            lines += ["user default off", f"user {self._user[0]} on >{self._user[1]} {' '.join(PERMISSIONS)}"]
        if self.tls is None:
            lines.append(f"port {self.port}")
        else:
            lines += [
                "port 0",
                f"tls-port {self.port}",
                f'tls-cert-file "{self.tls.cert}"',
                f'tls-key-file "{self.tls.key}"',
                f'tls-ca-cert-file "{self.tls.ca}"',
                "tls-auth-clients no",
            ]
        return "\n".join(lines) + "\n"
