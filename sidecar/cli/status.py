"""``status``: how the running sidecar is, in words; once, or for as long as somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from sidecar.admin.client import ask, read
from sidecar.admin.status import Status
from sidecar.admin.status_text import status_in_words
from sidecar.cli.command import Command, CommandError, admin_address, admin_port_option, config_option
from sidecar.cli.output import colors, print_line, print_painted
from sidecar.cli.process import forbid_core_dumps

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.cli.command import AdminAddress

T = TypeVar("T")


@click.command("status", cls=Command)
@config_option
@admin_port_option
@click.option("-v", "--verbose", is_flag=True, help="All numbers: connections, memory, every rate window and error.")
@click.option("-w", "--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the document itself.")
def command(config_path: Path | None, port: int | None, verbose: bool, watch: bool, as_json: bool) -> int:
    """Tell in words how the running sidecar is: what is the matter, the token, the calls, the last error.

    Asks the admin port of the configuration that the sidecar runs with. Exits with 1 if none runs there; with --watch
    it waits for one, and goes on when the sidecar is restarted.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for programs: leave one of them out")
    forbid_core_dumps()
    address = admin_address(config_path, port)
    if watch:
        from sidecar.cli.watch import watch as show_until_ended

        return show_until_ended(lambda: _words(address, verbose=verbose))
    if as_json:
        # Any document, so that it works with a sidecar of another version too.
        _, body = _document(address, dict[str, Any])
        print_line(body.decode())
    else:
        print_painted(_words(address, verbose=verbose))
    return 0


def _words(address: AdminAddress, *, verbose: bool) -> str:
    status, _ = _document(address, Status)
    return status_in_words(status, verbose=verbose, color=colors())


def _document(address: AdminAddress, kind: type[T]) -> tuple[T, bytes]:
    """Return the document of the sidecar at ``address``, and as it was sent. Raises CommandError."""
    port = address.port
    reply = ask(address.hosts, port, "/status")
    if reply is None:
        raise CommandError(address.nobody())
    if reply.status != 200:
        where = f"http://{reply.host}:{port}/status"
        raise CommandError(f"{where} answered {reply.status}: is it the admin port, and this machine's?")
    document = read(reply.body, kind)
    if document is None:
        hint = "is it the admin port? For another version, try --json" if kind is Status else "is it the admin port?"
        raise CommandError(f"port {port} did not answer as a sidecar does: {hint}")
    return document, reply.body
