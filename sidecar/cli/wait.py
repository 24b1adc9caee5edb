"""``wait``: until the running sidecar is ready."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from sidecar.admin.client import ask, read
from sidecar.admin.status import Readiness
from sidecar.cli.command import (
    Command,
    CommandError,
    admin_address,
    admin_port_option,
    config_option,
    seconds,
)
from sidecar.cli.process import forbid_core_dumps
from sidecar.runtime import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.cli.command import AdminAddress

#: Seconds between two questions: a start takes half a second.
_PAUSE: Final = 0.05
#: Seconds for a response, which comes from memory: at most, and at least, however little time is left.
_PATIENCE: Final = 2.0
_LEAST_PATIENCE: Final = 1.0


@click.command("wait", cls=Command)
@config_option
@admin_port_option
@click.option("--timeout", type=seconds, default="30", show_default=True, metavar="S", help="Seconds to wait.")
def command(config_path: Path | None, port: int | None, timeout: float) -> int:
    """Wait until the sidecar is ready: it serves, and has a token (/readyz of the admin port is 200).

    Asks the admin port of the configuration that the sidecar runs with. Exits with 1 if it was not ready in time.
    """
    forbid_core_dumps()
    address = admin_address(config_path, port)
    clock = SystemClock()
    deadline = clock.now() + timeout
    while (obstacle := _obstacle(address, deadline - clock.now())) is not None:
        left = deadline - clock.now()
        if left <= 0:
            message = f"not ready within {timeout:g} s: {obstacle}"
            raise CommandError(message)
        time.sleep(min(_PAUSE, left))
    return 0


def _obstacle(address: AdminAddress, left: float) -> str | None:
    """Return why the sidecar is not ready, in words; None if it is. ``left`` seconds are shared by the addresses."""
    timeout = max(_LEAST_PATIENCE, min(_PATIENCE, left / len(address.hosts)))
    reply = ask(address.hosts, address.port, "/readyz", timeout=timeout)
    if reply is None:
        return address.nobody(";")  # it stands behind a colon
    if reply.status == 200:
        return None
    readiness = read(reply.body, Readiness)
    if readiness is None:
        return f"port {address.port} answered {reply.status}: is it the admin port?"
    return readiness.message
