"""A sidecar in front of an emulator of its own: what ``demo`` and ``wrap --emulator`` share."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIENT_ID: Final = "acme"


def emulator_settings(upstream: str) -> dict[str, str]:
    """Return the variables that lead to the emulator at ``upstream``: no credentials, and any ClientId in paths."""
    return {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": upstream,
        "SIDECAR_MANGOPAY_CLIENT_ID": CLIENT_ID,
        # Whatever ClientId an app has already will do.
        "SIDECAR_MANGOPAY_CLIENT_ID_ALIASES": "*",
        "SIDECAR_MANGOPAY_API_KEY": "the-emulator-takes-any-key",
    }


@asynccontextmanager
async def running_emulator() -> AsyncIterator[str]:
    """Serve the emulator on a free port of 127.0.0.1; yield its base URL."""
    from sidecar.emulator.server import Emulator
    from sidecar.runtime import SystemClock

    emulator = Emulator(SystemClock())
    port = await emulator.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await emulator.stop()
