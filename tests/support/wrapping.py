"""``wrap`` as users run it: around a command of the test's own."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def settings(upstream: str, **more: str) -> dict[str, str]:
    return {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": upstream,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LOG_FORMAT": "json",
        **more,
    }


def wrap(*arguments: str | Path, environ: Mapping[str, str]) -> Command:
    return Command("wrap", *arguments, environ=environ)


def ended(*arguments: str | Path, environ: Mapping[str, str]) -> tuple[int, str, str]:
    with wrap(*arguments, environ=environ) as command:
        return command.wait(), command.stdout, command.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
