"""Serving until a signal comes: what ``run`` and ``demo`` share."""

from __future__ import annotations

import asyncio
import atexit
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from sidecar.cli.command import CommandError, by_options
from sidecar.cli.process import forbid_core_dumps, run_loop
from sidecar.lifecycle import StartError
from sidecar.network.aiohttp_import import import_aiohttp
from sidecar.runtime import SystemClock
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log import configure_logging, descriptor_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sidecar.ports import Ready
    from sidecar.telemetry.log_output import LogOutput


def ready_line(ready: Ready) -> str:
    """The line that tells scripts and people that calls are served, and where (contract section 8)."""
    return f"ready proxy={ready.proxy} admin={ready.admin} environment={ready.environment} client_id={ready.client_id}"


def tell(text: str) -> None:
    """Print on stdout from the running event loop, which never waits for it.

    A stdout that cannot take it is no reason to stop serving.
    """
    writer = LineWriter(descriptor_of(sys.stdout))
    writer.attach(asyncio.get_running_loop())
    writer.write(text.removesuffix("\n").encode() + b"\n", urgent=True)
    atexit.register(writer.close)


def notify_ready(environ: Mapping[str, str]) -> None:
    """Tell the service manager, if it has asked for that, that calls are served (sd_notify(3))."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    # "@" stands for the zero byte that the name of an abstract socket begins with (unix(7)).
    target = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b"READY=1", target)


def serve_until_signal(
    level: str,
    form: str,
    serve: Callable[[LogOutput], Awaitable[int]],
    options: Mapping[str, str],
) -> int:
    """Log as ``level`` and ``form`` say, run ``serve`` on an event loop, and return its exit status.

    ``options`` of the command say what a variable would: each by the variable's name. Raises CommandError if the
    sidecar could not start, with the option in place of the variable, which would change nothing.
    """
    forbid_core_dumps()
    import_aiohttp()
    output = configure_logging(level, form, SystemClock())

    async def main() -> int:
        output.attach(asyncio.get_running_loop())
        return await serve(output)

    try:
        return run_loop(main())
    except StartError as error:
        raise CommandError(by_options(str(error), options), error.status) from None
    except CommandError as failure:
        raise CommandError(by_options(failure.format_message(), options), failure.status) from None
    finally:
        output.close()
