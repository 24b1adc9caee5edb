"""``status``: ask the running sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sidecar.admin.client import ask, read
from sidecar.admin.status import Status
from sidecar.admin.status_text import status_in_words
from sidecar.cli.command import PORT, Command, CommandError, admin_address, config_option
from sidecar.cli.output import print_line

if TYPE_CHECKING:
    from pathlib import Path


@click.command("status", cls=Command)
@config_option
@click.option("--port", type=PORT, help="Ask this admin port; no configuration is read then.")
@click.option("--json", "as_json", is_flag=True, help="Print the document itself.")
def command(config_path: Path | None, port: int | None, as_json: bool) -> int:
    """Tell in words how the running sidecar is: token, locks, rate limits, calls, last errors.

    Asks the admin port of the configuration that the sidecar runs with. Exits with 1 if none runs there.
    """
    hosts, asked = admin_address(config_path, port)
    reply = ask(hosts, asked, "/status")
    if reply is None:
        raise CommandError(
            f"no sidecar answers on admin port {asked}: start one with mangopay-sidecar run, or set SIDECAR_ADMIN_PORT"
        )
    if reply.status != 200:
        where = f"http://{reply.host}:{asked}/status"
        raise CommandError(f"{where} answered {reply.status}: is it the admin port, and this machine's?")
    # --json takes any document, so that it works with a sidecar of another version too.
    document = read(reply.body, dict[str, Any] if as_json else Status)
    if document is None:
        hint = "is it the admin port?" if as_json else "is it the admin port? For another version, try --json"
        raise CommandError(f"port {asked} did not answer as a sidecar does: {hint}")
    print_line(status_in_words(document) if isinstance(document, Status) else reply.body.decode())
    return 0
