"""A real Redis as production has it: TLS only, and a user with a password instead of the default one."""

from __future__ import annotations

import secrets
import subprocess
from typing import TYPE_CHECKING, Final, Self

import trustme

from tests.support.certificates import ADDRESS, leaf_pem
from tests.support.wrapping import free_port

if TYPE_CHECKING:
    from pathlib import Path

_USER: Final = "mangopay-sidecar"


class RedisServer:
    """Serves until it is closed; a context manager."""

    def __init__(self, command: str, directory: Path) -> None:
        """``command`` is ``redis-server``; its files go to ``directory``."""
        authority, port, password = trustme.CA(), free_port(), secrets.token_urlsafe(24)
        certificate = authority.issue_cert(ADDRESS)
        self.ca_file: Final = directory / "redis-ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        cert, key = directory / "redis.pem", directory / "redis.key"
        cert.write_bytes(leaf_pem(certificate))
        certificate.private_key_pem.write_to_path(key)
        #: Without the number of the database.
        self.url: Final = f"rediss://{_USER}:{password}@{ADDRESS}:{port}"
        # Settings on standard input: a password on the command line could be read by everybody.
        settings = f"""
            bind {ADDRESS}
            port 0
            tls-port {port}
            tls-cert-file {cert}
            tls-key-file {key}
            tls-ca-cert-file {self.ca_file}
            tls-auth-clients no
            save ""
            dir {directory}
            user default off
            user {_USER} on >{password} ~* &* +@all
        """
        self._process: Final = subprocess.Popen([command, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(settings.encode())
        self._process.stdin.close()
        for line in self._process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise AssertionError("redis-server ended before it was ready")

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
