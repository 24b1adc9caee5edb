"""Serving until a signal comes: what ``run`` and ``demo`` share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from sidecar.cli.command import Failure
from sidecar.cli.output import say
from sidecar.cli.process import forbid_core_dumps, run_loop
from sidecar.lifecycle import StartError
from sidecar.runtime import SystemClock
from sidecar.telemetry.log import configure_logging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.telemetry.log import LogOutput


class Ready(Protocol):
    """Where the sidecar listens, as the composition root tells it: URLs, ``unix:PATH`` or ``off``."""

    @property
    def proxy(self) -> str:
        """The proxy port."""
        ...

    @property
    def admin(self) -> str:
        """The admin port."""
        ...

    @property
    def environment(self) -> str:
        """``mangopay.environment``."""
        ...

    @property
    def client_id(self) -> str:
        """``mangopay.client_id``."""
        ...


def ready_line(ready: Ready) -> str:
    """The line that tells scripts and people that calls are served, and where (contract section 8)."""
    return f"ready proxy={ready.proxy} admin={ready.admin} environment={ready.environment} client_id={ready.client_id}"


def tell(text: str) -> None:
    """Print on stdout; a stdout that cannot take it is no reason to stop serving."""
    try:
        say(text)
    except OSError:
        return


def serve_until_signal(level: str, form: str, serve: Callable[[LogOutput], Awaitable[int]]) -> int:
    """Log as ``level`` and ``form`` say, run ``serve`` on an event loop, and return its exit status.

    Raises Failure if the sidecar could not start.
    """
    forbid_core_dumps()
    output = configure_logging(level, form, SystemClock())

    async def main() -> int:
        output.attach(asyncio.get_running_loop())
        return await serve(output)

    try:
        return run_loop(main())
    except StartError as error:
        raise Failure(str(error), error.status) from None
    finally:
        output.close()
