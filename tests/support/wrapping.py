"""``wrap`` as users run it: around a command of the test's own."""

from __future__ import annotations

import fcntl
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def settings(upstream: str, **more: str) -> dict[str, str]:
    return {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": upstream,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LOG_FORMAT": "json",
        "SIDECAR_LOG_LEVEL": "info",
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "0",
        **more,
    }


def wrap(*arguments: str | Path, environ: Mapping[str, str]) -> Command:
    return Command("wrap", *arguments, environ=environ)


def ended(*arguments: str | Path, environ: Mapping[str, str]) -> tuple[int, str, str]:
    with wrap(*arguments, environ=environ) as command:
        return command.wait(), command.stdout, command.stderr


@contextmanager
def taken(*ports: int) -> Iterator[None]:
    """Have ports in use on 127.0.0.1, by this process. Other workers wait: never nest it, name all ports at once."""
    with ExitStack() as stack:
        lock = stack.enter_context(Path(__file__).open("rb"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        for port in ports:
            holder = stack.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", port))
            holder.listen()
        yield
